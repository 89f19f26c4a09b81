"""Few-shot: the linear probe on a handful of pictures a class, several times with others."""

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from catclip.models.finite import check_finite
from catclip.transfer.multilabel_probe import fit_heads

# Inverse regularisation on standardised features. There is nothing to choose it by where each class has one picture;
# of .001 to 1 none was best for 1, 4 and 16 pictures of CIFAR-10 alike.
STRENGTH = 0.01


class Draw(NamedTuple):
    """What was learned from one draw.

    Attributes:
        shots: pictures of each class, or where pictures show any number at least that many if there are.
        number: of the draw, from 0.
        train_images: all that it has.
        scores: float [P, C] of the test pictures.
    """

    shots: int
    number: int
    train_images: int
    scores: np.ndarray


def few_shot(
    train: np.ndarray,
    truth: np.ndarray,
    test: np.ndarray,
    multilabel: bool,
    shots: Sequence[int],
    draws: int,
    seed: int,
) -> Iterator[Draw]:
    """Logistic regression on `draws` draws of each number of pictures a class.

    Args:
        train: features [N, D].
        truth: which classes those pictures show, bool [N, C].
        test: features [P, D].
        multilabel: a sigmoid a class; otherwise softmax.
        shots: numbers of pictures. Where each shows one class, those of which a class has too few are left out.
        draws: of each.
        seed: of the draws; what a smaller number has, a larger one of the same draw has too.

    Raises:
        UserError: features that are not finite.
    """
    check_finite(train, test)
    fewest = int(truth.sum(axis=0).min())
    for count in shots:
        if not multilabel and count > fewest:
            continue
        for number in range(draws):
            rows = choose_shots(truth, count, np.random.default_rng((seed, number)))
            yield Draw(count, number, len(rows), _scores(train[rows], truth[rows], test, multilabel))


def choose_shots(truth: np.ndarray, shots: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of `truth` bool [N, C]: of each class the first `shots` of its pictures in a random order, united."""
    order = rng.permutation(len(truth))
    return np.unique(np.concatenate([order[truth[order, label]][:shots] for label in range(truth.shape[1])]))


def _scores(train: np.ndarray, truth: np.ndarray, test: np.ndarray, multilabel: bool) -> np.ndarray:
    scaler = StandardScaler().fit(train)
    x, test = scaler.transform(train).astype(np.float64), scaler.transform(test).astype(np.float64)
    if multilabel:
        weight, bias = fit_heads(torch.from_numpy(x), torch.from_numpy(truth).double(), STRENGTH)
        return test @ weight.numpy() + bias.numpy()
    with warnings.catch_warnings():
        # scikit-learn wonders whether so many classes are a regression, where each has a picture or two.
        warnings.filterwarnings("ignore", "The number of unique classes")
        model = LogisticRegression(C=STRENGTH, max_iter=2000).fit(x, truth.argmax(axis=1))
    return model.predict_proba(test)

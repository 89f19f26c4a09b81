"""Few-shot: the linear probe on a handful of pictures a class, several times with others."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler

from catclip.models.finite import check_finite
from catclip.transfer.logistic import fit_logistic

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
    device: torch.device | str = "cpu",
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
        device: where it is computed.

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
            yield Draw(count, number, len(rows), _scores(train[rows], truth[rows], test, multilabel, device))


def choose_shots(truth: np.ndarray, shots: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of `truth` bool [N, C]: of each class the first `shots` of its pictures in a random order, united."""
    order = rng.permutation(len(truth))
    return np.unique(np.concatenate([order[truth[order, label]][:shots] for label in range(truth.shape[1])]))


def _scores(
    train: np.ndarray, truth: np.ndarray, test: np.ndarray, multilabel: bool, device: torch.device | str
) -> np.ndarray:
    scaler = StandardScaler().fit(train)
    x, test_x = (torch.from_numpy(scaler.transform(features)).double().to(device) for features in (train, test))
    shown = torch.from_numpy(truth).to(device)
    y = shown.double() if multilabel else shown.int().argmax(1)
    head = fit_logistic(x, y, truth.shape[1], STRENGTH, tolerance=1e-6)
    logits = head.logits(test_x)
    return (logits if multilabel else logits.softmax(1)).cpu().numpy()

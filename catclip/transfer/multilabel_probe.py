"""The linear probe of pictures that show any number of classes: a sigmoid head for each class on frozen features."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler

from catclip.data.labelled import Splits
from catclip.errors import UserError
from catclip.models.finite import check_finite
from catclip.objectives.base import Objective
from catclip.transfer.logistic import WarmFits, choose_strength, room_for_fits
from catclip.transfer.probe import extract_features


@dataclass(frozen=True)
class MultilabelProbeResult:
    map: float  # over the classes that occur among the test pictures, mean of their average precision
    validation_map: float  # of the chosen strength, on the pictures held back from training
    strength: float
    classes: int
    classes_evaluated: int
    train_images: int
    test_images: int


@room_for_fits()
def fit_multilabel_probe(
    train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], device: torch.device | str = "cpu"
) -> MultilabelProbeResult:
    """Logistic regressions, one a class; their common strength is chosen on a held-back fifth, as CLIP's.

    Args:
        train: features float [N, D] and which classes they show, bool [N, C].
        test: the same of the test pictures, seen once.
        device: where it is computed.

    Raises:
        UserError: fewer than two training pictures, none of the test pictures (or of those held back) shows a class,
            features that are not finite.
    """
    check_finite(train[0], test[0])
    scaler = StandardScaler().fit(train[0])
    x, test_x = (torch.from_numpy(scaler.transform(features)).double().to(device) for features in (train[0], test[0]))
    y = torch.from_numpy(train[1]).double().to(device)
    order = np.random.default_rng(0).permutation(len(x))
    held, rest = np.split(order, [math.ceil(0.2 * len(x))])
    if not len(rest) or not train[1][held].any() or not test[1].any():
        raise UserError(
            "A probe needs pictures with labels, more than a handful to learn from and some to be judged by."
        )
    fit, rest_x, rest_y = WarmFits(y.shape[1]), x[rest], y[rest]

    def score(strength: float) -> float:
        return _mean_average_precision(fit(rest_x, rest_y, strength).logits(x[held]), train[1][held])

    strength, validation = choose_strength(score)
    return MultilabelProbeResult(
        _mean_average_precision(fit(x, y, strength).logits(test_x), test[1]),
        validation,
        strength,
        classes=y.shape[1],
        classes_evaluated=int(test[1].any(axis=0).sum()),
        train_images=len(x),
        test_images=len(test_x),
    )


def _mean_average_precision(logits: torch.Tensor, truth: np.ndarray) -> float:
    """Over the classes that occur, from logits [N, C] and truth bool [N, C]."""
    occurring, scores = truth.any(axis=0), logits.cpu().numpy()
    return float(np.mean(average_precision_score(truth[:, occurring], scores[:, occurring], average=None)))


def probe_multilabel(
    objective: Objective, data: Splits, device: torch.device, workers: int = 0
) -> MultilabelProbeResult:
    """Probe an objective's features on pictures that show any number of classes.

    Raises:
        UserError: a picture cannot be decoded; what `fit_multilabel_probe` raises.
    """
    size = objective.backbone.image_size
    train, test = (extract_features(objective.embed, images, size, device, workers) for images in data)
    return fit_multilabel_probe((train, data.train.multi_hot()), (test, data.test.multi_hot()), device)

"""The linear probe of pictures that show any number of classes: a sigmoid head for each class on frozen features."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler

from catclip.data.labelled import Splits
from catclip.errors import UserError
from catclip.models.finite import check_finite
from catclip.objectives.base import Objective
from catclip.transfer.probe import STRENGTHS, extract_features


@dataclass(frozen=True)
class MultilabelProbeResult:
    map: float  # over the classes that occur among the test pictures, mean of their average precision
    validation_map: float  # of the chosen strength, on the pictures held back from training
    strength: float
    classes: int
    classes_evaluated: int
    train_images: int
    test_images: int


def fit_multilabel_probe(
    train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], device: torch.device | str = "cpu"
) -> MultilabelProbeResult:
    """Logistic regressions, one a class; their common strength is chosen on a held-back fifth of the training set.

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
    head: tuple[torch.Tensor, torch.Tensor] | None = None
    validation = {}
    for strength in STRENGTHS:  # each fit starts from the last one's solution
        head = fit_heads(x[rest], y[rest], strength, head)
        validation[strength] = _mean_average_precision(_logits(x[held], head), train[1][held])
    strength = max(STRENGTHS, key=lambda c: (validation[c], -c))  # of equals the more regularised
    head = fit_heads(x, y, strength, head)
    return MultilabelProbeResult(
        _mean_average_precision(_logits(test_x, head), test[1]),
        validation[strength],
        strength,
        classes=y.shape[1],
        classes_evaluated=int(test[1].any(axis=0).sum()),
        train_images=len(x),
        test_images=len(test_x),
    )


def fit_heads(
    x: torch.Tensor, y: torch.Tensor, strength: float, start: tuple[torch.Tensor, torch.Tensor] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """C logistic regressions with the same L2 penalty, by L-BFGS: `strength` × summed BCE + ½ ‖weights‖².

    Args:
        x: features float64 [N, D].
        y: 0 or 1, float64 [N, C].
        strength: inverse regularisation, as scikit-learn's C; biases are not regularised.
        start: where to start from; None: zeros.

    Returns:
        Weights float64 [D, C] and biases float64 [C].
    """
    weight = x.new_zeros(x.shape[1], y.shape[1]) if start is None else start[0].clone()
    bias = x.new_zeros(y.shape[1]) if start is None else start[1].clone()
    parameters = [weight.requires_grad_(), bias.requires_grad_()]
    optimiser = torch.optim.LBFGS(
        parameters, max_iter=1000, tolerance_grad=1e-6, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimiser.zero_grad()
        penalty = weight.square().sum() / (2 * strength * len(x))
        loss = F.binary_cross_entropy_with_logits(x @ weight + bias, y, reduction="sum") / len(x) + penalty
        loss.backward()
        return float(loss.detach())

    optimiser.step(closure)
    return weight.detach(), bias.detach()


def _logits(x: torch.Tensor, head: tuple[torch.Tensor, torch.Tensor]) -> np.ndarray:
    return (x @ head[0] + head[1]).cpu().numpy()


def _mean_average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Over the classes that occur, from scores float [N, C] and truth bool [N, C]."""
    occurring = truth.any(axis=0)
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

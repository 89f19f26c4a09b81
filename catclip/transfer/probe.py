"""The linear probe: logistic regression on frozen features (CLIP, arXiv 2103.00020, section 3.2)."""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from catclip.data.labelled import ClassFolder
from catclip.errors import UserError
from catclip.objectives.base import Objective

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # inverse regularisation, on standardised features


@dataclass(frozen=True)
class ProbeResult:
    accuracy: float  # on the test pictures
    validation_accuracy: float  # of the chosen strength, on the pictures held back from training
    strength: float
    classes: int
    train_images: int
    test_images: int


@torch.no_grad()
def extract_features(
    embed: Callable[[torch.Tensor], torch.Tensor], folder: ClassFolder, size: int, device: torch.device, workers: int
) -> tuple[np.ndarray, np.ndarray]:
    """Features float32 [N, D] and classes int64 [N] of a class folder's pictures."""
    features, labels = [], []
    for images, classes in folder.batches(size, workers=workers):
        features.append(embed(images.to(device)).float().cpu())
        labels.append(classes)
    return torch.cat(features).numpy(), torch.cat(labels).numpy()


def fit_probe(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> ProbeResult:
    """L-BFGS logistic regression; the strength is chosen on a held-back fifth of the training set.

    Args:
        train: features float [N, D] and classes int [N].
        test: the same of the test pictures, seen once.

    Raises:
        UserError: fewer than two classes, a class with fewer than two training pictures, features that are not finite.
    """
    present, counts = np.unique(train[1], return_counts=True)
    if len(present) < 2 or counts.min() < 2:
        raise UserError("A probe needs at least two classes with at least two training pictures each.")
    if not (np.isfinite(train[0]).all() and np.isfinite(test[0]).all()):
        raise UserError("The features are not finite numbers: these weights are lost, probe an earlier checkpoint.")
    scaler = StandardScaler().fit(train[0])
    # A fifth, but as many as there are classes, where those have fewer than five pictures.
    held = max(math.ceil(0.2 * len(train[1])), len(present))
    x, y = scaler.transform(train[0]), train[1]
    fit_x, held_x, fit_y, held_y = train_test_split(x, y, test_size=held, random_state=0, stratify=y)
    # One model for all fits: each starts from the last one's solution.
    model = LogisticRegression(max_iter=2000, tol=1e-3, warm_start=True)
    with threadpool_limits(torch.get_num_threads()), warnings.catch_warnings():
        # scikit-learn wonders whether so many classes are a regression, where each has a picture or two.
        warnings.filterwarnings("ignore", "The number of unique classes")
        validation = {c: model.set_params(C=c).fit(fit_x, fit_y).score(held_x, held_y) for c in STRENGTHS}
        strength = max(STRENGTHS, key=lambda c: (validation[c], -c))  # of equals the more regularised
        accuracy = model.set_params(C=strength).fit(x, y).score(scaler.transform(test[0]), test[1])
    return ProbeResult(accuracy, validation[strength], strength, int(y.max()) + 1, len(y), len(test[1]))


def probe(objective: Objective, folder: str | Path, device: torch.device, workers: int = 0) -> ProbeResult:
    """Probe an objective's features on `folder`/train and `folder`/test.

    Raises:
        UserError: the folder is not two splits of the same class folders, or a picture cannot be decoded.
    """
    size = objective.backbone.image_size
    train, test = ClassFolder.open_splits(folder)
    counts = np.bincount([label for _, label in train.pictures], minlength=len(train.classes))
    if few := [name for name, count in zip(train.classes, counts, strict=True) if count < 2]:
        raise UserError(f"{train.folder}: a probe needs two pictures of each class; not so {', '.join(few[:8])}.")
    return fit_probe(
        extract_features(objective.embed, train, size, device, workers),
        extract_features(objective.embed, test, size, device, workers),
    )


def probe_evaluator(
    folder: str | Path, device: torch.device, workers: int
) -> Callable[[Objective], Iterator[tuple[str, float]]]:
    """The probe as an evaluator of a training run: yields `probe_accuracy`."""
    ClassFolder.open_splits(folder)  # a wrong folder is said before training, not after

    def evaluate(objective: Objective) -> Iterator[tuple[str, float]]:
        yield "probe_accuracy", probe(objective, folder, device, workers).accuracy

    return evaluate

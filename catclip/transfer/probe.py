"""The linear probe: logistic regression on frozen features (CLIP, arXiv 2103.00020, section 3.2)."""

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
from catclip.objectives.base import Objective

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # inverse regularisation, on standardised features


@dataclass(frozen=True)
class ProbeResult:
    accuracy: float  # on the test pictures
    validation_accuracy: float  # of the chosen strength, on a fifth of the training pictures
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
    """L-BFGS logistic regression; the strength is chosen on a stratified fifth of the training set.

    Args:
        train: features float [N, D] and classes int [N].
        test: the same of the test pictures, seen once.
    """
    scaler = StandardScaler().fit(train[0])
    x, y = scaler.transform(train[0]), train[1]
    fit_x, held_x, fit_y, held_y = train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
    # One model for all fits: each starts from the last one's solution.
    model = LogisticRegression(max_iter=2000, tol=1e-3, warm_start=True)
    with threadpool_limits(torch.get_num_threads()):
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
    return fit_probe(
        extract_features(objective.embed, train, size, device, workers),
        extract_features(objective.embed, test, size, device, workers),
    )


def probe_evaluator(folder: str | Path, device: torch.device, workers: int):
    """The probe as an evaluator of a training run: yields `probe_accuracy`."""
    ClassFolder.open_splits(folder)  # a wrong folder is said before training, not after

    def evaluate(objective: Objective) -> Iterator[tuple[str, float]]:
        yield "probe_accuracy", probe(objective, folder, device, workers).accuracy

    return evaluate

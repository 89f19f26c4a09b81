"""The linear probe: logistic regression on frozen features (CLIP, arXiv 2103.00020, section 3.2)."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from catclip.config import PretrainConfig
from catclip.data.labelled import LabelledImages, Splits, open_splits
from catclip.errors import UserError
from catclip.models.finite import check_finite
from catclip.objectives.base import Objective
from catclip.transfer.logistic import Head, WarmFits, choose_strength, room_for_fits


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
    embed: Callable[[torch.Tensor], torch.Tensor],
    images: LabelledImages,
    size: int,
    device: torch.device,
    workers: int,
    *,
    skip_unreadable: bool = False,
) -> np.ndarray:
    """Features float32 [P, D] of all pictures, in their order; with `skip_unreadable` of those that can be decoded.

    They are made in full precision, also where a run evaluates under autocast: every probe is to find the same.
    """
    batches = images.batches(size, workers=workers, skip_unreadable=skip_unreadable)
    with torch.autocast(device.type, enabled=False):
        return torch.cat([embed(batch["images"].to(device)).float().cpu() for batch in batches]).numpy()


@room_for_fits()
def fit_probe(
    train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], device: torch.device | str = "cpu"
) -> ProbeResult:
    """L-BFGS logistic regression; the strength is chosen on a held-back fifth of the training set, as CLIP's.

    Args:
        train: features float [N, D] and classes int [N].
        test: the same of the test pictures, seen once.
        device: where it is computed.

    Raises:
        UserError: fewer than two classes, a class with fewer than two training pictures, features that are not finite.
    """
    present, counts = np.unique(train[1], return_counts=True)
    if len(present) < 2 or counts.min() < 2:
        raise UserError("A probe needs at least two classes with at least two training pictures each.")
    check_finite(train[0], test[0])
    scaler = StandardScaler().fit(train[0])
    x, test_x = (torch.from_numpy(scaler.transform(features)).double().to(device) for features in (train[0], test[0]))
    y, test_y = (torch.from_numpy(classes).long().to(device) for classes in (train[1], test[1]))
    # A fifth, but as many as there are classes, where those have fewer than five pictures.
    held = max(math.ceil(0.2 * len(y)), len(present))
    split = train_test_split(np.arange(len(y)), test_size=held, random_state=0, stratify=train[1])
    (rest_x, rest_y), (back_x, back_y) = ((x[rows], y[rows]) for rows in split)
    classes = int(train[1].max()) + 1
    fit = WarmFits(classes)

    def accuracy(head: Head, x: torch.Tensor, y: torch.Tensor) -> float:
        return float((head.logits(x).argmax(1) == y).double().mean())

    strength, validation = choose_strength(lambda c: accuracy(fit(rest_x, rest_y, c), back_x, back_y))
    return ProbeResult(
        accuracy(fit(x, y, strength), test_x, test_y), validation, strength, classes, len(y), len(test_y)
    )


def check_classes(train: LabelledImages) -> None:
    """Raise `UserError` where pictures show one class each, and it is the same for all."""
    if not train.multilabel and len(train.classes) < 2:
        raise UserError(f"{train.source} has one class only: nothing to tell apart.")


def check_counts(train: LabelledImages) -> None:
    """Raise `UserError` unless there are two pictures of each class, one of which can be held back."""
    if few := [name for name, count in zip(train.classes, train.counts(), strict=True) if count < 2]:
        raise UserError(f"{train.source}: a probe needs two pictures of each class; not so {', '.join(few[:8])}.")


def probe(objective: Objective, data: str | Path | Splits, device: torch.device, workers: int = 0) -> ProbeResult:
    """Probe an objective's features on pictures that show one class each.

    Args:
        objective: in evaluation mode.
        data: a folder with train/ and test/, or what `open_splits` made.
        device: where the objective is.
        workers: processes that read pictures.

    Raises:
        UserError: the folder is none with two splits of the same classes, a class has but one training picture, or a
            picture cannot be decoded.
    """
    train, test = data if isinstance(data, Splits) else open_splits(data)
    assert not train.multilabel, "pictures that show any number of classes are for `probe_multilabel`"
    check_counts(train)
    size = objective.backbone.image_size
    features = [extract_features(objective.embed, images, size, device, workers) for images in (train, test)]
    return fit_probe((features[0], train.label_ids), (features[1], test.label_ids), device)


def probe_evaluator(
    config: PretrainConfig, device: torch.device, *, data: str | Path, name: str = "probe"
) -> Callable[[Objective], Iterator[tuple[str, float]]]:
    """The probe on a folder as an evaluator of a training run: yields `<name>_accuracy`."""
    splits = open_splits(data)  # a wrong folder is said before training, not after

    def evaluate(objective: Objective) -> Iterator[tuple[str, float]]:
        yield f"{name}_accuracy", probe(objective, splits, device, config.data.workers).accuracy

    return evaluate

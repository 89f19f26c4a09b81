"""A part of some labelled pictures, in which each class has its share."""

from dataclasses import replace

import numpy as np

from catclip.data.labelled.images import LabelledImages
from catclip.data.labelled.pictures import Pictures
from catclip.errors import UserError


class _Some:
    """Some of the pictures of another source."""

    def __init__(self, pictures: Pictures, numbers: np.ndarray):
        self._pictures, self._numbers = pictures, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def name(self, number: int) -> str:
        return self._pictures.name(int(self._numbers[number]))

    def read(self, number: int) -> bytes:
        return self._pictures.read(int(self._numbers[number]))


def take(images: LabelledImages, numbers: np.ndarray) -> LabelledImages:
    """The pictures of these numbers, in that order, with all the classes."""
    lengths = np.diff(images.label_offsets)[numbers]
    ids = [images.label_ids[images.label_offsets[number] : images.label_offsets[number + 1]] for number in numbers]
    return replace(
        images,
        pictures=_Some(images.pictures, numbers),
        label_ids=np.concatenate([images.label_ids[:0], *ids]),
        label_offsets=np.concatenate([[0], np.cumsum(lengths)]),
    )


def take_fraction(images: LabelledImages, fraction: float, seed: int) -> LabelledImages:
    """A share of the pictures, and of each class at least one, in their order.

    Where a picture shows one class, of each class its share, rounded; what a smaller fraction takes a larger one takes
    too. Where a picture shows any number, classes are given their shares from the rarest to the most frequent, each
    from the pictures that were not decided on before (iterative stratification: Sechidis et al., ECML 2011).

    Args:
        images: to choose from.
        fraction: above 0 and at most 1, which is all of them.
        seed: of the choice.

    Raises:
        UserError: the fraction is none.
    """
    if not 0 < fraction <= 1:
        raise UserError(f"data.fraction={fraction} must be above 0 and at most 1.")
    if fraction == 1:
        return images
    rng = np.random.default_rng((seed, len(images)))
    choose = _of_any_classes if images.multilabel else _of_one_class
    return take(images, np.sort(choose(images, fraction, rng)))


def _of_one_class(images: LabelledImages, fraction: float, rng: np.random.Generator) -> np.ndarray:
    chosen = []
    for label in range(len(images.classes)):
        own = rng.permutation(np.flatnonzero(images.label_ids == label))
        chosen.append(own[: max(1, round(fraction * len(own)))])
    return np.concatenate(chosen)


def _of_any_classes(images: LabelledImages, fraction: float, rng: np.random.Generator) -> np.ndarray:
    shown = images.multi_hot()
    # Those that show nothing are a class of their own, the last to be decided on.
    shown = np.column_stack([shown, ~shown.any(axis=1)])
    chosen, open_ = np.zeros(len(images), bool), np.ones(len(images), bool)
    for label in [*np.argsort(shown[:, :-1].sum(axis=0), kind="stable").tolist(), shown.shape[1] - 1]:
        own = shown[:, label]
        if own.any():
            wanted = max(1, round(fraction * int(own.sum()))) - int((chosen & own).sum())
            candidates = rng.permutation(np.flatnonzero(own & open_))
            chosen[candidates[: max(0, wanted)]] = True
            open_ &= ~own
    return np.flatnonzero(chosen)

"""Which part of a picture becomes a sample: in the upright picture, in the picture as it is stored, and on its grid."""

import math
from typing import NamedTuple

import numpy as np
import torch


class Box(NamedTuple):
    """A part of a picture, in pixels; right and bottom are the first that lie outside."""

    left: int
    top: int
    right: int
    bottom: int


def sample_crop(width: int, height: int, scale: tuple[float, float], rng: np.random.Generator) -> Box:
    """A random crop of `scale` of the area and 3/4 to 4/3 in shape.

    The sampling is Inception's, as in torchvision.transforms.RandomResizedCrop.
    """
    for _ in range(10):
        area = width * height * rng.uniform(*scale)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
            return Box(left, top, left + w, top + h)
    return _centred(width, height, max(1, min(width, round(height * 4 / 3))), max(1, min(height, round(width * 4 / 3))))


def central_square(width: int, height: int) -> Box:
    """The largest square in the middle."""
    side = min(width, height)
    return _centred(width, height, side, side)


def _centred(width: int, height: int, w: int, h: int) -> Box:
    left, top = (width - w) // 2, (height - h) // 2
    return Box(left, top, left + w, top + h)


def reduction(box: Box, size: int) -> int:
    """The largest of 1, 2, 4 and 8 by which the picture can shrink with `size` pixels left on both sides of the box."""
    return max(
        step
        for step in (1, 2, 4, 8)
        if step == 1 or (_pixels(box.left, box.right, step) >= size and _pixels(box.top, box.bottom, step) >= size)
    )


def _pixels(first: int, last: int, step: int) -> int:
    return last // step - first // step


def on_grid(box: Box, step: int) -> Box:
    """The box in a picture that has shrunk by `step`: less than a pixel of it from where it was."""
    return Box(*(side // step for side in box))


class Orientation(NamedTuple):
    """What turns a stored picture upright: mirroring, and then exchanging rows and columns."""

    mirror_columns: bool  # left and right change places
    mirror_rows: bool
    transpose: bool

    def turned(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the upright picture."""
        return (height, width) if self.transpose else (width, height)

    def stored(self, box: Box, width: int, height: int) -> Box:
        """Where a part of the upright picture lies in the stored one, whose width and height are given."""
        left, top, right, bottom = (box.top, box.left, box.bottom, box.right) if self.transpose else box
        if self.mirror_columns:
            left, right = width - right, width - left
        if self.mirror_rows:
            top, bottom = height - bottom, height - top
        return Box(left, top, right, bottom)

    def mirrored(self) -> "Orientation":
        """The same, and left and right of the upright picture change places."""
        if self.transpose:
            return self._replace(mirror_rows=not self.mirror_rows)
        return self._replace(mirror_columns=not self.mirror_columns)

    def upright(self, picture: torch.Tensor) -> torch.Tensor:
        """Turn a stored picture [3, H, W] upright."""
        dims = [dim for dim, mirror in ((1, self.mirror_rows), (2, self.mirror_columns)) if mirror]
        picture = picture.flip(dims) if dims else picture
        return picture.transpose(1, 2) if self.transpose else picture


UPRIGHT = Orientation(False, False, False)

# By the number in EXIF. What is not here stands upright, or says nonsense.
EXIF_ORIENTATIONS = {
    2: Orientation(True, False, False),
    3: Orientation(True, True, False),
    4: Orientation(False, True, False),
    5: Orientation(False, False, True),
    6: Orientation(False, True, True),
    7: Orientation(True, True, True),
    8: Orientation(True, False, True),
}

"""Picture bytes → uint8 tensors, and augmentation."""

import io
import math

import numpy as np
import torch
from PIL import Image, ImageFile, UnidentifiedImageError

# Larger than any photograph: past it Pillow raises instead of allocating (decompression bombs).
Image.MAX_IMAGE_PIXELS = 200_000_000
ImageFile.LOAD_TRUNCATED_IMAGES = False


class BadImageError(ValueError):
    """The bytes are not a picture that can be read."""


def decode(data: bytes, at_least: int | None = None) -> Image.Image:
    """Decode a picture to RGB.

    Args:
        data: JPEG, PNG, WebP or GIF (its first frame).
        at_least: pixels that the shorter side must keep; lets a JPEG be decoded at a reduced scale.

    Raises:
        BadImageError: the bytes cannot be decoded.
    """
    try:
        image = Image.open(io.BytesIO(data))
        if at_least is not None:
            image.draft("RGB", (at_least, at_least))
        if image.mode in ("P", "LA", "PA", "RGBA"):
            # Transparent pixels carry arbitrary colours: show them as a page would, on white.
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            return Image.alpha_composite(white, image).convert("RGB")
        return image.convert("RGB")
    except (
        UnidentifiedImageError,
        Image.DecompressionBombError,
        OSError,
        SyntaxError,  # what Pillow raises for a broken PNG chunk
        ValueError,
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        MemoryError,
    ) as error:
        raise BadImageError(f"{type(error).__name__}: {error}") from error


def to_tensor(image: Image.Image) -> torch.Tensor:
    """uint8 [3, H, W] of an RGB picture."""
    return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())


def random_resized_crop(
    image: Image.Image, size: int, scale: tuple[float, float], flip: bool, rng: np.random.Generator
) -> torch.Tensor:
    """A random crop of `scale` of the area and 3/4 to 4/3 in shape, resized to a square, maybe mirrored.

    The sampling is Inception's, as in torchvision.transforms.RandomResizedCrop. Returns uint8 [3, size, size].
    """
    box = sample_crop(image.width, image.height, scale, rng)
    crop = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    if flip and rng.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return to_tensor(crop)


def sample_crop(
    width: int, height: int, scale: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a random resized crop, in pixels."""
    for _ in range(10):
        area = width * height * rng.uniform(*scale)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
            return left, top, left + w, top + h
    w = max(1, min(width, round(height * 4 / 3)))
    h = max(1, min(height, round(width * 4 / 3)))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def centre_crop(image: Image.Image, size: int) -> torch.Tensor:
    """The largest central square, resized. Returns uint8 [3, size, size]."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    return to_tensor(image.resize((size, size), Image.Resampling.BICUBIC, box=box))

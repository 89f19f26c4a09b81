"""Picture bytes → uint8 tensors, and augmentation."""

import io
import math
import warnings

import numpy as np
import torch
from PIL import ExifTags, Image, ImageFile

# Decompression bombs: past this Pillow warns, past twice this, larger than any photograph, it raises.
Image.MAX_IMAGE_PIXELS = 100_000_000
ImageFile.LOAD_TRUNCATED_IMAGES = False
# Broken metadata are common, and a line for each would bury the progress of a run.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")

# What pictures on the web are. Pillow's rarer readers are not for strangers' bytes: one of them runs Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

# EXIF's orientation -> what turns the stored picture upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class BadImageError(ValueError):
    """The bytes are not a picture that can be read."""


def decode(data: bytes, at_least: int | None = None) -> Image.Image:
    """Decode a picture to RGB, upright as its EXIF orientation says, and on white where it is transparent.

    Args:
        data: JPEG, PNG, WebP, GIF (its first frame), BMP or TIFF.
        at_least: pixels that the shorter side must keep; lets a JPEG be decoded at a reduced scale.

    Raises:
        BadImageError: the bytes cannot be decoded.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if at_least is not None:
            image.draft("RGB", (at_least, at_least))
        upright = _UPRIGHT.get(_orientation(image))
        rgb = _to_rgb(image)
        return rgb if upright is None else rgb.transpose(upright)
    # On broken bytes Pillow raises nearly anything (struct.error, SyntaxError, RuntimeError …), and all mean the same.
    except Exception as error:
        raise BadImageError(f"{type(error).__name__}: {error}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # 16 bits a pixel: Pillow's own conversion would not scale but clip, and nearly all would be white.
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        # Transparent pixels carry arbitrary colours: show them as a page would, on white.
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # broken metadata, which raise anything, do not make a bad picture
        return 1


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

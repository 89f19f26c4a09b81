"""Picture bytes → uint8 tensors, and augmentation.

The part that is wanted is chosen by the header's width and height; only then is the picture decoded, and no more of it
than the part takes. JPEGs go to simplejpeg, all else and odd JPEGs to Pillow; PyTorch resizes. docs/decoding.md says
why, and how near the result is to decoding all and resizing that.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import ExifTags, Image, ImageFile

from catclip.data.crops import EXIF_ORIENTATIONS, UPRIGHT, Box, Orientation, central_square, reduction, sample_crop
from catclip.data.jpeg import Frame, decode_part, read_frame, why_bad

# Decompression bombs: past this Pillow warns, past twice this, larger than any photograph, it raises.
Image.MAX_IMAGE_PIXELS = 100_000_000
_MOST_PIXELS = 2 * Image.MAX_IMAGE_PIXELS
ImageFile.LOAD_TRUNCATED_IMAGES = False
# Broken metadata are common, and a line for each would bury the progress of a run.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")

# What pictures on the web are. Pillow's rarer readers are not for strangers' bytes: one of them runs Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

_OBJECT = re.compile(r" <[^<>]* at 0x[0-9a-f]+>")  # in Pillow's messages: where the bytes lie in memory

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


def training_picture(
    data: bytes, size: int, scale: tuple[float, float], flip: bool, rng: np.random.Generator
) -> torch.Tensor:
    """A random crop of a picture, resized to a square, maybe mirrored: a pure function of its arguments.

    The picture is upright as its EXIF orientation says, and on white where it is transparent.

    Args:
        data: JPEG, PNG, WebP, GIF (its first frame), BMP or TIFF.
        size: pixels of a side.
        scale: the least and the largest share of the area; see `sample_crop`.
        flip: mirror every other picture.
        rng: what is random is drawn from it.

    Returns:
        uint8 [3, size, size].

    Raises:
        BadImageError: the bytes cannot be decoded.
    """
    return part_picture(training_part(data, scale, flip, rng), size)


def training_part(data: bytes, scale: tuple[float, float], flip: bool, rng: np.random.Generator) -> "Part":
    """What `training_picture` decodes, chosen by the header alone.

    Raises:
        BadImageError: there is none, or it lies.
    """
    part = _choose(data, lambda width, height: sample_crop(width, height, scale, rng))
    return part._replace(orientation=part.orientation.mirrored()) if flip and rng.random() < 0.5 else part


def held_out_picture(data: bytes, size: int) -> torch.Tensor:
    """The largest central square of a picture, resized; otherwise as `training_picture`. uint8 [3, size, size].

    Raises:
        BadImageError: the bytes cannot be decoded.
    """
    return part_picture(_choose(data, central_square), size)


def picture_size(data: bytes) -> tuple[int, int]:
    """Width and height of the upright picture, by its header.

    Raises:
        BadImageError: it has none.
    """
    width, height, orientation, _ = _look(data)
    return orientation.turned(width, height)


class Part(NamedTuple):
    """A part of a picture that is not decoded yet."""

    data: bytes
    frame: Frame | None  # of a JPEG that `decode_part` takes
    box: Box  # in the picture as it is stored
    orientation: Orientation  # what turns that upright, and mirrors it if it is to be mirrored


def part_picture(part: Part, size: int) -> torch.Tensor:
    """Decode a part and resize it to a square. uint8 [3, size, size].

    Raises:
        BadImageError: it cannot be decoded.
    """
    return part.orientation.upright(_resize(_pixels(part.data, part.frame, part.box, size), size)).contiguous()


def _choose(data: bytes, choose: Callable[[int, int], Box]) -> Part:
    """The part that `choose` says for the upright picture's width and height."""
    width, height, orientation, frame = _look(data)
    return Part(data, frame, orientation.stored(choose(*orientation.turned(width, height)), width, height), orientation)


def _look(data: bytes) -> tuple[int, int, Orientation, Frame | None]:
    """Width and height as stored, the orientation, and the frame of a JPEG."""
    frame = read_frame(data)
    if frame and (reason := why_bad(data, frame)):
        raise BadImageError(reason)
    if frame and not frame.has_metadata and frame.width * frame.height <= _MOST_PIXELS:
        return frame.width, frame.height, UPRIGHT, frame
    with _what_fails_is_bad():
        image = _open(data)
        return image.width, image.height, EXIF_ORIENTATIONS.get(_orientation(image), UPRIGHT), frame


def _pixels(data: bytes, frame: Frame | None, box: Box, size: int) -> np.ndarray:
    """uint8 [H, W, 3] of a part of the stored picture; at least `size` pixels on each side, if the part has them."""
    if frame:
        try:
            return decode_part(data, frame, box, reduction(box, size))
        except ValueError:
            pass  # odd or broken: Pillow knows which
    with _what_fails_is_bad():
        return np.array(_to_rgb(_open(data).crop(box)))


def _resize(pixels: np.ndarray, size: int) -> torch.Tensor:
    """uint8 [H, W, 3] → [3, size, size], antialiased: bicubic as Pillow's, to within a grey level."""
    # PyTorch's fast road for bytes is for one picture whose channels are next to each other.
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous(memory_format=torch.channels_last)
    return F.interpolate(image, (size, size), mode="bicubic", antialias=True)[0]


@contextmanager
def _what_fails_is_bad() -> Iterator[None]:
    try:
        yield
    # On broken bytes Pillow raises nearly anything (struct.error, SyntaxError, RuntimeError …), and all mean the same.
    except Exception as error:
        raise BadImageError(f"{type(error).__name__}: {_OBJECT.sub('', str(error))}") from error


def decode(data: bytes, at_least: int | None = None) -> Image.Image:
    """Decode all of a picture to RGB, upright as its EXIF orientation says, and on white where it is transparent.

    Args:
        data: JPEG, PNG, WebP, GIF (its first frame), BMP or TIFF.
        at_least: pixels that the shorter side must keep; lets a JPEG be decoded at a reduced scale.

    Raises:
        BadImageError: the bytes cannot be decoded.
    """
    with _what_fails_is_bad():
        image = _open(data)
        if at_least is not None:
            image.draft("RGB", (at_least, at_least))
        upright = _UPRIGHT.get(_orientation(image))
        rgb = _to_rgb(image)
        return rgb if upright is None else rgb.transpose(upright)


def _open(data: bytes) -> Image.Image:
    """Look at a picture's header: it is decoded when its pixels are asked for."""
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.format == "TIFF" and _orientation(image) != 1:
        image.load()  # turns a TIFF upright and forgets that it lay otherwise, which for other formats is left to us
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("pixels are floats, of no known range")
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

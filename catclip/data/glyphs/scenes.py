"""What is in a picture, and the picture: objects in varied size, rotation, colour and place on a background."""

import math
from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate
from random import Random

import numpy as np
from PIL import Image

from catclip.data.glyphs.colours import TYPICAL_COLOURS
from catclip.data.glyphs.masks import Masks, object_masks
from catclip.data.glyphs.objects import KINDS, Kind

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]

OBJECT_COLOURS: dict[str, Colour] = {
    "red": (208, 40, 40),
    "orange": (240, 140, 30),
    "yellow": (246, 216, 50),
    "green": (46, 150, 66),
    "blue": (44, 92, 208),
    "purple": (128, 60, 168),
    "pink": (240, 128, 178),
    "brown": (128, 80, 44),
    "black": (24, 24, 24),
    "white": (248, 248, 248),
    "grey": (128, 128, 128),
}
BACKGROUND_COLOURS: dict[str, Colour] = {
    "white": (250, 250, 250),
    "light grey": (212, 212, 212),
    "beige": (240, 228, 200),
    "light blue": (186, 216, 244),
    "light green": (198, 232, 194),
    "light yellow": (252, 244, 184),
    "light pink": (250, 214, 224),
    "dark blue": (28, 44, 92),
    "dark green": (22, 70, 46),
    "dark red": (96, 24, 32),
    "dark grey": (64, 66, 70),
    "black": (14, 14, 14),
}
_BACKGROUND_WEIGHTS = [1 if name == "black" or name.startswith("dark") else 3 for name in BACKGROUND_COLOURS]
PATTERNS = ("plain", "plain", "gradient", "stripes", "checker", "noise")

# The longer side of an object as a share of the picture's, by how many objects it holds: 18 to 46 of 64 pixels.
_SIZES = {1: (0.50, 0.72), 2: (0.40, 0.54), 3: (0.32, 0.44), 4: (0.30, 0.40)}
_SMALLEST = 0.28
_LEAST_CONTRAST = 240.0  # distance between two colours, in which black and white are 765 apart
_RANK_WEIGHTS = list(accumulate(1 / rank for rank in range(1, len(KINDS) + 1)))


@dataclass(frozen=True)
class PlacedObject:
    """An object of a picture.

    Attributes:
        kind: What it is.
        colour: A key of `OBJECT_COLOURS`.
        box: x0, y0, x1, y1 in pixels around what is drawn; x1 and y1 are outside.
        angle: Rotation counter-clockwise in degrees.
    """

    kind: Kind
    colour: str
    box: Box
    angle: float


@dataclass(frozen=True)
class Scene:
    """A picture (RGB, square) and what is in it.

    Attributes:
        picture: The picture.
        objects: The objects, those of one kind next to each other.
        background: A key of `BACKGROUND_COLOURS`.
        pattern: One of `PATTERNS`.
    """

    picture: Image.Image
    objects: tuple[PlacedObject, ...]
    background: str
    pattern: str


def draw_scene(rng: Random, size: int) -> Scene:
    """A picture of one to four objects whose kinds follow Zipf's law."""
    return _draw(_sample_groups(rng), rng, size)


def draw_object(kind: Kind, rng: Random, size: int) -> Scene:
    """A picture of a single object of the given kind."""
    return _draw([(kind, 1)], rng, size)


# ---------------------------------------------------------------------------------------------------------------------
# What is in the picture


def _sample_groups(rng: Random) -> list[tuple[Kind, int]]:
    """Kinds and how many of each: one to four objects in all."""
    counts = rng.choices(([1], [2], [3], [4], [1, 1], [1, 2], [2, 2], [1, 3], [1, 1, 1], [1, 1, 2], [1, 1, 1, 1]),
                         (30, 8, 5, 2, 24, 8, 3, 2, 11, 3, 4))[0]  # fmt: skip
    kinds: list[Kind] = []
    while len(kinds) < len(counts):
        kind = _sample_kind(rng)
        if kind not in kinds:
            kinds.append(kind)
    return list(zip(kinds, rng.sample(counts, len(counts)), strict=True))


def _sample_kind(rng: Random) -> Kind:
    return KINDS[bisect(_RANK_WEIGHTS, rng.random() * _RANK_WEIGHTS[-1])]


def _sample_colours(groups: list[tuple[Kind, int]], backdrop: list[Colour], rng: Random) -> list[list[str]]:
    """For each group the colours of its objects: usually one for all, and usually one that the kind mostly comes in."""
    usable = [
        name for name, rgb in OBJECT_COLOURS.items() if all(_distance(rgb, b) >= _LEAST_CONTRAST for b in backdrop)
    ]
    colours = []
    for kind, count in groups:
        typical = [name for name in TYPICAL_COLOURS[kind.name] if name in usable]
        if typical and rng.random() < 0.8:
            colours.append([rng.choice(typical)] * count)
        else:
            alike = rng.random() < 0.75
            colours.append([rng.choice(usable)] * count if alike else rng.sample(usable, count))
    return colours


def _distance(a: Colour, b: Colour) -> float:
    """A weighted RGB distance that follows perception (Compuphase's "redmean"), 0 to about 765."""
    red_mean = (a[0] + b[0]) / 2
    red, green, blue = (x - y for x, y in zip(a, b, strict=True))
    return math.sqrt((2 + red_mean / 256) * red**2 + 4 * green**2 + (2 + (255 - red_mean) / 256) * blue**2)


# ---------------------------------------------------------------------------------------------------------------------
# The picture


def _draw(groups: list[tuple[Kind, int]], rng: Random, size: int) -> Scene:
    background = rng.choices(list(BACKGROUND_COLOURS), _BACKGROUND_WEIGHTS)[0]
    pattern = rng.choice(PATTERNS)
    first = BACKGROUND_COLOURS[background]
    second = _second_tone(first, rng)
    canvas = _paint_background(pattern, first, second, rng, size)
    colours = _sample_colours(groups, [first, second], rng)
    flat = [(kind, colour) for (kind, _), chosen in zip(groups, colours, strict=True) for colour in chosen]

    placed: list[PlacedObject] = []
    for kind, colour in flat:
        masks, box, angle = _find_place(kind, [other.box for other in placed], _SIZES[len(flat)], rng, size)
        _paint(canvas, masks, box, OBJECT_COLOURS[colour], rng)
        placed.append(PlacedObject(kind, colour, box, round(angle, 1)))
    return Scene(canvas, tuple(placed), background, pattern)


def _find_place(
    kind: Kind, taken: list[Box], shares: tuple[float, float], rng: Random, size: int
) -> tuple[Masks, Box, float]:
    """Masks and a place that overlaps no other object, or hardly, getting smaller as places fail."""
    low, high = shares
    best: tuple[int, Masks, Box, float] | None = None
    for _ in range(6):
        share = rng.uniform(low, high)
        angle = rng.uniform(-kind.tilt, kind.tilt)
        masks = _turned_masks(kind, share, angle, rng, size)
        width, height = masks[0].size
        for _ in range(12):
            x, y = rng.randint(0, max(0, size - width)), rng.randint(0, max(0, size - height))
            box = (x, y, x + width, y + height)
            shared = sum(_overlap(box, other) for other in taken)
            if shared == 0:
                return masks, box, angle
            if best is None or shared < best[0]:
                best = shared, masks, box, angle
        low, high = _SMALLEST, max(_SMALLEST, high * 0.85)
    assert best is not None
    return best[1:]


def _overlap(a: Box, b: Box) -> int:
    """Shared area in square pixels."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def _turned_masks(kind: Kind, share: float, angle: float, rng: Random, size: int) -> Masks:
    """The kind's masks, perhaps mirrored, rotated and scaled; cropped to what is drawn."""
    side = share * size
    master = round(size * (0.5 if share <= 0.5 else 0.75))  # two sizes are kept, and only ever reduced
    whole, ink = object_masks(kind, rng.randrange(len(kind.glyphs) or 1), master)
    mirrored = kind.mirror and rng.random() < 0.5
    turned = [_turn(mask, angle, side / master, mirrored) if mask else None for mask in (whole, ink)]
    assert turned[0] is not None
    extent = turned[0].point(_VISIBLE).getbbox()
    return turned[0].crop(extent), turned[1].crop(extent) if turned[1] else None


_VISIBLE = [0] * 48 + [255] * 208  # edges fainter than this are not part of an object's box


def _turn(mask: Image.Image, angle: float, scale: float, mirrored: bool) -> Image.Image:
    if mirrored:
        mask = mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mask = mask.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    width, height = (max(1, round(length * scale)) for length in mask.size)
    return mask.resize((width, height), Image.Resampling.BILINEAR)


def _paint(canvas: Image.Image, masks: Masks, box: Box, colour: Colour, rng: Random) -> None:
    whole, ink = masks
    canvas.paste(_jitter(colour, 10, rng), box, whole)
    if ink:
        luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
        canvas.paste((34, 34, 38) if luminance > 125 else (244, 244, 240), box, ink)


def _jitter(colour: Colour, amount: int, rng: Random) -> Colour:
    red, green, blue = (min(255, max(0, channel + rng.randint(-amount, amount))) for channel in colour)
    return red, green, blue


# ---------------------------------------------------------------------------------------------------------------------
# Backgrounds


def _second_tone(colour: Colour, rng: Random) -> Colour:
    """A tone near `colour`, so that a patterned background can still be named by one colour."""
    shift = rng.randint(14, 30) * (-1 if sum(colour) > 384 else 1)
    return _jitter((colour[0] + shift, colour[1] + shift, colour[2] + shift), 6, rng)


def _paint_background(pattern: str, first: Colour, second: Colour, rng: Random, size: int) -> Image.Image:
    if pattern == "plain":
        return Image.new("RGB", (size, size), first)
    amount = _PATTERN_AMOUNTS[pattern](rng, size)
    blended = np.array(first) + amount[..., None] * (np.array(second) - np.array(first))
    return Image.fromarray(np.clip(blended, 0, 255).astype(np.uint8))


def _gradient(rng: Random, size: int) -> np.ndarray:
    angle = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    return 0.5 + (x * math.cos(angle) + y * math.sin(angle)) / math.sqrt(2)


def _stripes(rng: Random, size: int) -> np.ndarray:
    angle, width = rng.uniform(0, math.pi), size * rng.uniform(0.06, 0.16)
    y, x = np.mgrid[0:size, 0:size]
    return np.floor((x * math.cos(angle) + y * math.sin(angle)) / width) % 2


def _checker(rng: Random, size: int) -> np.ndarray:
    width, offset = size * rng.uniform(0.08, 0.2), rng.randrange(size)
    y, x = np.floor((np.mgrid[0:size, 0:size] + offset) / width)
    return (x + y) % 2


def _noise(rng: Random, size: int) -> np.ndarray:
    return np.frombuffer(rng.randbytes(size * size), np.uint8).reshape(size, size) / 255


_PATTERN_AMOUNTS = {"gradient": _gradient, "stripes": _stripes, "checker": _checker, "noise": _noise}

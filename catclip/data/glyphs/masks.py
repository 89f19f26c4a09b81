"""Kinds of object → masks: where an object's colour goes, and where the contrasting tone goes."""

from functools import lru_cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageChops, ImageDraw, ImageFont

from catclip.data.glyphs.objects import Kind
from catclip.data.glyphs.parts import Part, Tone
from catclip.data.glyphs.shapes import SHAPES

_RASTER = 384  # pixels: drawn large, then reduced, which antialiases the edges
_FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"

Masks = tuple[Image.Image, Image.Image | None]


@lru_cache(maxsize=1024)
def object_masks(kind: Kind, variant: int, side: int) -> Masks:
    """The object upright, cropped to what is drawn, its longer side `side` pixels.

    Args:
        kind: What to draw.
        variant: Which of the kind's glyphs; 0 for a shape.
        side: Length of the longer side in pixels.

    Returns:
        Two greyscale (``L``) pictures of one size: the whole object, and the part of it in the contrasting tone
        (None where there is no such part).
    """
    whole, ink = _raster(kind, variant)
    scale = side / max(whole.size)
    size = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
    whole, ink = (mask.resize(size, Image.Resampling.BOX) for mask in (whole, ink))
    return whole, ink if ink.getbbox() else None


@lru_cache(maxsize=1024)
def _raster(kind: Kind, variant: int) -> tuple[Image.Image, Image.Image]:
    if kind.glyphs:
        whole, ink = _raster_glyph(kind.glyphs[variant], kind.outline)
    else:
        whole, ink = _raster_shape(SHAPES[kind.name])
    extent = whole.getbbox()
    assert extent is not None, f"{kind.name} draws nothing"
    return whole.crop(extent), ink.crop(extent)


def _raster_shape(parts: tuple[Part, ...]) -> tuple[Image.Image, Image.Image]:
    margin = _RASTER // 8  # lines may reach beyond the shape's square
    whole = Image.new("L", (_RASTER + 2 * margin,) * 2)
    ink = Image.new("L", whole.size)
    draw_whole, draw_ink = ImageDraw.Draw(whole), ImageDraw.Draw(ink)
    for part in parts:
        _draw_part(draw_whole, part, margin, 0 if part.tone is Tone.CUT else 255)
        _draw_part(draw_ink, part, margin, 255 if part.tone is Tone.INK else 0)
    return whole, ink


def _draw_part(draw: ImageDraw.ImageDraw, part: Part, margin: int, fill: int) -> None:
    unit = _RASTER / 100
    points = [margin + p * unit for p in part.points]
    width = round(part.width * unit)
    match part.kind:
        case "polygon":
            draw.polygon(points, fill)
        case "box":
            draw.rounded_rectangle(points, width, fill)
        case "disc":
            draw.ellipse(points, fill)
        case "arc":
            draw.arc(points, *part.angles, fill, width)
        case "pie":
            draw.pieslice(points, *part.angles, fill)
        case "line":
            draw.line(points, fill, width)
            for x, y in zip(points[::2], points[1::2], strict=True):
                draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill)


def _raster_glyph(character: str, outline: bool) -> tuple[Image.Image, Image.Image]:
    """The glyph; an outline also encloses an area, which is all that a flood from the corner does not reach."""
    font = ImageFont.truetype(str(_FONT), _RASTER // 2)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(character))
    glyph = Image.new("L", (right - left + 4, bottom - top + 4))
    ImageDraw.Draw(glyph).text((2 - left, 2 - top), character, 255, font)
    if not outline:
        return glyph, Image.new("L", glyph.size)
    flooded = glyph.point([255 if value > 127 else 0 for value in range(256)])
    ImageDraw.floodfill(flooded, (0, 0), 128)
    enclosed = flooded.point([0 if value == 128 else 255 for value in range(256)])
    return ImageChops.lighter(enclosed, glyph), glyph

"""Labels with their scores, drawn on a picture."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from catclip.data.sheet.lettering import Lettering

_LEAST = 320  # pixels of the shorter side: on smaller pictures text would hide all
_MOST = 8192  # … and of the longer one, of what is enlarged
_DARK, _LIGHT = (0, 0, 0, 150), "white"


def annotate(image: Image.Image, labels: Sequence[tuple[str, float]]) -> Image.Image:
    """A copy of an RGB picture, enlarged if it is small, with a line for each label in its upper left corner.

    Args:
        image: of any size.
        labels: names with scores, from the top.
    """
    factor = min(-(-_LEAST // min(image.size)), _MOST // max(image.size))
    if factor > 1:
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.BICUBIC)
    letters, margin = Lettering(max(14, min(image.size) // 24)), max(6, min(image.size) // 60)
    room = max(1, image.width - 4 * margin)
    lines = [letters.cut(f"{score:.2f} {name}", room) for name, score in labels]
    layer = Image.new("RGBA", image.size)
    if lines:
        right, bottom = 3 * margin + max(map(letters.width, lines)), 3 * margin + len(lines) * letters.height
        ImageDraw.Draw(layer).rectangle((margin, margin, right, bottom), fill=_DARK)
    drawn = Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")
    for number, line in enumerate(lines):
        letters.draw(drawn, (2 * margin, 2 * margin + number * letters.height), line, _LIGHT)
    return drawn

"""Labels with their scores, drawn on a picture."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

_LEAST = 320  # pixels of the shorter side: on smaller pictures text would hide all
_MOST = 8192  # … and of the longer one, of what is enlarged
_DARK, _LIGHT = (0, 0, 0, 150), (255, 255, 255, 255)


def annotate(image: Image.Image, labels: Sequence[tuple[str, float]]) -> Image.Image:
    """A copy of an RGB picture, enlarged if it is small, with a line for each label in its upper left corner.

    Args:
        image: of any size.
        labels: names with scores, from the top.
    """
    factor = min(-(-_LEAST // min(image.size)), _MOST // max(image.size))
    if factor > 1:
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.BICUBIC)
    text = "\n".join(f"{score:.2f}  {name}" for name, score in labels)
    font, margin = ImageFont.load_default(max(14, min(image.size) // 24)), max(6, min(image.size) // 60)
    layer = Image.new("RGBA", image.size)
    draw = ImageDraw.Draw(layer)
    box = draw.multiline_textbbox((2 * margin, 2 * margin), text, font=font)
    draw.rectangle((margin, margin, box[2] + margin, box[3] + margin), fill=_DARK)
    draw.multiline_text((2 * margin, 2 * margin), text, font=font, fill=_LIGHT)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")

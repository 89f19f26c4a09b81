"""Fonts: DejaVu Sans, which comes with matplotlib, and for characters that it lacks those of this machine."""

import unicodedata
from functools import cache, lru_cache
from pathlib import Path

import matplotlib
from matplotlib.font_manager import findSystemFonts
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

_SHIPPED = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
# What tells a plain upright font from its relatives, by file name: these come last.
_FANCY = ("bold", "italic", "oblique", "black", "thin", "light", "medium", "condensed", "mono", "serif")
# Sizes in which fonts of coloured pictures are drawn: Noto's and Apple's. They have no other.
_STRIKES = (109, 160)
_FLAG_LETTERS = range(0x1F1E6, 0x1F200)
_SKINS = range(0x1F3FB, 0x1F400)
_JOINER = "\u200d"


class Font:
    """A font file at a size.

    Attributes:
        loaded: for Pillow.
        scale: by which what it draws is to be shrunk; less than 1 for pictures, which come in one size.
    """

    def __init__(self, path: str, size: int) -> None:
        self.characters = _characters(path)
        try:
            self.loaded, self.scale = ImageFont.truetype(path, size), 1.0
        except OSError:
            self.loaded = _in_its_own_size(path)
            self.scale = size / self.loaded.size

    def drawn(self, cluster: str) -> str:
        """Return the characters of a cluster that the font has; it lacks only such as leave no mark."""
        return "".join(char for char in cluster if ord(char) in self.characters)


def _in_its_own_size(path: str) -> ImageFont.FreeTypeFont:
    for size in _STRIKES:
        try:
            return ImageFont.truetype(path, size)
        except OSError:
            continue
    raise OSError(f"{path} cannot be drawn in any size.")


@lru_cache(maxsize=1 << 14)
def font_for(cluster: str, size: int, bold: bool = False) -> Font | None:
    """Return the first font that has what a cluster shows, None where none here has it, as for control characters."""
    if any(unicodedata.category(char) == "Cc" for char in cluster):
        return None
    needed = {ord(char) for char in cluster if not _is_invisible(char)}
    paths = [_shipped(bold), *_system_fonts()]
    if _is_emoji(cluster):
        paths.sort(key=lambda path: "emoji" not in path.lower())
    for path in paths:
        if needed <= _characters(path) and (font := _font(path, size)) is not None:
            return font
    return None


def clusters(text: str) -> list[str]:
    """Split a text into what is not to be torn apart: a letter and its accents, the parts of one emoji."""
    found: list[str] = []
    for char in text:
        if found and (_continues(char) or found[-1].endswith(_JOINER) or _is_flag(found[-1] + char)):
            found[-1] += char
        else:
            found.append(char)
    return found


def _continues(char: str) -> bool:
    return char == _JOINER or ord(char) in _SKINS or unicodedata.category(char) in ("Mn", "Mc", "Me")


def _is_flag(cluster: str) -> bool:
    return len(cluster) == 2 and all(ord(char) in _FLAG_LETTERS for char in cluster)


def _is_emoji(cluster: str) -> bool:
    """Whether it is to be shown as a picture, where there is one."""
    return "\ufe0f" in cluster or 0x1F1E6 <= ord(cluster[0]) <= 0x1FAFF


def _is_invisible(char: str) -> bool:
    """Whether a character leaves no mark of its own: joiners, direction marks, choices among forms."""
    return unicodedata.category(char) == "Cf" or 0xFE00 <= ord(char) <= 0xFE0F


# ---- files ----------------------------------------------------------------------------------------------------------


def _shipped(bold: bool) -> str:
    return str(_SHIPPED / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"))


@cache
def _font(path: str, size: int) -> Font | None:
    try:
        return Font(path, size)
    except OSError:  # of a kind that this FreeType does not draw
        return None


@cache
def _system_fonts() -> tuple[str, ...]:
    def rank(path: str) -> tuple[int, str]:
        name = Path(path).name.lower()
        return sum(word in name for word in _FANCY), path

    return tuple(sorted(findSystemFonts(), key=rank))


@cache
def _characters(path: str) -> frozenset[int]:
    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):  # damaged, or of a kind that this FreeType does not read
        return frozenset()

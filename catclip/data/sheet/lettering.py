"""`Lettering`: lines of any text, cut to a width and drawn; what no font here has is drawn as its name or its code."""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from itertools import groupby

from PIL import Image, ImageColor, ImageDraw

from catclip.data.sheet.fonts import Font, clusters, font_for

_DOTS = "…"
_NO_BREAK = "\u00a0"
_LONE_SIGN = re.compile(r" (?=[.,;:!?]+(?: |$))")  # the space before it: in some data sets each sign stands alone
# The sixteen digits: five rows each, of three pixels that are the bits of a number.
_DIGITS = (
    "75557", "26227", "71747", "71717", "55711", "74717", "74757", "71111",
    "75757", "75717", "25755", "65656", "74447", "65556", "74647", "74644",
)  # fmt: skip
_BOX_HEIGHT = 15  # pixels: two rows of digits in a frame


class Lettering:
    """Text of one size and weight.

    Args:
        size: pixels of an em.
        bold: its weight.

    Attributes:
        height: pixels from line to line.
    """

    def __init__(self, size: int, bold: bool = False) -> None:
        self.size, self.bold = size, bold
        self.height = round(1.36 * size)

    # ---- measuring ----------------------------------------------------------------------------------------------

    def width(self, text: str) -> int:
        """Return how many pixels a line takes."""
        return round(sum(_run_width(*run) for run in self._runs(text)))

    def cut(self, text: str, width: int) -> str:
        """Return a line that is no wider, with … for what is left out at its end."""
        text = " ".join(text.split())
        return text if self._fits(text, width) else self._with_dots(text[:width], width)

    def cut_middle(self, text: str, width: int) -> str:
        """Return a line that is no wider, with … for what is left out in its middle: both ends of a name tell."""
        if self._fits(text, width):
            return text
        start = self._first_part(text[:width], (width - self.width(_DOTS)) // 2)
        end = ""
        for piece in reversed(clusters(text[-width:])):
            if self.width(start + _DOTS + piece + end) > width:
                break
            end = piece + end
        return start + _DOTS + end

    def _fits(self, text: str, width: int) -> bool:
        return len(text) <= width and self.width(text) <= width  # a letter takes a pixel at least

    def wrap(self, text: str, width: int, most: int) -> list[str]:
        """Return the lines of a text, `most` of them at the most; the last one ends in … where it is cut short."""
        room = most * width
        lines, rest = [""], text[room:]
        for piece, spaced in _pieces(text[:room]):
            longer = f"{lines[-1]}{' ' if spaced and lines[-1] else ''}{piece}"
            if self.width(longer) <= width:
                lines[-1] = longer
                continue
            if lines[-1]:
                lines.append("")
            while len(lines) <= most and self.width(piece) > width:
                lines[-1] = self._first_part(piece, width)
                piece = piece[len(lines[-1]) :]
                lines.append("")
            lines[-1] = piece
            if len(lines) > most:
                rest = piece
                break
        if not rest.strip():
            return [line for line in lines if line]
        *whole, last = lines[:most]
        return [*whole, self._with_dots(last, width)]

    def _with_dots(self, line: str, width: int) -> str:
        return self._first_part(line, width - self.width(_DOTS)).rstrip() + _DOTS

    def _first_part(self, text: str, width: int) -> str:
        """Return as much of a text as is no wider; one cluster at least, or a narrow column would never end."""
        pieces = clusters(text)
        fitting = bisect_right(
            range(1, len(pieces) + 1), width, key=lambda number: self.width("".join(pieces[:number]))
        )
        return "".join(pieces[: max(1, fitting)])

    # ---- drawing ------------------------------------------------------------------------------------------------

    def draw(self, sheet: Image.Image, place: tuple[int, int], text: str, colour: str) -> None:
        """Draw a line with its upper left corner at `place`. Nothing is drawn above or below the line."""
        runs = list(self._runs(text))
        if runs_leftwards(text):
            runs.reverse()
        clear = (*ImageColor.getrgb(colour)[:3], 0)
        line = Image.new("RGBA", (self.width(text) + 2, self.height), clear)
        x = 0.0
        for font, run in runs:
            drawn = _code_boxes(run, colour) if font is None else _letters(font, run, colour, clear, self.height)
            top = (self.height - drawn.height) // 2
            line.paste(drawn, (round(x), top))
            x += _run_width(font, run)
        sheet.paste(line, place, line)

    def _runs(self, text: str) -> Iterator[tuple[Font | None, str]]:
        """Yield the parts of a line that one font draws; None for characters that none has."""
        drawn = (self._drawn(cluster) for cluster in clusters(text))
        for font, parts in groupby(drawn, key=lambda part: part[0]):
            yield font, "".join(part for _, part in parts)

    def _drawn(self, cluster: str) -> tuple[Font | None, str]:
        if font := font_for(cluster, self.size, self.bold):
            return font, font.drawn(cluster)
        # A symbol's name says more than its code: 🐶 is "dog face".
        if unicodedata.category(cluster[0]) == "So" and (name := unicodedata.name(cluster[0], "")):
            name = name.removeprefix("REGIONAL INDICATOR SYMBOL ")
            return font_for(" ", self.size, self.bold), f":{name.lower()}:"
        return None, cluster


def runs_leftwards(text: str) -> bool:
    """Whether a line is read from right to left: by its first letter that says so."""
    directions = (unicodedata.bidirectional(char) for char in text)
    return next((each for each in directions if each in ("L", "R", "AL")), "L") != "L"


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the words of a text, and whether a space stands before each. Chinese and Japanese are signs without."""
    for word in _LONE_SIGN.sub(_NO_BREAK, " ".join(text.split())).split(" "):
        spaced = True
        for wide, parts in groupby(clusters(word), key=_is_wide):
            for piece in list(parts) if wide else ["".join(parts)]:
                yield piece, spaced
                spaced = False


def _is_wide(cluster: str) -> bool:
    return unicodedata.east_asian_width(cluster[0]) in ("W", "F")


def _run_width(font: Font | None, run: str) -> float:
    if font is None:
        return sum(_box_width(char) for char in run)
    return font.loaded.getlength(run) * font.scale


def _letters(font: Font, run: str, colour: str, clear: tuple[int, ...], height: int) -> Image.Image:
    full = round(height / font.scale)
    letters = Image.new("RGBA", (int(font.loaded.getlength(run)) + 2, full), clear)
    place = (0, round(0.77 * full))
    ImageDraw.Draw(letters).text(place, run, font=font.loaded, fill=colour, anchor="ls", embedded_color=True)
    if font.scale == 1:
        return letters
    size = (max(1, round(letters.width * font.scale)), height)
    return letters.resize(size, Image.Resampling.LANCZOS)


# ---- characters that no font has ------------------------------------------------------------------------------------


def _code(char: str) -> str:
    return f"{ord(char):04X}"


def _box_width(char: str) -> int:
    return 4 * -(-len(_code(char)) // 2) + 5


def _code_boxes(run: str, colour: str) -> Image.Image:
    """Draw each character as its number, in two rows of digits in a frame."""
    ink = ImageColor.getrgb(colour)
    boxes = Image.new("RGBA", (sum(map(_box_width, run)), _BOX_HEIGHT), (*ink[:3], 0))
    draw = ImageDraw.Draw(boxes)
    left = 1
    for char in run:
        code = _code(char)
        columns = -(-len(code) // 2)
        draw.rectangle((left, 0, left + 4 * columns + 2, _BOX_HEIGHT - 1), outline=(*ink[:3], 110))
        for nth, digit in enumerate(code):
            row, column = divmod(nth, columns)
            _digit(draw, left + 2 + 4 * column, 2 + 6 * row, digit, ink)
        left += _box_width(char)
    return boxes


def _digit(draw: ImageDraw.ImageDraw, left: int, top: int, digit: str, ink: tuple[int, ...]) -> None:
    for y, row in enumerate(_DIGITS[int(digit, 16)]):
        draw.point([(left + x, top + y) for x in range(3) if int(row) >> (2 - x) & 1], fill=ink)

"""`contact_sheet`: pictures in a grid, under each its key, captions and labels."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

from catclip.data.sheet.lettering import Lettering, runs_leftwards
from catclip.files import write_atomically, writing

_INK, _GREY, _MAT = "#1f2328", "#68707a", "#f1f2f4"
_CHIP, _CHIP_INK = "#e3eefa", "#0a4a80"
_BAD, _BAD_INK = "#fdeceb", "#a5281b"
_MARGIN, _GAP = 36, 26  # pixels around the grid, and between its pictures
_WIDTH = 1700  # pixels, about which the grid takes
_PARAGRAPH = 5  # pixels between captions
_LINES, _FIRST_LINES, _OTHER_LINES, _LABEL_ROWS = 6, 3, 2, 3  # of one caption; the first, the others of several
_LINES_OF_ALL = 11

_TITLE, _ABOUT, _CAPTION, _SMALL = Lettering(22, bold=True), Lettering(14), Lettering(15), Lettering(12)
_CHIP_HEIGHT, _CHIP_PAD, _CHIP_GAP = _SMALL.height + 4, 7, 5


@dataclass(frozen=True)
class Tile:
    """A sample on the sheet.

    Attributes:
        picture: RGB, shown as large as it is; None where it cannot be read.
        key: the sample's.
        note: beside the key: the picture's size; or why it cannot be read.
        captions: the one that counts first.
        labels: names; None where nobody asked for labels.
    """

    picture: Image.Image | None
    key: str
    note: str
    captions: Sequence[str]
    labels: Sequence[str] | None


def contact_sheet(title: str, about: str, tiles: Sequence[Tile], side: int = 256) -> Image.Image:
    """Draw a grid of tiles, some 1,700 pixels wide, for pictures of up to `side` pixels on their longer side."""
    columns = _columns(len(tiles), side)
    laid = [_Laid(tile, side) for tile in tiles]
    rows = [laid[start : start + columns] for start in range(0, len(laid), columns)]
    heights = [side + max(each.height for each in row) + _GAP for row in rows]
    width = 2 * _MARGIN + columns * side + (columns - 1) * _GAP
    top = _MARGIN + _TITLE.height + _ABOUT.height + _GAP
    sheet = Image.new("RGB", (width, top + sum(heights) + _MARGIN - _GAP), "white")
    inner = width - 2 * _MARGIN
    _TITLE.draw(sheet, (_MARGIN, _MARGIN - 6), _TITLE.cut_middle(title, inner), _INK)
    _ABOUT.draw(sheet, (_MARGIN, _MARGIN + _TITLE.height), _ABOUT.cut(about, inner), _GREY)
    for row, height in zip(rows, heights, strict=True):
        for column, each in enumerate(row):
            each.draw(sheet, _MARGIN + column * (side + _GAP), top)
        top += height
    return sheet


def _columns(tiles: int, side: int) -> int:
    """Return how many columns there are: of about as many as have room, those that leave the fewest places empty."""
    room = max(1, round(_WIDTH / (side + _GAP)))
    near = [columns for columns in (room, room - 1, room + 1) if columns >= 1]
    return min(min(near, key=lambda columns: -tiles % columns), max(1, tiles))


def fitted(picture: Image.Image, side: int) -> Image.Image:
    """Return a picture as large as fits into a square: shrunk, or enlarged by a whole number, pixel by pixel."""
    width, height = picture.size
    longer = max(width, height)
    if longer > side:
        shrunk = max(1, round(width * side / longer)), max(1, round(height * side / longer))
        return picture.resize(shrunk, Image.Resampling.LANCZOS)
    times = side // longer
    return picture.resize((width * times, height * times), Image.Resampling.NEAREST)


def save(sheet: Image.Image, path: Path) -> None:
    """Write a PNG.

    Raises:
        UserError: it cannot be written there.
    """
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())


class _Line(NamedTuple):
    text: str
    colour: str
    space: int  # pixels above it


class _Laid:
    """A tile whose texts are broken into lines; `height` is theirs, in pixels."""

    def __init__(self, tile: Tile, side: int) -> None:
        self.tile, self.side = tile, side
        self.captions = _caption_lines(tile.captions, side)
        self.labels = _label_rows(tile.labels, side) if tile.labels else []
        self.height = 10 + _SMALL.height + 3 + sum(_CAPTION.height + line.space for line in self.captions)
        if tile.labels is not None:
            self.height += 6 + max(1, len(self.labels)) * (_CHIP_HEIGHT + _CHIP_GAP)

    def draw(self, sheet: Image.Image, left: int, top: int) -> None:
        self._draw_picture(sheet, left, top)
        top += self.side + 10
        note = self.tile.note if self.tile.picture else ""
        space = _SMALL.width(note)
        _SMALL.draw(sheet, (left, top), _SMALL.cut_middle(self.tile.key, self.side - space - 12), _GREY)
        _SMALL.draw(sheet, (left + self.side - space, top), note, _GREY)
        top += _SMALL.height + 3
        for text, colour, space in self.captions:
            shift = self.side - _CAPTION.width(text) if runs_leftwards(text) else 0
            _CAPTION.draw(sheet, (left + max(0, shift), top + space), text, colour)
            top += _CAPTION.height + space
        if self.tile.labels is not None:
            self._draw_labels(sheet, left, top + 6)

    def _draw_picture(self, sheet: Image.Image, left: int, top: int) -> None:
        draw = ImageDraw.Draw(sheet)
        right, bottom = left + self.side - 1, top + self.side - 1
        if self.tile.picture is None:
            draw.rectangle((left, top, right, bottom), fill=_BAD)
            _draw_centred(sheet, self.tile.note, left, top, self.side)
            return
        draw.rectangle((left, top, right, bottom), fill=_MAT)
        width, height = self.tile.picture.size
        sheet.paste(self.tile.picture, (left + (self.side - width) // 2, top + (self.side - height) // 2))

    def _draw_labels(self, sheet: Image.Image, left: int, top: int) -> None:
        if not self.labels:
            _SMALL.draw(sheet, (left, top + 2), "no label", _GREY)
        draw = ImageDraw.Draw(sheet)
        for row in self.labels:
            x = left
            for name in row:
                width = _SMALL.width(name) + 2 * _CHIP_PAD
                draw.rounded_rectangle((x, top, x + width - 1, top + _CHIP_HEIGHT - 1), 5, fill=_CHIP)
                _SMALL.draw(sheet, (x + _CHIP_PAD, top + 2), name, _CHIP_INK)
                x += width + _CHIP_GAP
            top += _CHIP_HEIGHT + _CHIP_GAP


def _draw_centred(sheet: Image.Image, text: str, left: int, top: int, side: int) -> None:
    lines = _CAPTION.wrap(text, side - 40, 6)
    top += (side - len(lines) * _CAPTION.height) // 2
    for line in lines:
        _CAPTION.draw(sheet, (left + (side - _CAPTION.width(line)) // 2, top), line, _BAD_INK)
        top += _CAPTION.height


def _caption_lines(captions: Sequence[str], width: int) -> list[_Line]:
    """Return the first caption, dark, and of others, grey, as many as there is room for."""
    lines: list[_Line] = []
    for number, caption in enumerate(captions):
        most = _LINES if len(captions) == 1 else _OTHER_LINES if number else _FIRST_LINES
        wrapped = _CAPTION.wrap(caption, width, most)
        if number and len(lines) + len(wrapped) > _LINES_OF_ALL:
            return [*lines, _Line(f"… and {len(captions) - number} more", _GREY, _PARAGRAPH)]
        for nth, line in enumerate(wrapped):
            lines.append(_Line(line, _GREY if number else _INK, _PARAGRAPH if number and not nth else 0))
    return lines


def _label_rows(names: Iterable[str], width: int) -> list[list[str]]:
    """Return which labels stand side by side; what there is no room for is counted at the end."""
    names = [_SMALL.cut(name, width - 2 * _CHIP_PAD) for name in names]
    rows: list[list[str]] = [[]]
    used = 0
    for number, name in enumerate(names):
        taken = _chip_width(name)
        if rows[-1] and used + taken > width:
            if len(rows) == _LABEL_ROWS:
                return _with_count(rows, len(names) - number, width)
            rows.append([])
            used = 0
        rows[-1].append(name)
        used += taken + _CHIP_GAP
    return rows


def _with_count(rows: list[list[str]], more: int, width: int) -> list[list[str]]:
    last = rows[-1]
    while sum(_chip_width(name) + _CHIP_GAP for name in last) + _chip_width(f"+{more}") > width:
        last.pop()
        more += 1
    last.append(f"+{more}")
    return rows


def _chip_width(name: str) -> int:
    return _SMALL.width(name) + 2 * _CHIP_PAD

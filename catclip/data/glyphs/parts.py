"""The primitives of a drawn shape, on a square of 100 by 100 units, y pointing down.

A part is painted in one of three tones: the body takes the object's colour, ink takes a tone that contrasts with it,
and a cut lets the background through. Parts are painted in order, so a later one covers an earlier one.
"""

from dataclasses import dataclass, replace
from enum import Enum


class Tone(Enum):
    """What a part is painted with."""

    BODY = "body"
    INK = "ink"
    CUT = "cut"


@dataclass(frozen=True)
class Part:
    """One primitive.

    Attributes:
        kind: ``polygon``, ``box``, ``disc``, ``line``, ``arc`` or ``pie``.
        points: Corners as x, y, x, y, … (``polygon``, ``line``), or the bounding box x0, y0, x1, y1 (the others).
        width: Line width, or the corner radius of a box.
        angles: Start and end in degrees, clockwise from three o'clock (``arc``, ``pie``).
        tone: What it is painted with.
    """

    kind: str
    points: tuple[float, ...]
    width: float = 0
    angles: tuple[float, float] = (0, 360)
    tone: Tone = Tone.BODY


Shape = tuple[Part, ...]


def poly(*points: float) -> Part:
    """A filled polygon."""
    return Part("polygon", points)


def box(x0: float, y0: float, x1: float, y1: float, radius: float = 0) -> Part:
    """A filled rectangle, its corners rounded by `radius`."""
    return Part("box", (x0, y0, x1, y1), radius)


def disc(x: float, y: float, rx: float, ry: float | None = None) -> Part:
    """A filled ellipse around (x, y)."""
    ry = rx if ry is None else ry
    return Part("disc", (x - rx, y - ry, x + rx, y + ry))


def line(width: float, *points: float) -> Part:
    """A line through the points with round joints and ends."""
    return Part("line", points, width)


def arc(width: float, x: float, y: float, radius: float, start: float = 0, end: float = 360) -> Part:
    """A stroke along a circle around (x, y), `radius` to the outer edge."""
    return Part("arc", (x - radius, y - radius, x + radius, y + radius), width, (start, end))


def pie(x: float, y: float, rx: float, ry: float, start: float, end: float) -> Part:
    """A filled sector of an ellipse around (x, y)."""
    return Part("pie", (x - rx, y - ry, x + rx, y + ry), 0, (start, end))


def ink(*parts: Part) -> Shape:
    """The parts in the contrasting tone."""
    return tuple(replace(part, tone=Tone.INK) for part in parts)


def cut(*parts: Part) -> Shape:
    """The parts as holes."""
    return tuple(replace(part, tone=Tone.CUT) for part in parts)

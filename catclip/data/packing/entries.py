"""What captions a table or an annotation file gives, a picture at a time."""

from typing import NamedTuple


class Entry(NamedTuple):
    """What is said of one picture.

    Attributes:
        picture: its name, as it stands there; where in the file an entry stands that cannot be used.
        captions: none of them empty.
        problem: why the entry cannot be used; None where it can.
    """

    picture: str
    captions: list[str]
    problem: str | None = None

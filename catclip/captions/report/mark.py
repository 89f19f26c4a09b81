"""The mark by which a vocabulary's drawings and page are known for what `catclip vocab` wrote, and may write anew."""

from pathlib import Path

GENERATOR = "catclip vocab"
# In a PNG's text, and in a page's head: both stand near the beginning.
_MARKS = (f"Software\0{GENERATOR}".encode(), f'<meta name="generator" content="{GENERATOR}">'.encode())
_SEARCHED = 1 << 12  # bytes


def is_ours(path: Path) -> bool:
    """Whether a file is a drawing or a page that `catclip vocab` wrote.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_SEARCHED)
    return any(mark in head for mark in _MARKS)

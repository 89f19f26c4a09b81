"""Sizes of storage as people write them: ``100GB``, ``1.5 TB``, ``64GiB``."""

import re

from catclip.errors import UserError

_UNITS = ["", "K", "M", "G", "T", "P"]
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTP]?)(I?)B?", re.IGNORECASE)


def parse_size(text: str, name: str) -> int:
    """Return the bytes of a size such as ``100GB`` (10^9) or ``64GiB`` (2^30); without a unit it is bytes.

    Args:
        text: the size.
        name: of the key that it stands for, for the message.

    Raises:
        UserError: it is no size, or none at all.
    """
    found = _SIZE.fullmatch(str(text).strip())
    if not found or (found[3] and not found[2]):
        raise UserError(f"{name}={text} is no size: write a number and a unit, such as 100GB, 1.5TB or 64GiB.")
    size = int(float(found[1]) * (1024 if found[3] else 1000) ** _UNITS.index(found[2].upper()))
    if size < 1:
        raise UserError(f"{name}={text} leaves no room: write a size such as 100GB.")
    return size


def size_in_words(size: int) -> str:
    """Return a number of bytes as ``1.5 GB``."""
    power = next((power for power in range(len(_UNITS)) if size < 999.5 * 1000**power), len(_UNITS) - 1)
    return f"{size / 1000**power:.3g} {_UNITS[power]}B"

"""Captions as they are handed over, a list or a column of any package, as Python strings."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import pyarrow as pa

from catclip.errors import UserError


def text_batches(captions: Iterable[Any], size: int) -> Iterator[list[str]]:
    """Yield captions as strings, `size` at a time; what is missing (None, NaN, an Arrow null) is an empty one.

    Raises:
        UserError: it is one string instead of several, or something in it is no string.
    """
    if isinstance(captions, str | bytes):
        raise UserError("extract_many takes a list or column of captions. For a single one call the extractor itself.")
    batches: Iterator[list[Any]]
    if isinstance(captions, pa.Array | pa.ChunkedArray):
        batches = (captions.slice(start, size).to_pylist() for start in range(0, len(captions), size))
    else:
        values = iter(captions)
        batches = iter(lambda: list(islice(values, size)), [])
    for batch in batches:
        yield batch if set(map(type, batch)) <= {str} else list(map(_text, batch))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or _is_missing(value):
        return ""
    raise UserError(f"Captions are strings; {value!r:.60} is {type(value).__name__}.")


def _is_missing(value: Any) -> bool:
    """Whether a package that has no null means one: pandas' NaN and NA."""
    try:
        return bool(pa.array([value], from_pandas=True).null_count)
    except pa.ArrowException:
        return False

"""Arrow columns of captions: made valid, trimmed, and without the empty ones, which are counted by reason."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Chunk(NamedTuple):
    """Some of a file's captions.

    Attributes:
        captions: strings [B], none of them null or empty.
        skipped: reason → samples that gave no caption.
        samples: those that gave one, or several.
        size: bytes of the file read for it, as they are stored.
    """

    captions: pa.StringArray
    skipped: Counter[str]
    samples: int
    size: int = 0


def valid_utf8(data: bytes) -> bytes:
    """Return `data` with U+FFFD for what is no UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode(errors="replace").encode()
    return data


def to_strings(values: pa.Array) -> pa.StringArray:
    """Return a column of text or bytes of any Arrow type as strings; nulls stay.

    Raises:
        pa.ArrowInvalid, pa.ArrowNotImplementedError: its type cannot be text.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    try:
        strings = values.cast(pa.string())
        # Parquet's writers promise UTF-8, and nobody has checked it.
        strings.validate(full=True)
    except pa.ArrowInvalid:
        raw = values.cast(pa.binary()).to_pylist()
        return pa.array([None if text is None else valid_utf8(text) for text in raw], pa.binary()).cast(pa.string())
    return strings


def from_python(captions: Sequence[str]) -> pa.StringArray:
    """Return Python strings as a column; lone surrogates, which JSON can hold and UTF-8 cannot, become U+FFFD."""
    try:
        return pa.array(captions, pa.string())
    except UnicodeEncodeError:
        joined = (text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in captions)
        return pa.array(list(joined), pa.string())


def present(captions: pa.StringArray, reason: str) -> Chunk:
    """Trim white space, and drop and count what is empty then, or null."""
    trimmed = pc.utf8_trim_whitespace(captions)
    full = pc.fill_null(pc.greater(pc.binary_length(trimmed), 0), False)
    empty = len(trimmed) - (pc.sum(full).as_py() or 0)
    if not empty:
        return Chunk(trimmed, Counter(), len(trimmed))
    return Chunk(trimmed.filter(full), Counter({reason: empty}), len(trimmed) - empty)


def present_in_lists(lists: pa.ListArray | pa.LargeListArray, reason: str, first_only: bool) -> Chunk:
    """Return the captions in lists of them: all, or of each list the first that is not empty."""
    captions, owners = owned_in_lists(lists, first_only)
    samples = len(np.unique(owners))
    empty = len(lists) - samples
    return Chunk(captions, Counter({reason: empty}) if empty else Counter(), samples)


def owned(captions: pa.StringArray) -> tuple[pa.StringArray, np.ndarray]:
    """Return the C captions that are not empty or null, trimmed, and their places, int64 [C]."""
    trimmed = pc.utf8_trim_whitespace(captions)
    full = pc.fill_null(pc.greater(pc.binary_length(trimmed), 0), False)
    return trimmed.filter(full), np.flatnonzero(full.to_numpy(zero_copy_only=False))


def owned_in_lists(lists: pa.ListArray | pa.LargeListArray, first_only: bool) -> tuple[pa.StringArray, np.ndarray]:
    """Return the C captions in lists of them as `owned` does, and the places of their lists, int64 [C]."""
    captions, places = owned(to_strings(lists.flatten()))
    owners = pc.list_parent_indices(lists).to_numpy()[places]
    if not first_only:
        return captions, owners
    found, firsts = np.unique(owners, return_index=True)
    return captions.take(pa.array(firsts)), found

"""Lines of text out of a file or a range of its bytes, a block at a time."""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from catclip.captions.sources.texts import Chunk, present, valid_utf8
from catclip.errors import UserError

BLOCK = 1 << 22  # bytes
LONGEST_LINE = 1 << 26  # bytes; a file whose lines are longer is no text, and would have to be held whole
EMPTY_LINE = "empty line"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def line_blocks(stream: BinaryIO, path: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """Yield blocks of whole lines in valid UTF-8: those that begin at byte `start` or later, and before `stop`.

    Ranges that lie end to end so give each line once. `stream` must be able to seek unless `start` is 0.

    Raises:
        UserError: a line is longer than `LONGEST_LINE`; the message names `path`.
    """
    position = start
    if start:
        # A line begins at `start` only if the byte before ends one.
        stream.seek(start - 1)
        position += len(stream.readline(LONGEST_LINE)) - 1
    rest, mark = b"", b"" if start else _BYTE_ORDER_MARK
    while stop is None or position < stop:
        data = stream.read(BLOCK if stop is None else min(BLOCK, stop - position))
        if not data:
            break
        rest += data
        position += len(data)
        if end := rest.rfind(b"\n") + 1:
            yield valid_utf8(rest[:end].removeprefix(mark))
            rest, mark = rest[end:], b""
        if len(rest) > LONGEST_LINE:
            raise UserError(f"{path} has a line of more than {LONGEST_LINE >> 20} MiB: is it text?")
    if rest:
        rest += b"" if stop is None else stream.readline(LONGEST_LINE)
        if rest := rest.removeprefix(mark):
            yield valid_utf8(rest)


def first_line(stream: BinaryIO) -> str:
    """Return a file's first line, without its end."""
    line = stream.readline(LONGEST_LINE).removeprefix(_BYTE_ORDER_MARK)
    return line.decode(errors="replace").rstrip("\r\n")


def text_chunks(stream: BinaryIO, path: str, start: int = 0, stop: int | None = None) -> Iterator[Chunk]:
    """Yield the captions of a text file, one a line; arguments and errors as `line_blocks` has them."""
    for block in line_blocks(stream, path, start, stop):
        yield present(_split_lines(block), EMPTY_LINE)


def _split_lines(block: bytes) -> pa.StringArray:
    """Return lines with their ends, sharing the memory of `block`."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
    if not block.endswith(b"\n"):
        ends = np.append(ends, len(block))
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    return pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(block))

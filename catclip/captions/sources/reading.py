"""The captions of a file, whatever its kind, as Arrow columns: a chunk of bounded size at a time."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import pyarrow as pa

from catclip.captions.sources.files import KINDS, decompressed, is_read, open_raw, split_name
from catclip.captions.sources.jsonl import jsonl_chunks
from catclip.captions.sources.lines import text_chunks
from catclip.captions.sources.samples import shard_chunks
from catclip.captions.sources.tables import csv_chunks, parquet_chunks, tsv_chunks
from catclip.captions.sources.texts import Chunk
from catclip.errors import UserError


class Span(NamedTuple):
    """A part of a file: from a byte of .txt, .tsv or .jsonl, or a row group of .parquet, to the one after the part."""

    start: int
    stop: int


def check_kind(path: str) -> str:
    """Return a file's kind by its ending, such as ``.csv``.

    Raises:
        UserError: captions are not read from such files.
    """
    if not is_read(path):
        raise UserError(
            f"{path}: captions are read from {', '.join(KINDS)}, and .gz, .bz2 and .zst of all but Parquet. "
            "This file's ending is none of them."
        )
    return split_name(path)[0]


def read_captions(
    path: str, caption_key: str | None = None, first_only: bool = True, span: Span | None = None
) -> Iterator[Chunk]:
    """Yield the captions of one file, in chunks of bounded size.

    Args:
        path: .txt (one a line), .csv, .tsv, .jsonl, any of them .gz, .bz2 or .zst; .parquet; .tar (webdataset).
        caption_key: a column, a field of the JSON objects, or a key of a shard's samples as `captions_of` takes it;
            None finds the usual ones.
        first_only: of a list of captions, give the first only.
        span: which part of an uncompressed file; None for all of it.

    Raises:
        UserError: the file's kind is unknown, it cannot be read, or nothing in it has `caption_key`.
    """
    kind = check_kind(path)
    try:
        with open_raw(path, random_access=kind == ".parquet" or span is not None) as raw:
            position = span.start if span else 0
            for chunk in _chunks(raw, path, kind, caption_key, first_only, span):
                # Parquet is read here and there; the others from front to back.
                now = position if kind == ".parquet" else raw.tell()
                yield chunk._replace(size=now - position)
                position = now
    except (OSError, EOFError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _chunks(
    raw: BinaryIO, path: str, kind: str, caption_key: str | None, first_only: bool, span: Span | None
) -> Iterator[Chunk]:
    if kind == ".parquet":
        return parquet_chunks(raw, path, caption_key, first_only, range(*span) if span else None)
    stream = decompressed(raw, path)
    start, stop = span or (0, None)
    if kind == ".txt":
        return text_chunks(stream, path, start, stop)
    if kind == ".tsv":
        return tsv_chunks(stream, path, caption_key, start, stop)
    if kind == ".jsonl":
        return jsonl_chunks(stream, path, caption_key, first_only, start, stop)
    assert span is None, f"{kind} is not split"
    return (
        csv_chunks(stream, path, caption_key) if kind == ".csv" else shard_chunks(stream, path, caption_key, first_only)
    )

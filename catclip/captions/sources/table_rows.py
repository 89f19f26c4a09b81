"""All rows of a table in order, with captions or without; what counts a corpus reads the captions alone.

Rows are those that pandas and Python's csv see: blank lines are none, but in .txt, where every line is one.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catclip.captions.sources.files import decompressed, open_raw, split_name
from catclip.captions.sources.jsonl import ABSENT, caption_field, captions_in
from catclip.captions.sources.lines import BLOCK
from catclip.captions.sources.rows import ROWS, Rows, gather
from catclip.captions.sources.tables import EMPTY, layout_of, parquet_column
from catclip.captions.sources.texts import owned, owned_in_lists, to_strings
from catclip.errors import UserError

KEY_COLUMNS = ("key", "__key__")

_Row = tuple[str | None, list[str] | str]  # its key, and its captions or why it has none


def caption_column(path: str, caption_key: str | None) -> str:
    """Return the name of the column or field that holds a table's captions; ``line`` for .txt.

    Raises:
        UserError: there is none, or the table cannot be read.
    """
    kind = split_name(path)[0]
    if kind == ".txt":
        return "line"
    with _reading(path), open_raw(path, random_access=kind == ".parquet") as raw:
        if kind == ".parquet":
            return parquet_column(pq.read_schema(raw), path, caption_key)[0]
        if kind == ".jsonl":
            return caption_field(path, caption_key)[0]
        first = next(_records(_text(raw, path), kind), [])
        layout = layout_of(path, first, caption_key)
        return first[layout.place] if layout and layout.has_header else "the only one of text"


def table_rows(path: str, caption_key: str | None, first_only: bool) -> Iterator[Rows]:
    """Yield all rows of a table. A row's key is that of its column `key` or `__key__`, else its number from 0 as text.

    Args:
        path: .parquet; .csv, .tsv, .jsonl or .txt, compressed or not.
        caption_key: the column or field of the captions; None finds the usual ones.
        first_only: of a list of captions give the first only.

    Raises:
        UserError: there is no such column, or the table cannot be read.
    """
    kind = split_name(path)[0]
    with _reading(path), open_raw(path, random_access=kind == ".parquet") as raw:
        if kind == ".parquet":
            yield from _parquet_rows(raw, path, caption_key, first_only)
            return
        text = _text(raw, path)
        if kind == ".jsonl":
            rows = _json_rows(text, caption_field(path, caption_key)[0], first_only)
        elif kind == ".txt":
            rows = ((str(number), _one(line)) for number, line in enumerate(text))
        else:
            rows = _record_rows(_records(text, kind), path, caption_key)
        position = 0
        while some := list(islice(rows, ROWS)):
            yield gather([key for key, _ in some], [found for _, found in some], raw.tell() - position)
            position = raw.tell()


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except csv.Error as error:
        raise UserError(f"{path} cannot be read: {error}. Was a quotation mark left open?") from error
    except (OSError, EOFError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _text(raw: BinaryIO, path: str) -> io.TextIOWrapper:
    # Only these end a line; the csv module wants to see them as they are.
    newline = "" if split_name(path)[0] == ".csv" else "\n"
    return io.TextIOWrapper(decompressed(raw, path), encoding="utf-8-sig", errors="replace", newline=newline)


def _one(caption: str) -> list[str] | str:
    caption = caption.strip()
    return [caption] if caption else EMPTY


def _records(lines: io.TextIOWrapper, kind: str) -> Iterator[list[str]]:
    """Yield the fields of each row of .csv, or of .tsv, which does not quote."""
    if kind == ".csv":
        return (record for record in csv.reader(lines) if record)
    stripped = (line.rstrip("\r\n") for line in lines)
    return (line.split("\t") for line in stripped if line)


def _record_rows(records: Iterator[list[str]], path: str, caption_key: str | None) -> Iterator[_Row]:
    first = next(records, [])
    layout = layout_of(path, first, caption_key)
    if layout is None:
        return
    key = _key_column(first, first[layout.place]) if layout.has_header else None
    place = first.index(key) if key else None
    if not layout.has_header:
        yield "0", _one(first[layout.place])
    for number, record in enumerate(records, int(not layout.has_header)):
        found = _one(record[layout.place]) if layout.place < len(record) else "row too short"
        if place is None:
            yield str(number), found
        else:
            yield record[place] if place < len(record) else None, found


def _json_rows(lines: io.TextIOWrapper, field: str, first_only: bool) -> Iterator[_Row]:
    for number, line in enumerate(line for line in lines if line.strip()):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            yield str(number), "invalid JSON"
            continue
        fields = value if isinstance(value, dict) else {}
        key = _key_column([name for name, content in fields.items() if content is not None], field)
        found = captions_in(fields.get(field))
        yield str(fields[key]) if key else str(number), (found[:1] if first_only else found) or ABSENT


def _key_column(columns: Sequence[str], captions: str) -> str | None:
    return next((name for name in KEY_COLUMNS if name in columns and name != captions), None)


def _parquet_rows(raw: BinaryIO, path: str, caption_key: str | None, first_only: bool) -> Iterator[Rows]:
    file = pq.ParquetFile(raw, buffer_size=BLOCK)
    column, in_lists = parquet_column(file.schema_arrow, path, caption_key)
    key = _key_column(file.schema_arrow.names, column)
    size = raw.seek(0, io.SEEK_END) // max(1, file.metadata.num_rows)
    number = 0
    for batch in file.iter_batches(ROWS, columns=[column, *([key] if key else [])], use_threads=False):
        values = batch.column(column)
        captions, owners = owned_in_lists(values, first_only) if in_lists else owned(to_strings(values))
        missing = len(batch) - len(np.unique(owners))
        numbers = pa.array(range(number, number + len(batch)))
        keys = to_strings(batch.column(key) if key else numbers)
        yield Rows(keys, captions, owners, Counter({EMPTY: missing} if missing else {}), size * len(batch))
        number += len(batch)

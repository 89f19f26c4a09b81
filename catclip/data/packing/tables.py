"""Pictures and captions out of a table's rows; several rows may say something of the same picture."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, pairwise
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catclip.captions.sources.files import decompressed, is_read, open_raw, split_name
from catclip.captions.sources.jsonl import captions_in
from catclip.captions.sources.tables import CAPTION_COLUMNS
from catclip.captions.sources.texts import owned, owned_in_lists, to_strings
from catclip.data.packing.entries import Entry
from catclip.errors import UserError, nearest

KINDS = (".csv", ".tsv", ".jsonl", ".parquet")
IMAGE_COLUMNS = (
    *("image", "image_path", "filepath", "file_path", "file_name", "filename", "path", "file", "image_name"),
    *("image_file", "img", "img_path", "picture", "image_id", "id", "key", "__key__"),
)
_LOOKED_AT = 1000  # JSON lines, for their fields
_ROWS = 1 << 12  # of Parquet, at once


def is_table(path: str) -> bool:
    """Whether a file's ending is a table's, compressed or not."""
    return split_name(path)[0] in KINDS and is_read(path)


def table_entries(path: str, image_key: str | None, caption_key: str | None) -> Iterator[Entry]:
    """Yield what the rows of a table say.

    Args:
        path: .csv, .tsv or .jsonl, any of them .gz, .bz2 or .zst; .parquet.
        image_key: the column that names the picture; None finds the usual ones, whatever their case.
        caption_key: the column of the caption, or of a list of them; None finds the usual ones.

    Raises:
        UserError: there are no such columns, or the table cannot be read.
    """
    kind = split_name(path)[0]
    try:
        with open_raw(path, random_access=kind == ".parquet") as raw:
            if kind == ".parquet":
                yield from _parquet_entries(raw, path, image_key, caption_key)
            elif kind == ".jsonl":
                yield from _json_entries(_text(raw, path, "\n"), path, image_key, caption_key)
            elif kind == ".csv":
                records = (record for record in csv.reader(_text(raw, path, "")) if record)
                yield from _record_entries(records, path, image_key, caption_key)
            else:
                lines = (line.rstrip("\r\n") for line in _text(raw, path, "\n"))
                yield from _record_entries((line.split("\t") for line in lines if line), path, image_key, caption_key)
    except csv.Error as error:
        raise UserError(f"{path} cannot be read: {error}. Was a quotation mark left open?") from error
    except (OSError, EOFError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _text(raw: BinaryIO, path: str, newline: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(decompressed(raw, path), encoding="utf-8-sig", errors="replace", newline=newline)


def _choose(path: str, columns: Sequence[str], wanted: str | None, usual: Iterable[str], key: str) -> str:
    """Return the column that is `wanted`, or else the first of the usual ones that there is."""
    if wanted is not None and wanted in columns:
        return wanted
    if wanted is None:
        lowered = {column.strip().lower(): column for column in reversed(columns)}
        for name in usual:
            if name.lower() in lowered:
                return lowered[name.lower()]
    missing = f"has no column {wanted}." if wanted else f"has none of the columns {', '.join(usual)}."
    raise UserError(f"{path} {missing}{nearest(wanted or '', columns)} Choose {key} among: {', '.join(columns)}.")


def _choose_both(path: str, columns: Sequence[str], image_key: str | None, caption_key: str | None) -> tuple[str, str]:
    image = _choose(path, columns, image_key, IMAGE_COLUMNS, "image_key")
    return image, _choose(path, columns, caption_key, CAPTION_COLUMNS, "caption_key")


def _entry(place: str, name: str, captions: list[str]) -> Entry:
    return Entry(name, captions) if name else Entry(place, captions, "no picture is named")


# ---- kinds ----------------------------------------------------------------------------------------------------------


def _record_entries(
    records: Iterator[list[str]], path: str, image_key: str | None, caption_key: str | None
) -> Iterator[Entry]:
    columns = next(records, None)
    if columns is None:
        raise UserError(f"{path} is empty.")
    image, caption = (columns.index(name) for name in _choose_both(path, columns, image_key, caption_key))
    for number, record in enumerate(records, 2):
        place = f"{path}, row {number}"
        if len(record) > max(image, caption):
            yield _entry(place, record[image].strip(), captions_in(record[caption]))
        else:
            yield Entry(place, [], "row too short")


def _json_entries(lines: Iterator[str], path: str, image_key: str | None, caption_key: str | None) -> Iterator[Entry]:
    rows = ((f"{path}, line {number}", _object(line)) for number, line in enumerate(lines, 1) if line.strip())
    first = list(islice(rows, _LOOKED_AT))
    columns = list(dict.fromkeys(name for _, fields in first for name in fields or {}))
    image, caption = _choose_both(path, columns, image_key, caption_key)
    for place, fields in chain(first, rows):
        if fields is None:
            yield Entry(place, [], "invalid JSON")
            continue
        name = fields.get(image)
        yield _entry(place, "" if name is None else str(name).strip(), captions_in(fields.get(caption)))


def _object(line: str) -> dict | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _parquet_entries(raw: BinaryIO, path: str, image_key: str | None, caption_key: str | None) -> Iterator[Entry]:
    file = pq.ParquetFile(raw)
    schema = file.schema_arrow
    # A column `image` often holds the pictures themselves, as a structure, and another one their names.
    names = [field.name for field in schema if not pa.types.is_nested(field.type)]
    image = _choose(path, names, image_key, IMAGE_COLUMNS, "image_key")
    caption = _choose(path, schema.names, caption_key, CAPTION_COLUMNS, "caption_key")
    number = 1
    for batch in file.iter_batches(_ROWS, columns=[image, caption], use_threads=False):
        try:
            named, captions = to_strings(batch.column(image)).to_pylist(), _caption_lists(batch.column(caption))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            kinds = f"{image} holds {schema.field(image).type}, {caption} {schema.field(caption).type}"
            raise UserError(f"{path}: {kinds}, not names and text. Choose image_key and caption_key.") from None
        for name, of_one in zip(named, captions, strict=True):
            yield _entry(f"{path}, row {number}", (name or "").strip(), of_one)
            number += 1


def _caption_lists(values: pa.Array) -> list[list[str]]:
    """Return the captions of each row of a column of strings, or of lists of them."""
    kind = values.type
    in_lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    captions, owners = owned_in_lists(values, first_only=False) if in_lists else owned(to_strings(values))
    bounds = np.searchsorted(owners, np.arange(len(values) + 1))
    texts = captions.to_pylist()
    return [texts[start:stop] for start, stop in pairwise(bounds)]

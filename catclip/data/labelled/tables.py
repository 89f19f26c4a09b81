"""Tables with a column of picture files and a column of labels: CSV, TSV, JSON lines, Parquet."""

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from catclip.captions.sources.files import decompressed, open_raw, split_name
from catclip.data.labelled.classes import classes_beside, index_labels
from catclip.data.labelled.images import LabelledImages
from catclip.data.labelled.pictures import listed_files
from catclip.errors import UserError

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
IMAGE_COLUMNS = ("image", "image_path", "path", "file", "file_name", "filename", "filepath")
LABEL_COLUMNS = ("label", "labels", "class", "classes", "target")


class TableOptions(NamedTuple):
    """How a table is read.

    Attributes:
        image_key: the column of the picture files; None: the first of `IMAGE_COLUMNS` that there is.
        label_key: the column of the labels; None: the first of `LABEL_COLUMNS` that there is.
        delimiter: what separates the labels of a picture; None: text is one label.
        images: the folder that the files are relative to; None: the table's.
    """

    image_key: str | None = None
    label_key: str | None = None
    delimiter: str | None = None
    images: str | None = None


class _Row(NamedTuple):
    number: int  # in the table, from 1
    image: str
    labels: list[str] | str | None  # a list where there may be any number


def open_table(path: str, classes: Sequence[str] | None, options: TableOptions) -> LabelledImages:
    """The pictures of a table, row by row.

    Labels are class names, or numbers from 0: one a row, or several, in a column of lists or separated by a delimiter.

    Args:
        path: .csv, .tsv, .jsonl, compressed or not; .parquet.
        classes: names in the order of their indices; None: those in a `classes.txt` beside it, or those found.
        options: its columns, and where the pictures are.

    Raises:
        UserError: it cannot be read, has no such columns, a row has no picture, no label, or one that is no class;
            a picture stands in two rows; a picture is missing.
    """
    if options.delimiter == "":
        raise UserError("data.delimiter is empty: give what separates the labels of a picture, or null.")
    rows = list(_rows(path, options))
    if not rows:
        raise UserError(f"{path} has no rows.")
    _check_once(path, rows)
    pictures = listed_files(Path(options.images or Path(path).parent).expanduser(), [row.image for row in rows], path)
    classes = classes or classes_beside(path)
    multilabel = options.delimiter is not None or any(isinstance(row.labels, list) for row in rows)
    if multilabel:
        lists = [[row.labels] if isinstance(row.labels, str) else row.labels or [] for row in rows]
    else:
        lists = [[_only_label(path, row)] for row in rows]
    owners = np.repeat(np.arange(len(rows)), list(map(len, lists)))
    labels = [label for each in lists for label in each]
    names, ids = index_labels(labels, classes, lambda place: _where(path, rows[owners[place]]))
    if not names:
        raise UserError(f"No row of {path} has a label.")
    if multilabel:
        return LabelledImages.of_any_classes(path, pictures, names, owners, ids)
    return LabelledImages.of_one_class(path, pictures, names, ids)


def _only_label(path: str, row: _Row) -> str:
    if not row.labels:
        raise UserError(f"{_where(path, row)} has no label.")
    assert isinstance(row.labels, str)
    return row.labels


def _where(path: str, row: _Row) -> str:
    return f"Row {row.number:,} of {path} ({row.image})"


def _check_once(path: str, rows: list[_Row]) -> None:
    first: dict[str, _Row] = {}
    for row in rows:
        if (other := first.setdefault(row.image, row)) is not row:
            raise UserError(
                f"{row.image} is in rows {other.number:,} and {row.number:,} of {path}: put a picture in one row, with "
                "all its labels in a list, or separated by a data.delimiter."
            )


# ---- rows -----------------------------------------------------------------------------------------------------------


def _rows(path: str, options: TableOptions) -> Iterator[_Row]:
    for number, (image, value) in enumerate(_values(path, options), 1):
        if image is None and value is None:  # an empty line
            continue
        if not isinstance(image, str) or not image.strip():
            raise UserError(f"Row {number:,} of {path} has no picture: {image!r} is no file name.")
        yield _Row(number, image.strip(), _labels(path, number, value, options.delimiter))


def _labels(path: str, number: int, value: Any, delimiter: str | None) -> list[str] | str | None:
    if isinstance(value, list):
        labels = [_label(path, number, each) for each in value]
        if not all(labels):
            raise UserError(f"Row {number:,} of {path} has an empty label in its list: {value!r}.")
        return labels
    if value is None:
        return None
    text = _label(path, number, value)
    return text if delimiter is None else [part.strip() for part in text.split(delimiter) if part.strip()]


def _label(path: str, number: int, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UserError(f"Row {number:,} of {path} has label {value!r}: labels are class names, or whole numbers.")
    return str(value).strip()


def _values(path: str, options: TableOptions) -> Iterator[tuple[Any, Any]]:
    """Yield picture and label of each row, as they stand there; None where there is nothing."""
    kind = split_name(path)[0]
    try:
        with open_raw(path, random_access=kind == ".parquet") as raw:
            if kind == ".parquet":
                yield from _parquet_values(raw, path, options)
                return
            stream = decompressed(raw, path)
            if kind == ".jsonl":
                yield from _json_values(io.TextIOWrapper(stream, encoding="utf-8-sig"), path, options)
            else:
                yield from _text_values(stream.read(), path, kind, options)
    # Of polars' errors the first line says what is wrong; the others are advice about its arguments.
    except (OSError, EOFError, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}.") from error


def _parquet_values(file: Any, path: str, options: TableOptions) -> Iterator[tuple[Any, Any]]:
    columns = _columns(path, pl.read_parquet_schema(file), options)
    file.seek(0)
    yield from pl.read_parquet(file, columns=columns).select(columns).iter_rows()


def _text_values(content: bytes, path: str, kind: str, options: TableOptions) -> Iterator[tuple[Any, Any]]:
    # As everywhere here, quotation marks in TSV are text.
    layout: dict[str, Any] = {"separator": "\t", "quote_char": None} if kind == ".tsv" else {}
    layout |= {"infer_schema_length": 0}  # all is text
    columns = _columns(path, pl.read_csv(content, n_rows=0, **layout).columns, options)
    yield from pl.read_csv(content, columns=columns, **layout).select(columns).iter_rows()


def _json_values(lines: io.TextIOWrapper, path: str, options: TableOptions) -> Iterator[tuple[Any, Any]]:
    columns: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            yield None, None
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"Line {number:,} of {path} is no JSON: {error}") from error
        if not isinstance(value, dict):
            raise UserError(f"Line {number:,} of {path} is no JSON object.")
        columns = columns or _columns(path, value, options)
        yield value.get(columns[0]), value.get(columns[1])


def _columns(path: str, columns: Any, options: TableOptions) -> list[str]:
    """The columns of pictures and of labels."""
    columns = list(columns)
    return [
        _column(path, columns, "data.image_key", options.image_key, IMAGE_COLUMNS),
        _column(path, columns, "data.label_key", options.label_key, LABEL_COLUMNS),
    ]


def _column(path: str, columns: list[str], key: str, wanted: str | None, usual: Sequence[str]) -> str:
    for name in [wanted] if wanted else usual:
        if name in columns:
            return name
    missing = f"column {wanted}" if wanted else f"column {', '.join(usual[:-1])} or {usual[-1]}"
    raise UserError(f"{path} has no {missing}: choose {key} among {', '.join(columns)}.")

"""Captions out of tables: CSV, TSV and Parquet."""

import codecs
import csv
import io
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from catclip.captions.sources.files import decompressed, open_raw
from catclip.captions.sources.lines import BLOCK, first_line, line_blocks
from catclip.captions.sources.texts import Chunk, present, present_in_lists, to_strings
from catclip.errors import UserError

CAPTION_COLUMNS = ("caption", "captions", "text", "TEXT")
EMPTY = "empty caption"
_LONGEST_ROW = 1 << 22  # bytes, of CSV
_MOST_WORDS = 3  # in the name of a column
_END = "\0end of the table\0"


def choose_column(path: str, columns: Sequence[str], wanted: str | None) -> str:
    """Return the column of the captions: `wanted`, or the first of the usual ones that there is, in capitals or not.

    Raises:
        UserError: there is none of that name; the message lists the columns of `path`.
    """
    for name in [wanted] if wanted else CAPTION_COLUMNS:
        if name in columns:
            return name
    if not wanted and (found := [each for each in columns if each.lower() in CAPTION_COLUMNS]):
        return min(found, key=lambda each: CAPTION_COLUMNS.index(each.lower()))
    missing = f"column {wanted}" if wanted else f"column {', '.join(CAPTION_COLUMNS[:-1])} or {CAPTION_COLUMNS[-1]}"
    raise UserError(f"{path} has no {missing}: choose data.caption_key among {', '.join(columns)}.")


# ---- CSV and TSV ----------------------------------------------------------------------------------------------------


class Layout(NamedTuple):
    """How a text table is laid out: its columns, which of them has the captions, whether a header names them."""

    columns: int
    place: int
    has_header: bool


def csv_chunks(stream: BinaryIO, path: str, column: str | None) -> Iterator[Chunk]:
    """Yield the captions of a CSV file; quoted fields may have commas, quotation marks and newlines in them.

    Args:
        stream: its content.
        path: where it lies; it is opened once more for its header.
        column: of the captions; None finds the usual ones, and those of a table without header that has but captions
            and web addresses.

    Raises:
        UserError: there is no such column.
        pa.ArrowInvalid: a row is absurdly long, since a quotation mark was left open.
    """
    layout = layout_of(path, _first_csv_row(path), column)
    if layout is None:
        return
    ragged = _RaggedRows(layout.place, pa_csv.ParseOptions(newlines_in_values=True))
    end = ",".join([_END] * layout.columns)
    reader = pa_csv.open_csv(
        io.BufferedReader(_ValidUtf8(stream, end), BLOCK),
        pa_csv.ReadOptions(
            use_threads=False,
            block_size=_LONGEST_ROW,
            column_names=[str(i) for i in range(layout.columns)],
            skip_rows_after_names=int(layout.has_header),
        ),
        pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=ragged.note),
        _only(layout.place),
    )
    # A quotation mark that is left open swallows what follows, to the end, without an error.
    complete = False
    for batch in reader:
        captions = batch.column(0)
        last = captions[-1].as_py() if len(captions) else ""
        complete = last == _END
        yield present(captions.slice(0, len(captions) - (_END in last)), EMPTY)
        yield from ragged.chunks()
    if not complete:
        yield Chunk(pa.array([], pa.string()), Counter({"rows after a quotation mark left open": 1}), 0)


def tsv_chunks(
    stream: BinaryIO, path: str, column: str | None, start: int = 0, stop: int | None = None
) -> Iterator[Chunk]:
    """Yield the captions of a TSV file, or of the rows that begin in a range of its bytes.

    Web tables in TSV (Conceptual Captions) do not quote, and their captions have quotation marks: those are taken as
    they stand. Arguments and errors as `csv_chunks` and `line_blocks` have them.
    """
    with open_raw(path) as raw:
        line = first_line(decompressed(raw, path))
    layout = layout_of(path, line.split("\t") if line else [], column)
    if layout is None:
        return
    has_header = layout.has_header and start == 0
    for block in line_blocks(stream, path, start, stop):
        yield from _parse_tsv(block.partition(b"\n")[2] if has_header else block, layout)
        has_header = False


def _parse_tsv(block: bytes, layout: Layout) -> Iterator[Chunk]:
    if not block:
        return
    options: dict[str, Any] = {"delimiter": "\t", "quote_char": False}
    ragged = _RaggedRows(layout.place, pa_csv.ParseOptions(**options))
    table = pa_csv.read_csv(
        pa.BufferReader(block),
        pa_csv.ReadOptions(
            use_threads=False, block_size=len(block) + 1, column_names=[str(i) for i in range(layout.columns)]
        ),
        pa_csv.ParseOptions(**options, invalid_row_handler=ragged.note),
        _only(layout.place),
    )
    for captions in table.column(0).chunks:
        yield present(captions, EMPTY)
    yield from ragged.chunks()


def _only(place: int) -> pa_csv.ConvertOptions:
    return pa_csv.ConvertOptions(include_columns=[str(place)], column_types={str(place): pa.string()}, check_utf8=False)


def _first_csv_row(path: str) -> list[str]:
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with (
            open_raw(path) as raw,
            io.TextIOWrapper(decompressed(raw, path), encoding="utf-8-sig", errors="replace", newline="") as lines,
        ):
            return next(csv.reader(lines), [])
    finally:
        csv.field_size_limit(limit)


def layout_of(path: str, first: list[str], column: str | None) -> Layout | None:
    """Return the layout that a table's first row tells; None for an empty file."""
    if not first:
        return None
    if column is None and len(first) == 2:
        # Conceptual Captions 3M is caption<TAB>url, 12M url<TAB>caption.
        addresses = [field.startswith(("http://", "https://")) for field in first]
        if sum(addresses) == 1:
            return Layout(2, addresses.index(False), has_header=False)
    if column not in first and any(len(field.split()) > _MOST_WORDS or "://" in field for field in first):
        row = " | ".join(first)
        raise UserError(
            f"{path} has no header: its first row is {row:.100}. Put a row above it that names the columns, one "
            "of them caption. Captions alone, one a line, are read from .txt."
        )
    return Layout(len(first), first.index(choose_column(path, first, column)), has_header=True)


class _RaggedRows:
    """The rows that have more or fewer fields than the first one."""

    def __init__(self, place: int, options: pa_csv.ParseOptions) -> None:
        self.place = place
        self.options = options
        self.short = 0
        self.rows = defaultdict[int, list[str]](list)  # number of fields → rows

    def note(self, row: pa_csv.InvalidRow) -> str:
        if _END in row.text:
            return "skip"
        if row.actual_columns > self.place:
            self.rows[row.actual_columns].append(row.text)
        else:
            self.short += 1
        return "skip"

    def chunks(self) -> Iterator[Chunk]:
        """Give and forget the captions of the rows that were noted, and how many have none."""
        if self.short:
            yield Chunk(pa.array([], pa.string()), Counter({"row too short": self.short}), 0)
        for columns, rows in self.rows.items():
            block = "".join(f"{row}\n" for row in rows).encode()
            names = [str(i) for i in range(columns)]
            read = pa_csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names)
            for captions in pa_csv.read_csv(pa.BufferReader(block), read, self.options, _only(self.place))[0].chunks:
                yield present(captions, EMPTY)
        self.short = 0
        self.rows.clear()


class _ValidUtf8(io.RawIOBase):
    """A stream's content with U+FFFD for what is no UTF-8, and a last line added."""

    def __init__(self, stream: BinaryIO, last_line: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._last_line = f"{last_line}\n".encode()
        self._rest = memoryview(b"")
        self._last = b"\n"
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest and not self._ended:
            self._rest = memoryview(self._next_block())
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def _next_block(self) -> bytes:
        data = self._stream.read(BLOCK)
        text = self._decoder.decode(data, final=not data).encode()
        self._last = text[-1:] or self._last
        if data:
            return text
        self._ended = True
        return text + (b"" if self._last == b"\n" else b"\n") + self._last_line


# ---- Parquet --------------------------------------------------------------------------------------------------------


def parquet_chunks(
    raw: BinaryIO, path: str, column: str | None, first_only: bool, groups: range | None = None
) -> Iterator[Chunk]:
    """Yield the captions of a Parquet file, or of some of its row groups.

    Args:
        raw: the file, able to seek.
        path: where it lies, for messages.
        column: of strings or of lists of them; None finds the usual ones.
        first_only: of a list give the first caption only.
        groups: row groups; None for all.

    Raises:
        UserError: there is no such column, or it holds no text.
    """
    # With a buffer size Arrow streams the pages; without, it holds a row group's whole column.
    file = pq.ParquetFile(raw, buffer_size=BLOCK)
    name, in_lists = parquet_column(file.schema_arrow, path, column)
    for batch in file.iter_batches(1 << 16, groups, [name], use_threads=False):
        captions = batch.column(0)
        if in_lists:
            yield present_in_lists(captions, EMPTY, first_only)
        else:
            yield present(to_strings(captions), EMPTY)


def parquet_column(schema: pa.Schema, path: str, wanted: str | None) -> tuple[str, bool]:
    """Return the column of the captions, and whether they come in lists.

    Raises:
        UserError: there is none, or it holds no text.
    """
    name = choose_column(path, schema.names, wanted)
    kind = schema.field(name).type
    in_lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not _is_text(kind.value_type if in_lists else kind):
        raise UserError(f"Column {name} of {path} holds {kind}, not text: choose another data.caption_key.")
    return name, in_lists


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    types = pa.types
    return any(
        is_(kind)
        for is_ in (
            types.is_string,
            types.is_large_string,
            types.is_string_view,
            types.is_binary,
            types.is_large_binary,
            types.is_binary_view,
        )
    )

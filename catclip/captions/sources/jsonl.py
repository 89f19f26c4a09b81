"""Captions out of JSON lines: an object a line, a caption or a list of them under one of its fields."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.json as pa_json

from catclip.captions.sources.files import decompressed, open_raw
from catclip.captions.sources.lines import LONGEST_LINE, line_blocks
from catclip.captions.sources.tables import CAPTION_COLUMNS, choose_column
from catclip.captions.sources.texts import Chunk, from_python, present, present_in_lists

ABSENT = "no caption"
_LOOKED_AT = 1000  # lines, for the field of the captions


def jsonl_chunks(
    stream: BinaryIO, path: str, column: str | None, first_only: bool, start: int = 0, stop: int | None = None
) -> Iterator[Chunk]:
    """Yield the captions of a file of JSON lines, or of the lines that begin in a range of its bytes.

    Args:
        stream: its content.
        path: where it lies; it is opened once more for its first lines.
        column: the field of the captions; None finds the usual ones.
        first_only: of a list of captions give the first only.
        start: first byte of the range; `stream` must be able to seek unless it is 0.
        stop: the byte after the range; None for all that follows.

    Raises:
        UserError: the first lines have no such field.
    """
    field, in_lists = caption_field(path, column)
    for block in line_blocks(stream, path, start, stop):
        captions = _parse_columnar(block, field, in_lists)
        if captions is None:
            yield from _parse_one_by_one(block, field, first_only)
        elif in_lists:
            yield present_in_lists(captions, ABSENT, first_only)
        else:
            yield present(captions, ABSENT)


def _parse_columnar(block: bytes, field: str, in_lists: bool) -> pa.Array | None:
    """Return a block's field as a column; None where a line is no object, or has something else there."""
    if not _lines_are_objects(block):
        return None
    kind = pa.list_(pa.string()) if in_lists else pa.string()
    options = pa_json.ParseOptions(pa.schema([(field, kind)]), unexpected_field_behavior="ignore")
    read = pa_json.ReadOptions(use_threads=False, block_size=len(block) + 1)
    try:
        table = pa_json.read_json(pa.BufferReader(block), read, options)
    except pa.ArrowInvalid:
        return None
    if table.num_rows != block.count(b"\n") + (not block.endswith(b"\n")):
        return None
    return table.column(0).combine_chunks()


def _lines_are_objects(block: bytes) -> bool:
    """Whether all lines begin and end with braces.

    Arrow also takes an object on several lines, or several on one. Between braces there is at least one whole object a
    line; and if there are as many as lines, one each.
    """
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    if not block.endswith(b"\n"):
        ends = np.append(ends, len(block))
    starts = np.concatenate([[0], ends[:-1] + 1])
    if (data[starts] != ord("{")).any():
        return False
    lasts = ends - 1
    lasts -= data[lasts] == ord("\r")
    return bool((data[lasts] == ord("}")).all())


def _parse_one_by_one(block: bytes, field: str, first_only: bool) -> Iterator[Chunk]:
    captions: list[str] = []
    samples, skipped = 0, Counter[str]()
    for line in block.split(b"\n"):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            skipped["invalid JSON"] += 1
            continue
        found = captions_in(value.get(field)) if isinstance(value, dict) else []
        skipped[ABSENT] += not found
        samples += bool(found)
        captions += found[:1] if first_only else found
    yield Chunk(from_python(captions), +skipped, samples)


def captions_in(value: Any) -> list[str]:
    """Return the captions that are not empty, of a field that holds one or a list of them."""
    values = value if isinstance(value, list) else [value]
    return [text for text in (each.strip() for each in values if isinstance(each, str)) if text]


def caption_field(path: str, wanted: str | None) -> tuple[str, bool]:
    """Return the field of the captions, and whether they come in lists.

    Raises:
        UserError: the first lines have no such field.
    """
    with open_raw(path) as raw:
        stream = decompressed(raw, path)
        objects = list(_objects(stream.readline(LONGEST_LINE) for _ in range(_LOOKED_AT)))
    if not objects:
        return wanted or CAPTION_COLUMNS[0], False
    field = choose_column(path, list(dict.fromkeys(name for each in objects for name in each)), wanted)
    values = [each[field] for each in objects if each.get(field) is not None]
    return field, bool(values) and isinstance(values[0], list)


def _objects(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            value = json.loads(line.decode("utf-8-sig", errors="replace"))
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value

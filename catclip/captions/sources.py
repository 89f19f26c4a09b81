"""Captions out of text files, tables and webdataset shards, and what a pattern of file names stands for."""

import csv
import gzip
import io
import json
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from pathlib import Path
from typing import NamedTuple

from braceexpand import braceexpand

from catclip.errors import UserError

TEXT_SUFFIXES = (".txt", ".csv", ".tsv")
SUFFIXES = (".tar", *TEXT_SUFFIXES, *(f"{suffix}.gz" for suffix in TEXT_SUFFIXES))
CAPTION_COLUMNS = ("caption", "text", "TEXT")
CAPTION_KEYS = ("txt", "json.caption", "json.captions")


class Skipped(NamedTuple):
    """Stands in the stream of captions for a sample that has none."""

    reason: str


# ---- files ----------------------------------------------------------------------------------------------------------


def expand(patterns: str | Iterable[str]) -> list[str]:
    """Return the files that some patterns stand for, sorted, each once.

    A pattern is a path, a glob, a brace range (``train-{00000..00005}.tar``), or a folder: its shards, or if it has
    none its text files and tables.

    Raises:
        UserError: a pattern, or one member of its brace range, matches nothing.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    if not patterns:
        raise UserError("The list of sources is empty.")
    found: set[str] = set()
    for pattern in patterns:
        try:
            parts = list(braceexpand(str(pattern)))
        except ValueError:
            raise UserError(f"{pattern} has a brace without its partner.") from None
        for part in parts:
            found.update(_matches(part))
    return sorted(found)


def _matches(pattern: str) -> list[str]:
    path = Path(pattern).expanduser()
    if path.is_file():
        return [str(path)]
    if path.is_dir():
        files = [str(file) for file in path.iterdir() if file.is_file() and file.name.endswith(SUFFIXES)]
        found = [file for file in files if file.endswith(".tar")] or files
    else:
        found = [file for file in glob(str(path), recursive=True) if Path(file).is_file()] if has_magic(pattern) else []
    if not found:
        raise UserError(f"No file matches {pattern}. {_beside(path)}")
    return found


def _beside(path: Path) -> str:
    """Say what there is in the place where a pattern looks."""
    folder = path
    while not folder.is_dir() or has_magic(str(folder)):
        if folder == folder.parent:
            break
        folder = folder.parent
    names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
    listing = ", ".join(names[:8]) + (f" and {len(names) - 8:,} more" if len(names) > 8 else "")
    return f"In {folder} there is: {listing}." if names else f"{folder} is empty."


# ---- captions -------------------------------------------------------------------------------------------------------


def captions_of(sample: dict[str, bytes], caption_key: str) -> list[str]:
    """Return the captions of one webdataset sample.

    Args:
        sample: the sample's members by their extension without the dot.
        caption_key: an extension (``txt``), or a field of a JSON member (``json.caption``); of a list there, all.

    Raises:
        KeyError: the sample has no such member or field, or it holds no text.
        ValueError: the member is not valid JSON.
    """
    extension, _, field = caption_key.partition(".")
    text = sample[extension].decode("utf-8", errors="replace")
    if not field:
        return [text.strip()]
    fields = json.loads(text)
    if not isinstance(fields, dict):
        raise KeyError(caption_key)
    value = fields[field]
    captions = value if isinstance(value, list) else [value]
    if not all(isinstance(caption, str) for caption in captions):
        raise KeyError(caption_key)
    return [caption.strip() for caption in captions]


def read_captions(path: str, caption_key: str | None = None, first_only: bool = True) -> Iterator[str | Skipped]:
    """Yield the captions of one file: .txt (one a line), .csv, .tsv (also .gz of these), or .tar (webdataset).

    Args:
        path: the file.
        caption_key: a column of a table, or a key of a shard's samples as `captions_of` takes it; None finds the usual.
        first_only: of a sample's list of captions, give the first only.

    Raises:
        UserError: the file's kind is unknown, it cannot be read, or nothing in it has `caption_key`.
    """
    name = path.removesuffix(".gz")
    if not path.endswith(SUFFIXES):
        raise UserError(f"{path}: captions are read from {', '.join(SUFFIXES)}; this file's ending is none of them.")
    try:
        if name.endswith(".tar"):
            yield from _shard_captions(path, caption_key, first_only)
        elif name.endswith(".txt"):
            yield from _text_captions(path)
        else:
            yield from _table_captions(path, caption_key, "\t" if name.endswith(".tsv") else ",")
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _open_text(path: str, newline: str | None = None) -> io.TextIOWrapper:
    opener = gzip.open if path.endswith(".gz") else open
    return io.TextIOWrapper(opener(path, "rb"), encoding="utf-8-sig", errors="replace", newline=newline)


def _text_captions(path: str) -> Iterator[str | Skipped]:
    with _open_text(path) as lines:
        for line in lines:
            yield line.strip() or Skipped("empty line")


def _table_captions(path: str, column: str | None, delimiter: str) -> Iterator[str | Skipped]:
    with _open_text(path, newline="") as lines:
        # Web tables in TSV (Conceptual Captions) do not quote, and their captions have quotation marks.
        rows = csv.reader(
            lines, delimiter=delimiter, quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
        )
        try:
            first = next(rows, None)
            if first is None:
                return
            if column is None and _is_headerless(first):
                place = 0
                yield first[0]
            else:
                place = _caption_column(path, first, column)
            for row in rows:
                yield row[place].strip() or Skipped("empty caption") if place < len(row) else Skipped("row too short")
        except csv.Error as error:
            raise UserError(f"{path}, line {rows.line_num}: {error}.") from None


def _is_headerless(row: list[str]) -> bool:
    """Whether a table starts at once with Conceptual Captions' ``caption<TAB>url``."""
    return len(row) == 2 and row[1].startswith(("http://", "https://"))


def _caption_column(path: str, header: list[str], column: str | None) -> int:
    for name in [column] if column else CAPTION_COLUMNS:
        if name in header:
            return header.index(name)
    wanted = f"column {column}" if column else f"column {', '.join(CAPTION_COLUMNS[:-1])} or {CAPTION_COLUMNS[-1]}"
    raise UserError(f"{path} has no {wanted}: choose data.caption_key among {', '.join(header)}.")


def _shard_captions(path: str, caption_key: str | None, first_only: bool) -> Iterator[str | Skipped]:
    keys = Counter[str]()
    found = False
    for sample in _samples(path, {caption_key.partition(".")[0]} if caption_key else {"txt", "json"}, keys):
        if isinstance(sample, Skipped):
            yield sample
            continue
        caption_key = caption_key or next((key for key in CAPTION_KEYS if _has(sample, key)), None)
        try:
            captions = captions_of(sample, caption_key) if caption_key else []
        except KeyError:
            captions = []
        except ValueError:
            yield Skipped("invalid JSON")
            continue
        captions = [caption for caption in captions if caption]
        if not captions:
            yield Skipped("no caption")
            continue
        found = True
        yield from captions[:1] if first_only else captions
    if keys and not found:
        seen = ", ".join(f"{key} ({count:,})" for key, count in keys.most_common(12))
        wanted = f"data.caption_key={caption_key}" if caption_key else ", ".join(CAPTION_KEYS)
        raise UserError(f"No sample in {path} has a caption under {wanted}. Keys seen: {seen}.")


def _has(sample: dict[str, bytes], key: str) -> bool:
    try:
        return bool(captions_of(sample, key))
    except (KeyError, ValueError):
        return False


def _samples(path: str, wanted: set[str], keys: Counter[str]) -> Iterator[dict[str, bytes] | Skipped]:
    """Yield a shard's samples with their `wanted` members, and count in `keys` all extensions and JSON fields seen.

    As in webdataset, neighbouring members that share their path up to the file name's first dot are one sample.
    """
    name_now, sample = None, dict[str, bytes]()
    try:
        with tarfile.open(path) as tar:
            while (member := tar.next()) is not None:
                vars(tar)["members"].clear()  # tarfile would keep every header: gigabytes for a large shard
                folder, _, file = member.name.rpartition("/")
                stem, dot, extension = file.partition(".")
                if not (member.isfile() and stem and dot):
                    continue
                if name_now not in (None, (folder, stem)):
                    yield sample
                    sample = {}
                name_now = (folder, stem)
                keys[extension.lower()] += 1
                if extension.lower() in wanted and (content := tar.extractfile(member)):
                    sample[extension.lower()] = content.read()
                    keys.update(
                        _field_names(extension, sample[extension.lower()]) if keys[extension.lower()] <= 20 else ()
                    )
    except tarfile.TarError as error:
        if name_now is None:
            raise UserError(f"{path} is no readable tar: {error}.") from None
        yield Skipped("damaged shard, read up to the damage")
    if name_now is not None:
        yield sample


def _field_names(extension: str, content: bytes) -> list[str]:
    if extension.lower() != "json":
        return []
    try:
        fields = json.loads(content)
    except ValueError:
        return []
    return [f"json.{name}" for name in fields] if isinstance(fields, dict) else []

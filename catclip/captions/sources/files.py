"""Patterns → files, on this machine or at an address, and opening them, compressed or not."""

import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from glob import glob, has_magic
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa
from braceexpand import braceexpand

from catclip.captions.sources import remote
from catclip.captions.sources.pipe import PipeFile, is_pipe
from catclip.errors import UserError

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
KINDS = (".txt", ".csv", ".tsv", ".jsonl", ".parquet", ".tar")
LABELS_ENDING = ".labels.parquet"  # of what `catclip label` writes beside shards and tables
INDEX_ENDING = ".index.parquet"  # of what says where the samples of a shard lie
_BUFFER = 1 << 20  # bytes
_ASKED_AT_ONCE = 16  # addresses of a list or brace range


class FileInfo(NamedTuple):
    """What tells a file from what it was before.

    Attributes:
        size: bytes; None where a server does not say.
        version: time of the last change, or a server's tag.
    """

    size: int | None
    version: str


def split_name(path: str) -> tuple[str, str]:
    """Return a file's kind and compression by its ending, such as ``(".csv", ".gz")``; ``""`` for what is unknown.

    What a command writes is a shard.
    """
    if is_pipe(path):
        return ".tar", ""
    name = path
    if remote.is_address(path):
        name = next(link for link in path.split("::") if "://" in link).partition("?")[0]
    name = name.lower()
    compression = next((ending for ending in COMPRESSIONS if name.endswith(ending)), "")
    name = name.removesuffix(compression)
    return next((kind for kind in KINDS if name.endswith(kind)), ""), compression


def is_read(path: str) -> bool:
    """Whether captions are read from files with this ending."""
    kind, compression = split_name(path)
    return bool(kind) and not (kind == ".parquet" and compression)


def expand(patterns: str | Iterable[str | Path]) -> list[str]:
    """Return the files that some patterns stand for, sorted, each once.

    A pattern is a path, a glob, a brace range (``train-{00000..00005}.tar``), or a folder: its shards, or if it has
    none its text files and tables. Label files are no captions, and only found by their own names. All of these may be
    addresses that fsspec opens (``s3://``, ``https://`` …). A command, ``pipe:COMMAND``, is taken as it is, but for its
    brace ranges.

    Raises:
        UserError: a pattern, or one member of its brace range, matches nothing; an address cannot be reached, or needs
            a package that is not installed.
    """
    listed = [patterns] if isinstance(patterns, str) else list(patterns)
    if not listed:
        raise UserError("The list of sources is empty.")
    members = {str(pattern): _members(pattern) for pattern in listed}
    parts = [part for each in members.values() for part in each]
    # Each is asked for, and thousands one after the other would take minutes.
    threads = _ASKED_AT_ONCE if len(parts) > 1 and any(remote.is_address(part) for part in parts) else 1
    with ThreadPoolExecutor(threads) as pool:
        found = dict(zip(parts, pool.map(_matches, parts), strict=True))
    for pattern, each in members.items():
        if missing := [part for part in each if not found[part]]:
            raise UserError(f"{_no_match(pattern, missing, len(each))} {_beside(missing[0])}")
    return sorted({file for files in found.values() for file in files})


def _members(pattern: str | Path) -> list[str]:
    """Return what a pattern's brace ranges stand for."""
    if not isinstance(pattern, str | Path):
        raise UserError(f"{pattern!r} is no path or pattern of file names.")
    try:
        return list(dict.fromkeys(braceexpand(str(pattern))))
    except ValueError:
        raise UserError(f"{pattern} has a brace without its partner.") from None


def _no_match(pattern: str, missing: list[str], members: int) -> str:
    """Say which members of a pattern's brace ranges, if it has some, match nothing."""
    if members == 1:
        return f"No file matches {pattern}."
    if len(missing) == members:
        return f"No file matches {pattern}, from {missing[0]} to {missing[-1]}."
    others = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
    return f"No file matches {missing[0]}{others} of the {members:,} in {pattern}."


def _matches(pattern: str) -> list[str]:
    """Return the files that a pattern without brace ranges stands for."""
    if is_pipe(pattern):
        return [pattern]
    path = pattern.removeprefix("file://")
    local = Path(path).expanduser()
    if remote.is_address(path):
        found, in_folder = remote.matches(path)
    else:
        found, in_folder = _local_matches(local, path), local.is_dir()
    if found != [str(local)]:
        found = [file for file in found if not file.endswith((LABELS_ENDING, INDEX_ENDING))]
    if in_folder:
        files = [file for file in found if is_read(file)]
        found = [file for file in files if split_name(file)[0] == ".tar"] or files
    return found


def _local_matches(path: Path, pattern: str) -> list[str]:
    if path.is_file():
        return [str(path)]
    if path.is_dir():
        return [str(file) for file in path.iterdir() if file.is_file()]
    return [file for file in glob(str(path), recursive=True) if Path(file).is_file()] if has_magic(pattern) else []


def _beside(pattern: str) -> str:
    """Say what there is in the place where a pattern looks."""
    path = pattern.removeprefix("file://")
    if remote.is_address(path):
        return remote.beside(path)
    folder = Path(path).expanduser()
    while not folder.is_dir() or has_magic(str(folder)):
        if folder == folder.parent:
            break
        folder = folder.parent
    names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
    return f"In {folder} there is: {remote.listing(names)}." if names else f"{folder} is empty."


# ---- reading --------------------------------------------------------------------------------------------------------


def file_info(path: str) -> FileInfo:
    """Return size and version of a file or an address.

    Raises:
        UserError: it is gone, or cannot be reached; nothing is known of what a command writes.
    """
    if is_pipe(path):
        return FileInfo(None, "")
    if remote.is_address(path):
        return FileInfo(*remote.size_and_version(path))
    try:
        status = os.stat(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    return FileInfo(status.st_size, str(status.st_mtime_ns))


def open_raw(path: str, random_access: bool = False) -> BinaryIO:
    """Open a file or an address as it is stored. `random_access`: it must be possible to seek.

    Raises:
        OSError: a file of this machine cannot be opened.
        AddressError: an address cannot; reading raises it too, where the connection, or a command, fails.
    """
    if is_pipe(path):
        return io.BufferedReader(PipeFile(path), _BUFFER)
    if remote.is_address(path):
        return io.BufferedReader(remote.RemoteFile(path, random_access), _BUFFER)
    return open(path, "rb", buffering=_BUFFER)


def decompressed(raw: BinaryIO, path: str) -> BinaryIO:
    """Return the content of `raw`, which was opened at `path`: decompressed as its ending says."""
    compression = split_name(path)[1]
    if not compression:
        return raw
    stream = pa.CompressedInputStream(pa.PythonFile(raw, "r"), COMPRESSIONS[compression])
    return io.BufferedReader(stream, _BUFFER)

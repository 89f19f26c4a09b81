"""Shards: which there are, what lies in them, and reading any sample of any shard."""

import os
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from catclip.captions.counting.counter import available_processes
from catclip.captions.counting.processes import Progress, run_in_processes
from catclip.captions.sources import weighted_files
from catclip.captions.sources.remote import is_address
from catclip.data.cache.shard_cache import ShardCache
from catclip.data.index import ShardIndex, index_path
from catclip.data.remote_index import forget_index, remote_index
from catclip.errors import UserError

_ROWS_HELD = 1 << 23  # samples whose places are kept in memory, about 70 bytes each
_FILES_HELD = 64  # open shards
_MANY = 128  # shards, from which on several processes read their headers


@dataclass(frozen=True)
class Shard:
    """A shard, here or at an address, and its index."""

    path: str
    index: ShardIndex

    @classmethod
    def scan(cls, path: str, cache: ShardCache | None = None) -> "Shard":
        """Take the index that lies beside a shard, or else read the shard's headers.

        A remote shard is fetched for that, through the cache, which keeps its index.

        Raises:
            UserError: a remote shard cannot be fetched.
        """
        if is_address(path):
            assert cache is not None
            return cls(path, remote_index(path, cache))
        return cls(path, _index_beside(path) or ShardIndex.scan(path))

    def __len__(self) -> int:
        return len(self.index)

    @property
    def problem(self) -> str | None:
        """Why the shard could not be read to its end; None where it could."""
        return self.index.problem

    def read(self, file: BinaryIO, row: int, extensions: Sequence[str] | None = None) -> dict[str, bytes]:
        """Return the members of a sample by extension; only those in `extensions`, if given.

        Args:
            file: the shard, open.

        Raises:
            OSError: it cannot be read.
            ChangedShardError: it has become shorter since it was indexed.
        """
        found = {}
        for extension in self.index.extensions if extensions is None else extensions:
            if place := self.index.member(row, extension):
                offset, size = place
                found[extension] = os.pread(file.fileno(), size, offset)
                if len(found[extension]) < size:
                    raise ChangedShardError(f"{self.path} has become shorter since it was indexed")
        return found


def _index_beside(path: str) -> ShardIndex | None:
    """Return the index beside a shard, unless the shard has been written since, or has another size."""
    try:
        shard, kept = os.stat(path), os.stat(index_path(path))
    except FileNotFoundError:
        return None
    index = ShardIndex.load(index_path(path)) if kept.st_mtime_ns >= shard.st_mtime_ns else None
    return index if index is not None and index.tar_size == shard.st_size else None


class ChangedShardError(ValueError):
    """A shard is not what it was when it was indexed."""


class Shards(Sequence[Shard]):
    """The shards that one or more patterns name, indexed.

    Args:
        patterns: globs, brace ranges, folders, or lists of them, with weights or without: see
            `catclip.captions.sources.weighted_files`.
        cache: fetches shards that are at an address; None where none may be.
        progress: is told how many more shards are indexed, and of how many bytes.

    Attributes:
        paths: of the shards, sorted.
        weights: how often a sample of each shard is to be seen in an epoch.
        counts: int64 [S], the samples of each.
        problems: path → why a shard could not be read to its end.

    Raises:
        UserError: nothing matches, or no shard holds a sample.
    """

    def __init__(self, patterns: Any, cache: ShardCache | None = None, progress: Progress | None = None):
        files = weighted_files(patterns)
        self.cache = cache
        self.paths = [file.path for file in files]
        self.weights = [file.weight for file in files]
        self.problems: dict[str, str] = {}
        self._extensions = Counter[str]()
        self._indexes: OrderedDict[int, ShardIndex] = OrderedDict()
        self._rows = 0  # in `_indexes`
        self._files: OrderedDict[int, BinaryIO] = OrderedDict()
        self.counts = np.zeros(len(files), np.int64)
        for number, shard in _scan_all(self.paths, cache, progress):
            self.counts[number] = len(shard)
            self._extensions.update(shard.index.counts())
            if shard.problem:
                self.problems[shard.path] = shard.problem
            self._hold(number, shard.index)
        if self.samples == 0:
            reasons = "; ".join(f"{Path(path).name}: {problem}" for path, problem in self.problems.items())
            raise UserError(f"No samples in the {len(self)} shard(s) that {patterns} names. {reasons}".rstrip())

    def __getstate__(self) -> dict[str, Any]:
        # What can be opened again does not travel to each worker: the indexes of a large data set are half a gigabyte.
        held = OrderedDict((number, index) for number, index in self._indexes.items() if not self._is_stored(number))
        return self.__dict__ | {"_files": OrderedDict(), "_indexes": held, "_rows": sum(map(len, held.values()))}

    def _is_stored(self, number: int) -> bool:
        """Whether a shard's index is in a file: beside it, or where the cache keeps those of remote shards."""
        path = self.paths[number]
        return is_address(path) or index_path(path).exists()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number):
        index = self._indexes.get(number)
        if index is None:
            index = Shard.scan(self.paths[number], self.cache).index
            if len(index) != self.counts[number]:
                raise ChangedShardError(f"{self.paths[number]} has changed since it was indexed")
            self._hold(number, index)
        else:
            self._indexes.move_to_end(number)
        return Shard(self.paths[number], index)

    def _hold(self, number: int, index: ShardIndex) -> None:
        self._indexes[number] = index
        self._rows += len(index)
        while self._rows > _ROWS_HELD and len(self._indexes) > 1:
            self._rows -= len(self._indexes.popitem(last=False)[1])

    def damaged(self) -> list[Shard]:
        """Return the shards that could not be read to their end."""
        found = []
        for number, path in enumerate(self.paths):
            if path in self.problems:
                with suppress(ChangedShardError):  # its samples are counted where they are read
                    found.append(self[number])
        return found

    @property
    def samples(self) -> int:
        """How many there are in all."""
        return int(self.counts.sum())

    def extensions(self) -> Counter[str]:
        """Return how many samples carry each extension."""
        return self._extensions

    def in_order(self, shards: Sequence[int] | None = None) -> Iterator[tuple[int, int]]:
        """Yield (shard, row) of every sample, as they lie; only those of some `shards`, if given."""
        for shard in range(len(self)) if shards is None else shards:
            for row in range(int(self.counts[shard])):
                yield shard, row

    def some(self, remote: int) -> list[int]:
        """Return the shards of this machine, and as many remote ones at the most, evenly spread."""
        here = [number for number, path in enumerate(self.paths) if not is_address(path)]
        elsewhere = [n for n, path in enumerate(self.paths) if is_address(path) and self.counts[n]]
        return sorted([*here, *elsewhere[:: -(-len(elsewhere) // remote) or 1]])

    def read(self, shard: int, row: int, extensions: Sequence[str] | None = None) -> dict[str, bytes]:
        """Return the members of a sample by extension; only those in `extensions` that are there, if given.

        Raises:
            OSError: the shard is gone or cannot be read.
            ChangedShardError: it is not what it was.
        """
        file = self._open(shard)
        return self[shard].read(file, row, extensions)

    def _open(self, shard: int) -> BinaryIO:
        """Open a shard, or return it if it is open: to open it for each sample is slow where files are far away."""
        file = self._files.pop(shard, None) or self._open_anew(shard)
        self._files[shard] = file
        if len(self._files) > _FILES_HELD:
            self._files.popitem(last=False)[1].close()
        return file

    def _open_anew(self, shard: int) -> BinaryIO:
        path = self.paths[shard]
        if not is_address(path):
            return open(path, "rb", buffering=0)
        assert self.cache is not None
        file = self.cache.open(path)
        if os.fstat(file.fileno()).st_size != self[shard].index.tar_size:
            file.close()
            forget_index(path, self.cache)
            raise ChangedShardError(f"{path} has changed since it was indexed")
        return file

    def fetch_ahead(self, shards: Sequence[int]) -> None:
        """Fetch remote shards that will be read next, in the background."""
        if self.cache and (wanted := [self.paths[shard] for shard in shards if is_address(self.paths[shard])]):
            self.cache.prefetch(wanted)


def _scan_all(paths: Sequence[str], cache: ShardCache | None, progress: Progress | None) -> Iterator[tuple[int, Shard]]:
    """Yield the shards with their places, in any order."""
    scan = partial(_scan, cache)
    if len(paths) >= _MANY and available_processes() > 1:
        yield from run_in_processes(scan, paths, available_processes(), progress)
        return
    for number, path in enumerate(paths):
        yield number, scan(path, progress)


def _scan(cache: ShardCache | None, path: str, progress: Progress | None) -> Shard:
    shard = Shard.scan(path, cache)
    if progress:
        progress(1, shard.index.tar_size)
    return shard

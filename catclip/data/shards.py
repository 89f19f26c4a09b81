"""Shards → samples: an index of what lies where in the tars, and the seeded order in which training reads it.

The order is arithmetic, not state: sample number p of the endless training stream is a pure function of the seed, so
a batch can be made by any worker, and a run resumed at step t reads what the uninterrupted run would have read.
"""

import os
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from catclip.captions.sources import expand
from catclip.errors import UserError

BadCounts = Counter[str]  # reason -> samples


@dataclass(frozen=True)
class Location:
    """One sample: its key and, for each extension, the byte offset and size of the member in the shard."""

    key: str
    members: dict[str, tuple[int, int]]


@dataclass
class Shard:
    path: str
    samples: list[Location] = field(default_factory=list)
    problem: str | None = None  # why the tar could not be read to its end

    @classmethod
    def scan(cls, path: str) -> "Shard":
        """Read the headers of a webdataset tar. Members that share a name up to the first dot are one sample.

        A damaged tar gives the samples before the damage, and `problem` says what is wrong.
        """
        samples: dict[str, dict[str, tuple[int, int]]] = {}
        problem = None
        try:
            size = os.path.getsize(path)
            with tarfile.open(path, mode="r:") as tar:
                for member in tar:
                    folder, _, name = member.name.rpartition("/")
                    stem, dot, extension = name.partition(".")
                    if not member.isfile() or not stem or not dot:
                        continue
                    if not 0 <= member.size <= size - member.offset_data:
                        raise tarfile.ReadError("unexpected end of data")
                    place = (member.offset_data, member.size)
                    samples.setdefault(f"{folder}/{stem}", {})[extension.lower()] = place
                    vars(tar)["members"].clear()  # tarfile keeps every header otherwise: gigabytes for a large shard
                _check_end(path, tar.offset)
        # ValueError and OverflowError are what tarfile raises for an absurd size in a header.
        except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError) as error:
            problem = f"{type(error).__name__}: {error}"
        return cls(path, [Location(key.lstrip("/"), members) for key, members in samples.items()], problem)

    def read(self, file: BinaryIO, row: int, extensions: Sequence[str] | None = None) -> dict[str, bytes]:
        """The members of a sample by extension, out of the open shard; only those in `extensions`, if given."""
        members = self.samples[row].members
        wanted = members if extensions is None else [ext for ext in extensions if ext in members]
        return {ext: os.pread(file.fileno(), members[ext][1], members[ext][0]) for ext in wanted}


def _check_end(path: str, offset: int) -> None:
    """Raise `tarfile.ReadError` unless the block where tarfile stopped is zeros: it takes any other for the end too."""
    with open(path, "rb") as file:
        block = os.pread(file.fileno(), tarfile.BLOCKSIZE, offset)
    if len(block) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("no end mark: the file is cut short")
    if any(block):
        raise tarfile.ReadError(f"a broken header at byte {offset:,}")


class Shards(Sequence[Shard]):
    """The shards that one or more patterns name, indexed.

    Args:
        patterns: a glob, a brace range, a folder, or a list of them.

    Raises:
        UserError: nothing matches, or no shard holds a sample.
    """

    def __init__(self, patterns: str | Sequence[str]):
        self.shards = [Shard.scan(path) for path in expand(patterns)]
        self.counts = np.array([len(shard.samples) for shard in self.shards], dtype=np.int64)
        if self.samples == 0:
            reasons = "; ".join(f"{Path(shard.path).name}: {shard.problem}" for shard in self.shards if shard.problem)
            raise UserError(f"No samples in the {len(self)} shard(s) that {patterns} names. {reasons}".rstrip())

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, index):
        return self.shards[index]

    @property
    def samples(self) -> int:
        return int(self.counts.sum())

    def damaged(self) -> list[Shard]:
        return [shard for shard in self.shards if shard.problem]

    def extensions(self) -> Counter[str]:
        """How many samples carry each extension."""
        return Counter(ext for shard in self.shards for sample in shard.samples for ext in sample.members)

    def in_order(self) -> Iterator[tuple[int, int]]:
        """(shard, row) of every sample, as they lie."""
        for shard, count in enumerate(self.counts):
            for row in range(count):
                yield shard, row

    def read(self, shard: int, row: int, extensions: Sequence[str] | None = None) -> dict[str, bytes]:
        """The members of a sample by extension; only those in `extensions` that are there, if given.

        Raises:
            OSError: the shard is gone or cannot be read.
        """
        with open(self.shards[shard].path, "rb") as file:
            return self.shards[shard].read(file, row, extensions)


class Order:
    """The endless, seeded stream of samples: epoch after epoch, each sample once an epoch.

    An epoch's shards are permuted, laid end to end and cut into windows of `window` samples; the samples of a window
    are permuted. A window spans several shards, so neighbours in a shard end up far apart.
    """

    def __init__(self, counts: np.ndarray, seed: int, window: int):
        self.counts, self.seed, self.window = counts, seed, max(1, window)
        self.epoch_length = int(counts.sum())
        # Neighbouring positions share an epoch and a window: a few remembered permutations serve all of a batch.
        self._shards = lru_cache(maxsize=2)(self._permute_shards)
        self._rows = lru_cache(maxsize=2)(self._permute_window)

    def __getstate__(self):
        return {"counts": self.counts, "seed": self.seed, "window": self.window}

    def __setstate__(self, state):
        Order.__init__(self, **state)

    def _permute_shards(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        shards = np.random.default_rng((self.seed, epoch)).permutation(len(self.counts))
        return shards, np.concatenate([[0], np.cumsum(self.counts[shards])])

    def _permute_window(self, epoch: int, window: int) -> np.ndarray:
        start = window * self.window
        stop = min(start + self.window, self.epoch_length)
        return start + np.random.default_rng((self.seed, epoch, window)).permutation(stop - start)

    def locate(self, position: int) -> tuple[int, int, int]:
        """(epoch, shard, row) of a position in the endless stream."""
        epoch, place = divmod(position, self.epoch_length)
        window, row_in_window = divmod(place, self.window)
        mixed = self._rows(epoch, window)[row_in_window]
        shards, starts = self._shards(epoch)
        nth = int(np.searchsorted(starts, mixed, side="right")) - 1
        return epoch, int(shards[nth]), int(mixed - starts[nth])

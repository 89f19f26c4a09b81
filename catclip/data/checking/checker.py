"""`check`: every sample of some shards is read as training reads it, by several processes."""

import io
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import parent_process
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from catclip.captions import Vocabulary
from catclip.captions.counting.counter import available_processes
from catclip.captions.counting.processes import Progress, Task, run_in_processes
from catclip.captions.sources import weighted_files
from catclip.captions.sources.remote import is_address
from catclip.captions.sources.rows import RowLabeller, gather
from catclip.data.checking.tally import Bad, Captions, Pictures, Tally
from catclip.data.images import FORMATS, BadImageError, held_out_picture, picture_size
from catclip.data.index import index_path, write_index
from catclip.data.jpeg import read_frame
from catclip.data.pairs import BadSampleError, Pairs
from catclip.errors import UserError
from catclip.files import writing

_ROWS = 1024  # samples of a piece: large shards occupy several processes
_WORTH_A_PROCESS = 4096  # samples; fewer are read before another process has started
UNDECODABLE = "picture cannot be decoded"  # as training counts it


class Piece(NamedTuple):
    """Rows `start` to `stop` of a shard, and the bytes of the shard that fall to them."""

    shard: int
    start: int
    stop: int
    size: int


@dataclass
class Checked:
    """What there is in some shards.

    Attributes:
        pairs: what was checked.
        vocabulary: whose labels were counted.
        training_size: pixels, below which a picture's shorter side counts as small.
        tally: of all samples; the bad ones in the order in which they lie.
        size: bytes of the shards that have samples.
        processes: that did it.
        seconds: that it took, from the start of the processes on.
    """

    pairs: Pairs
    vocabulary: Vocabulary | None
    training_size: int
    tally: Tally
    size: int
    processes: int
    seconds: float


def check(
    pairs: Pairs,
    vocabulary: Vocabulary | None,
    size: int,
    workers: int | None = None,
    progress: Callable[[int, int, int | None], None] | None = None,
) -> Checked:
    """Read every sample as training does, and count what there is.

    Args:
        pairs: the samples.
        vocabulary: whose labels are counted, if any are.
        size: pixels of training pictures.
        workers: processes; None for one a core, if there is work for them.
        progress: is told (samples and bytes of the shards done since the last call, bytes of all).
    """
    pieces = _pieces(pairs)
    tar_bytes = sum(piece.size for piece in pieces)
    whole = Tally()
    start = perf_counter()

    def report(samples: int, size_now: int) -> None:
        if progress:
            progress(samples, size_now, tar_bytes)

    report(0, 0)
    processes = min(workers or min(available_processes(), 1 + len(pairs) // _WORTH_A_PROCESS), len(pieces))
    with closing(_run(_Checker(pairs, vocabulary, size), pieces, processes, report)) as tallies:
        for _, tally in tallies:
            whole.update(tally)
    whole.bad.sort()
    return Checked(pairs, vocabulary, size, whole, tar_bytes, processes, perf_counter() - start)


def index_shards(patterns: Any, workers: int | None = None) -> int:
    """Write an index beside each shard, and return how many.

    Raises:
        UserError: a shard is not on this machine, or an index cannot be written.
    """
    paths = [file.path for file in weighted_files(patterns)]
    if elsewhere := next(filter(is_address, paths), None):
        raise UserError(f"{elsewhere}: an index is written beside shards of this machine. Leave out index=true.")
    processes = min(workers or available_processes(), len(paths))
    return sum(1 for _ in _run(_write_index, paths, processes, lambda *_: None))


def spread_samples(pairs: Pairs, number: int, seed: int) -> list[tuple[int, int]]:
    """Draw (shard, row) of some samples: one each of as many equal stretches of the row of shards."""
    number = min(number, len(pairs))
    edges = np.linspace(0, len(pairs), number + 1).astype(np.int64)
    drawn = np.random.default_rng(seed).integers(edges[:-1], edges[1:])
    ends = np.cumsum(pairs.shards.counts)
    shards = np.searchsorted(ends, drawn, side="right")
    rows = drawn - (ends - pairs.shards.counts)[shards]
    return list(zip(shards.tolist(), rows.tolist(), strict=True))


def _pieces(pairs: Pairs) -> list[Piece]:
    """Return all rows of all shards that have any."""
    pieces = []
    for number, shard in enumerate(pairs.shards):
        size, samples = shard.index.tar_size, len(shard)
        for start in range(0, samples, _ROWS):
            stop = min(start + _ROWS, samples)
            pieces.append(Piece(number, start, stop, size * stop // samples - size * start // samples))
    return pieces


def _run(task: Task, pieces: Sequence[Any], processes: int, report: Progress) -> Generator[tuple[int, Any], None, None]:
    if processes > 1:
        yield from run_in_processes(task, pieces, processes, report)
    else:
        for place, piece in enumerate(pieces):
            yield place, task(piece, report)


def _write_index(path: str, progress: Progress) -> None:
    with writing(index_path(path)):
        write_index(path)


class _Checker:
    """Checks one piece after the other."""

    def __init__(self, pairs: Pairs, vocabulary: Vocabulary | None, size: int) -> None:
        self.pairs, self.vocabulary, self.size = pairs, vocabulary, size
        self._label: RowLabeller | None = None  # made in the process that needs it

    def __call__(self, piece: Piece, progress: Progress) -> Tally:
        if parent_process() is not None:
            torch.set_num_threads(1)  # there is a process for each core
        tally, captions = Tally(), list[str]()
        start = perf_counter()
        left = piece.size
        for row in range(piece.start, piece.stop):
            captions += self._add(tally, piece.shard, row)
            done = left // (piece.stop - row)
            left -= done
            progress(1, done)
        if self.vocabulary:
            self._add_labels(tally.captions, self.vocabulary, captions)
        tally.seconds = perf_counter() - start
        return tally

    def _add(self, tally: Tally, shard: int, row: int) -> list[str]:
        """Read a sample, and return its captions; a bad one has none."""
        tally.samples += 1
        try:
            data, captions = self.pairs.read(shard, row)
            held_out_picture(data, self.size)
        except BadSampleError as error:
            tally.bad.append(Bad(shard, row, self.pairs.key(shard, row), str(error), ""))
            return []
        except BadImageError as error:
            tally.bad.append(Bad(shard, row, self.pairs.key(shard, row), UNDECODABLE, str(error)))
            return []
        self._add_picture(tally.pictures, data)
        tally.captions.per_sample.add(len(captions))
        for caption in captions:
            tally.captions.words.add(len(caption.split()))
            tally.captions.repeats.add(caption)
        return captions

    def _add_picture(self, found: Pictures, data: bytes) -> None:
        width, height = picture_size(data)
        found.formats[_format(data)] += 1
        found.width.add(width)
        found.height.add(height)
        found.area.add(width * height)
        found.size.add(len(data))
        found.small += min(width, height) < self.size

    def _add_labels(self, found: Captions, vocabulary: Vocabulary, captions: list[str]) -> None:
        self._label = self._label or RowLabeller(vocabulary)
        rows = gather([None] * len(captions), [[caption] for caption in captions], 0)
        labels = self._label(rows).column("ids")
        for number, times in zip(*np.unique(labels.value_lengths().to_numpy(), return_counts=True), strict=True):
            found.labels.add(int(number), int(times))
        found.seen.update(labels.flatten().to_pylist())


def _format(data: bytes) -> str:
    """Return the format of a picture that can be decoded: JPEG, PNG …"""
    return "JPEG" if read_frame(data) else str(Image.open(io.BytesIO(data), formats=FORMATS).format)

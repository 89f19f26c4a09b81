"""`check`: every sample of some shards is read as training reads it, by several processes."""

import io
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from catclip.captions import Vocabulary
from catclip.captions.counting.counter import available_processes
from catclip.captions.counting.processes import Progress, Task, run_in_processes
from catclip.captions.sources import weighted_files
from catclip.captions.sources.remote import is_address
from catclip.config import DataConfig
from catclip.data.checking.tally import Bad, Tally
from catclip.data.images import FORMATS, BadImageError, decode
from catclip.data.index import index_path, write_index
from catclip.data.pairs import BadSampleError, Pairs
from catclip.errors import UserError
from catclip.files import writing

_ROWS = 1024  # samples of a piece: large shards occupy several processes
_UNDECODABLE = "picture cannot be decoded"  # as training counts it


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
        tally: of all samples; the bad ones in the order in which they lie.
        size: bytes of the shards that have samples.
        training_size: pixels, below which a picture's shorter side counts as small.
        labels: of the vocabulary; None without one.
        processes: that did it.
        seconds: that it took, from the start of the processes on.
    """

    pairs: Pairs
    tally: Tally
    size: int
    training_size: int
    labels: int | None
    processes: int
    seconds: float


def check(
    config: DataConfig,
    size: int,
    workers: int | None = None,
    progress: Callable[[int, int, int | None], None] | None = None,
) -> Checked:
    """Decode every picture and read every caption of `config.sources`.

    Args:
        config: sources, keys, and with a vocabulary labels are counted.
        size: pixels of training pictures.
        workers: processes; None for one a core.
        progress: is told (samples and bytes of the shards done since the last call, bytes of all).

    Raises:
        UserError: no sample can be read, or none has a picture and a caption under the configured keys.
    """
    check_workers(workers)
    vocabulary = Vocabulary.load(config.vocabulary) if config.vocabulary else None
    pairs = Pairs(config.sources, config)
    pieces = _pieces(pairs)
    tar_bytes = sum(piece.size for piece in pieces)
    whole = Tally()
    start = perf_counter()

    def report(samples: int, size_now: int) -> None:
        if progress:
            progress(samples, size_now, tar_bytes)

    report(0, 0)
    processes = min(workers or available_processes(), len(pieces))
    with closing(_run(_Checker(pairs, vocabulary, size), pieces, processes, report)) as tallies:
        for _, tally in tallies:
            whole.update(tally)
    whole.bad.sort()
    labels = len(vocabulary) if vocabulary else None
    return Checked(pairs, whole, tar_bytes, size, labels, processes, perf_counter() - start)


def index_shards(patterns: Any, workers: int | None = None) -> int:
    """Write an index beside each shard, and return how many.

    Raises:
        UserError: a shard is not on this machine, or an index cannot be written.
    """
    check_workers(workers)
    paths = [file.path for file in weighted_files(patterns)]
    if elsewhere := next(filter(is_address, paths), None):
        raise UserError(f"{elsewhere}: an index is written beside shards of this machine. Leave out index=true.")
    processes = min(workers or available_processes(), len(paths))
    return sum(1 for _ in _run(_write_index, paths, processes, lambda *_: None))


def check_workers(workers: int | None) -> None:
    """Raise `UserError` for a number of processes that makes no sense."""
    if workers is not None and workers < 1:
        raise UserError(f"workers={workers}: give a number of processes, or null for one a core.")


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

    def __call__(self, piece: Piece, progress: Progress) -> Tally:
        tally = Tally()
        start = perf_counter()
        left = piece.size
        for row in range(piece.start, piece.stop):
            tally.samples += 1
            try:
                self._add(tally, piece.shard, row)
            except BadSampleError as error:
                tally.bad.append(Bad(piece.shard, row, self.pairs.key(piece.shard, row), str(error), ""))
            except BadImageError as error:
                key = self.pairs.key(piece.shard, row)
                tally.bad.append(Bad(piece.shard, row, key, _UNDECODABLE, str(error)))
            done = left // (piece.stop - row)
            left -= done
            progress(1, done)
        tally.seconds = perf_counter() - start
        return tally

    def _add(self, tally: Tally, shard: int, row: int) -> None:
        data, captions = self.pairs.read(shard, row)
        decode(data, at_least=self.size)
        self._add_picture(tally, data)
        self._add_captions(tally, captions)

    def _add_picture(self, tally: Tally, data: bytes) -> None:
        found = tally.pictures
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        found.formats[str(image.format)] += 1
        found.width.add(image.width)
        found.height.add(image.height)
        found.area.add(image.width * image.height)
        found.size.add(len(data))
        found.small += min(image.size) < self.size

    def _add_captions(self, tally: Tally, captions: Sequence[str]) -> None:
        found = tally.captions
        found.per_sample.add(len(captions))
        for caption in captions:
            found.words.add(len(caption.split()))
            found.repeats.add(caption)
            if self.vocabulary:
                labels = self.vocabulary.labels(caption)
                found.labels.add(len(labels))
                found.unlabelled += not labels
                found.seen.update(labels)

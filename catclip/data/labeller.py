"""`Labeller`: a shard or table → its label file."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from catclip.captions import Vocabulary, label_file
from catclip.captions.counting.processes import Progress
from catclip.captions.label_file import Labelling
from catclip.captions.sources.files import split_name
from catclip.captions.sources.rows import ROWS, RowLabeller, Rows, gather
from catclip.captions.sources.table_rows import table_rows
from catclip.data.pairs import BadSampleError, read_captions
from catclip.data.shards import Shard
from catclip.errors import UserError
from catclip.files import locked_file, writing


@dataclass
class Tally:
    """What was labelled.

    Attributes:
        samples: labelled now, with a caption or without.
        labels: of all of them.
        unlabelled: samples that have a caption, but no label.
        bad: reason → samples without a caption.
        damaged: what is wrong with shards that could not be read to their end.
    """

    samples: int = 0
    labels: int = 0
    unlabelled: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        self.samples += other.samples
        self.labels += other.labels
        self.unlabelled += other.unlabelled
        self.bad.update(other.bad)
        self.damaged += other.damaged


class Job(NamedTuple):
    """A shard or table, where its labels go, and how they are made."""

    source: str
    target: Path
    labelling: Labelling


class Labeller:
    """Labels one source after the other."""

    def __init__(self, vocabulary: Vocabulary, caption_key: str | None) -> None:
        self.vocabulary = vocabulary
        self.caption_key = caption_key
        self._label: RowLabeller | None = None  # made in the process that needs it

    def __call__(self, job: Job, progress: Progress) -> Tally:
        """Write a source's label file.

        Raises:
            UserError: it cannot be read, its labels cannot be written, or another process is at it.
        """
        self._label = self._label or RowLabeller(self.vocabulary)
        tally = Tally()
        rows = self._rows(job, tally)
        try:
            with locked_file(Path(job.source), "labels"), writing(job.target):
                job.target.parent.mkdir(parents=True, exist_ok=True)
                label_file.write(job.target, job.labelling, self._tables(rows, tally, job, progress), tally.bad)
        except OSError as error:
            raise UserError(f"{job.source} cannot be read: {error.strerror}.") from error
        return tally

    def _rows(self, job: Job, tally: Tally) -> Iterator[Rows]:
        first_only = job.labelling.captions == "first"
        if split_name(job.source)[0] != ".tar":
            return table_rows(job.source, self.caption_key, first_only)
        shard = Shard.scan(job.source)
        if shard.problem:
            tally.damaged.append(
                f"{job.source}: {shard.problem}; the {len(shard):,} samples that can be read are labelled"
            )
        return shard_rows(shard, job.labelling.caption_key, first_only, job.labelling.source_size)

    def _tables(self, rows: Iterator[Rows], tally: Tally, job: Job, progress: Progress) -> Iterator[pa.RecordBatch]:
        assert self._label is not None
        rest = job.labelling.source_size
        for some in rows:
            table = self._label(some)
            lengths = table.column("ids").value_lengths()
            tally.samples += len(table)
            tally.labels += len(table.column("ids").flatten())
            tally.unlabelled += int(np.count_nonzero(lengths.fill_null(1).to_numpy() == 0))
            tally.bad.update(some.bad)
            size = min(some.size, rest)
            rest -= size
            progress(len(table), size)
            yield table
        progress(0, rest)


def shard_rows(shard: Shard, caption_key: str, first_only: bool, size: int) -> Iterator[Rows]:
    """Yield the samples of a shard in the order of its index, with the captions that the loader selects.

    Raises:
        UserError: the shard is gone.
    """
    extension = caption_key.partition(".")[0]
    try:
        file = open(shard.path, "rb")  # noqa: SIM115
    except OSError as error:
        raise UserError(f"{shard.path} cannot be read: {error.strerror}.") from error
    with file:
        for start in range(0, len(shard), ROWS):
            places = range(start, min(start + ROWS, len(shard)))
            found: list[list[str] | str] = []
            for row in places:
                try:
                    captions = read_captions(shard.read(file, row, [extension]), caption_key)
                    found.append(captions[:1] if first_only else captions)
                except BadSampleError as error:
                    found.append(str(error))
            keys = [shard.index.key(row) for row in places]
            yield gather(keys, found, size * len(places) // len(shard))

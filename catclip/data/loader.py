"""Samples → batches: workers, collation, and the counting of what could not be read.

Batch t of a run is a pure function of (seed, t): which samples, which crops, which captions. A worker that is handed
t makes it; the loader's whole state is the number of the next batch.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from time import perf_counter
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from catclip.config import DataConfig
from catclip.data.images import BadImageError, Part, held_out_picture, part_picture, training_part
from catclip.data.pairs import BadSampleError, Pairs
from catclip.data.stream import Stream
from catclip.data.targets import Targets
from catclip.data.undecoded import for_device, gather
from catclip.data.workers import begin_worker, made_by_workers
from catclip.errors import UserError

# "images" uint8 [B, 3, H, W], the targets' tensors and "keys" list[str]; for the loader "bad" {reason: samples} and
# "spent" {on what: seconds}.
Batch = dict[str, Any]
Sample = tuple[str, Part | torch.Tensor, list[Any]] | str  # key, picture, a target each; or why it cannot be read

UNDECODABLE = "picture cannot be decoded"

_ELSEWHERE = 8  # places in an epoch where a batch is looked for


class TrainingBatches(Dataset):
    """Batch t of the endless, augmented training stream.

    Args:
        pairs: to read.
        targets: what to make of their captions.
        config: crops and flips.
        size: of the pictures, in pixels, where `stream.sizes` does not give each batch its own.
        stream: which samples batch t has.
        undecoded: leave to a device the JPEGs that it can decode; `images` is `Undecoded` then.
    """

    def __init__(
        self,
        pairs: Pairs,
        targets: Sequence[Targets],
        config: DataConfig,
        size: int,
        stream: Stream,
        undecoded: bool = False,
    ) -> None:
        low, high = config.crop_scale if len(config.crop_scale) == 2 else (0.0, 0.0)
        if not 0 < low <= high <= 1:
            raise UserError(f"data.crop_scale={config.crop_scale}: give two shares of the area, 0 < low <= high <= 1.")
        self.pairs, self.targets, self.size, self.stream = pairs, targets, size, stream
        self.scale, self.flip, self.undecoded = (low, high), config.flip, undecoded
        self._fetched: list[int] = []  # the shards last asked for ahead

    def __getitem__(self, t: int) -> Batch:
        positions, sizes = self.stream.positions(t), self.stream.sizes
        side = self.size if sizes is None else sizes.side(t)
        batch = self._batch(positions, side)
        # Where a whole shard is gone, so may be a whole batch. The step still needs one, on every rank: it is made of
        # samples that lie elsewhere in the epoch.
        length = self.stream.order.epoch_length
        for attempt in range(1, _ELSEWHERE):
            if batch["keys"]:
                break
            there = attempt * length // _ELSEWHERE
            batch = self._batch(range(positions.start + there, positions.stop + there, positions.step), side) | {
                "bad": batch["bad"]
            }
        return batch

    def fetch_ahead(self, t: int) -> None:
        """Fetch in the background the remote shards of batch t and of those that come soon."""
        if (wanted := self.stream.order.shards_ahead(self.stream.positions(t).start)) != self._fetched:
            self._fetched = wanted
            self.pairs.shards.fetch_ahead(wanted)

    def _batch(self, positions: range, side: int) -> Batch:
        watch = _Stopwatch()
        together = partial(gather, size=side) if self.undecoded else default_collate
        samples = (self._sample(position, side, watch) for position in positions)
        return _collate(self.targets, samples, watch, together)

    def _sample(self, position: int, side: int, watch: "_Stopwatch") -> Sample:
        order = self.stream.order
        _, shard, row = order.locate(position)
        rng = np.random.default_rng((order.seed, 4, position))
        watch.start()
        try:
            data, captions = self.pairs.read(shard, row)
            watch.lap("reading")
            part = training_part(data, self.scale, self.flip, rng)
            picture = for_device(part, side) if self.undecoded else part_picture(part, side)
        except (BadSampleError, BadImageError) as error:
            return _reason(error)
        watch.lap("pictures")
        annotation = self.pairs.annotation(shard, row, self.pairs.select(captions, rng))
        targets = [target(annotation, rng) for target in self.targets]
        watch.lap("captions")
        return self.pairs.key(shard, row), picture, targets


class HeldOutBatches(Dataset):
    """Batch t of one pass over held-out pairs, in order, without augmentation.

    Labels come from all captions where training unites or samples them; text is the first caption.
    """

    def __init__(self, pairs: Pairs, targets: Sequence[Targets], size: int, batch: int):
        self.pairs, self.targets, self.size, self.batch = pairs, targets, size, batch
        self.places = list(pairs.shards.in_order())

    def __len__(self) -> int:
        return -(-len(self.places) // self.batch)

    def __getitem__(self, t: int) -> Batch:
        places = self.places[t * self.batch : (t + 1) * self.batch]
        return _collate(self.targets, (self._sample(*place) for place in places))

    def _sample(self, shard: int, row: int) -> Sample:
        try:
            data, captions = self.pairs.read(shard, row)
            picture = held_out_picture(data, self.size)
        except (BadSampleError, BadImageError) as error:
            return _reason(error)
        selected = captions[:1] if self.pairs.mode == "first" else captions
        annotation = self.pairs.annotation(shard, row, selected)
        targets = [target(annotation, cast(np.random.Generator, _FirstChoice())) for target in self.targets]
        return self.pairs.key(shard, row), picture, targets


class _FirstChoice:
    """Stands in for a random generator where nothing may be random: every draw gives the first."""

    def integers(self, *_: int) -> int:
        return 0


def _reason(error: Exception) -> str:
    return UNDECODABLE if isinstance(error, BadImageError) else str(error)


class _Stopwatch:
    """Seconds by what they were spent on."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self._last = 0.0

    def start(self) -> None:
        self._last = perf_counter()

    def lap(self, name: str) -> None:
        """Count what has passed since the start or the last lap."""
        now = perf_counter()
        self.spent[name] += now - self._last  # type: ignore[assignment]  # seconds, where a Counter is said to count
        self._last = now


def _collate(
    targets: Sequence[Targets],
    samples: Iterable[Sample],
    watch: _Stopwatch | None = None,
    together: Callable[[list[Any]], Any] = default_collate,
) -> Batch:
    bad: Counter[str] = Counter()
    good = []
    for sample in samples:
        if isinstance(sample, str):
            bad[sample] += 1
        else:
            good.append(sample)
    batch: Batch = {"keys": [key for key, _, _ in good], "bad": bad}
    batch["spent"] = watch.spent if watch else {}
    if good:
        # In a worker `default_collate` stacks right into shared memory. In the worker's own, where small objects settle
        # between one batch and the next, there would soon be no room of a batch's size: it would grow with every epoch.
        batch["images"] = together([picture for _, picture, _ in good])
        if watch:
            watch.lap("pictures")
        for index, target in enumerate(targets):
            batch |= target.collate([sample_targets[index] for _, _, sample_targets in good])
        if watch:
            watch.lap("captions")
    return batch


class Loader:
    """Iterates over batches `start` to `stop`, made by worker processes, and keeps count of unreadable samples.

    Args:
        batches: what makes batch t.
        start, stop: the first batch, and the one after the last.
        workers: processes; 0 makes the batches here. Each holds at most two batches, in shared memory.
        max_bad: the share of unreadable samples above which iteration stops.
        pin: put the tensors in page-locked memory, for a GPU.
        finish: what remains to be done to a batch here, as decoding its pictures on the device.

    Attributes:
        samples: samples seen, readable or not.
        bad: how many were unreadable, by reason.
        spent: seconds that the workers have spent reading, on pictures, on captions.

    Raises:
        UserError: a worker was killed; more than `max_bad` of the samples were unreadable.
    """

    # A handful of bad samples at the very start says nothing about the data set's share.
    JUDGED_AFTER = 1000

    def __init__(
        self,
        batches: Dataset,
        start: int,
        stop: int,
        *,
        workers: int,
        max_bad: float,
        pin: bool = False,
        finish: Callable[[Batch], Batch] | None = None,
    ) -> None:
        self.batches, self.start, self.stop, self.max_bad, self.finish = batches, start, stop, max_bad, finish
        self.samples = 0
        self.bad: Counter[str] = Counter()
        self.spent: Counter[str] = Counter()
        self._told = 0  # bad samples
        self.workers = min(workers, max(1, stop - start))
        self.loader = DataLoader(
            batches,
            sampler=range(start, stop),
            batch_size=None,
            num_workers=self.workers,
            pin_memory=pin,
            collate_fn=_for_pinning,  # type: ignore[arg-type]
            worker_init_fn=begin_worker,
        )

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Generator[Batch, None, None]:
        for t, batch in enumerate(made_by_workers(self.loader), self.start):
            if isinstance(self.batches, TrainingBatches):
                self.batches.fetch_ahead(t)
            if self.finish and batch["keys"]:
                batch = self.finish(batch)
            self._count(batch)
            if batch["keys"]:
                yield batch
            elif not isinstance(self.batches, HeldOutBatches):  # each step needs its batch; a held-out pass does not
                raise UserError(f"A whole batch could not be read, nor any in its place. {self.report()}")
        # What a resumed run saw may again be a handful: its first part was judged when it ran.
        self._judge(self.samples if self.start == 0 else max(self.samples, self.JUDGED_AFTER))

    def _count(self, batch: Batch) -> None:
        self.spent.update(batch.pop("spent"))
        bad = batch.pop("bad")
        self.samples += len(batch["keys"]) + sum(bad.values())
        if bad:
            self.bad.update(bad)
            self._judge(max(self.samples, self.JUDGED_AFTER))

    def _judge(self, samples: int) -> None:
        if sum(self.bad.values()) > self.max_bad * samples:
            raise UserError(
                f"{self.report()} That is more than data.max_bad={self.max_bad:g} allows: "
                "repair the shards, or raise data.max_bad to use the rest."
            )

    def news(self) -> str | None:
        """The report, when what was skipped has doubled since it was told: a broken shard is a few lines of log."""
        bad = self.bad.total()
        if bad < max(1, 2 * self._told):
            return None
        self._told = bad
        return self.report()

    def report(self) -> str:
        """What was skipped and why, in one line; empty when nothing was."""
        if not self.bad:
            return ""
        reasons = "; ".join(f"{reason}: {count:,}" for reason, count in self.bad.most_common())
        total = sum(self.bad.values())
        return f"Skipped {total:,} of {self.samples:,} samples ({total / self.samples:.2%}): {reasons}."


def _for_pinning(batch: Batch) -> Batch:
    """The batch with its counts in plain dicts: torch updates a copy of what it pins with itself, and Counters add."""
    return batch | {name: dict(batch[name]) for name in ("bad", "spent")}

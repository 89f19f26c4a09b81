"""`pack`: a folder of pictures with captions → shards. Which samples go where, who writes them, and when to stop."""

import json
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from catclip.captions.counting.counter import available_processes
from catclip.captions.counting.processes import Progress, run_in_processes
from catclip.config import PackConfig
from catclip.data.index import index_path, write_index
from catclip.data.packing.inventory import Candidate, Inventory, Skipped, take_inventory
from catclip.data.packing.journal import CONTENT, Journal, ShardRecord
from catclip.data.packing.keys import sample_keys
from catclip.errors import UserError
from catclip.files import locked, path_aside, write_atomically, writing

SKIPPED = "skipped.tsv"
_VERSION = 1  # of the layout: raise it when the same pictures and settings give other bytes


class Packed(NamedTuple):
    """What a folder came to.

    Attributes:
        shards: all of them, in order.
        kept: how many of them were there already.
        skipped: what is not in them, and why, sorted by picture.
        entries: pictures, and entries of the captions' file that name none: samples and skipped ones.
    """

    shards: list[ShardRecord]
    kept: int
    skipped: list[Skipped]
    entries: int

    @property
    def samples(self) -> int:
        return sum(shard.samples for shard in self.shards)

    @property
    def captions(self) -> int:
        return sum(shard.captions for shard in self.shards)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(shard.size for shard in self.shards)


def pack(config: PackConfig, progress: Callable[[int, int, int | None], None] | None = None) -> Packed:
    """Write the shards that `config` asks for, each with its index; those that are there already are left alone.

    Args:
        config: folder, captions, and how to pack them.
        progress: is told (pictures and their bytes packed since the last call, bytes of all that are to be packed).

    Raises:
        UserError: there is nothing to pack; `out` holds something else, or another process packs into it; too many
            pictures have no caption or cannot be read.
    """
    _check(config)
    folder, out = Path(config.data).expanduser(), Path(config.out)
    captions = Path(config.captions).expanduser() if config.captions else None
    inventory = take_inventory(folder, captions, config.image_key, config.caption_key)
    jobs = _plan(inventory.candidates, out, config)
    with locked(out, "packs into"):
        journal = Journal.open(out, _made(inventory, config))
        kept = len(journal.records)
        judge = _Judge(inventory, journal, config.max_bad)
        todo = [job for job in jobs if job.path.name not in journal.records]
        try:
            judge.judge()
            _pack_all(ShardPacker(folder, config.size), todo, config.workers, journal, judge, progress)
        finally:
            _write_skipped(out / SKIPPED, judge.skipped)
        journal.write()
    packed = Packed([journal.records[job.path.name] for job in jobs], kept, sorted(judge.skipped), judge.entries)
    if not packed.samples:
        raise UserError(f"No picture could be packed. {tell_skipped(packed.skipped, packed.entries)}")
    return packed


def _check(config: PackConfig) -> None:
    for name, value in {"shard_size": config.shard_size, "size": config.size, "workers": config.workers}.items():
        if value is not None and value < 1:
            raise UserError(f"{name}={value}: must be at least 1.")


# ---- what goes where ------------------------------------------------------------------------------------------------


class Job(NamedTuple):
    """A shard to write: its path, and the keys and pictures that go into it."""

    path: Path
    samples: list[tuple[str, Candidate]]


def _plan(candidates: Sequence[Candidate], out: Path, config: PackConfig) -> list[Job]:
    """Lay the pictures in their order into shards of equal size, but for one picture."""
    samples = list(zip(sample_keys([each.path for each in candidates]), candidates, strict=True))
    if config.shuffle:
        samples = [samples[place] for place in np.random.default_rng(config.seed).permutation(len(samples))]
    shards = -(-len(samples) // config.shard_size)
    bounds = [number * len(samples) // shards for number in range(shards + 1)]
    return [Job(out / f"{n:05d}.tar", samples[bounds[n] : bounds[n + 1]]) for n in range(shards)]


def _made(inventory: Inventory, config: PackConfig) -> dict[str, Any]:
    """Return all that the shards' bytes depend on, the pictures' own but for their sizes."""
    digest = blake2b(digest_size=16)
    for candidate in inventory.candidates:
        digest.update(json.dumps(candidate).encode())
    return {
        "version": _VERSION,
        "shard_size": config.shard_size,
        "size": config.size,
        "shuffle": config.shuffle,
        "seed": config.seed if config.shuffle else None,
        CONTENT: digest.hexdigest(),
    }


# ---- writing --------------------------------------------------------------------------------------------------------


class ShardPacker:
    """Writes one shard and its index after the other."""

    def __init__(self, folder: Path, size: int | None) -> None:
        self.folder = folder
        self.size = size

    def __call__(self, job: Job, progress: Progress) -> ShardRecord:
        from catclip.data.packing.shard import write_shard  # imports torch: only the processes that write wait for it

        record = write_shard(job.path, job.samples, self.folder, self.size, progress)
        with writing(index_path(job.path)):
            write_index(job.path)
        return record


def _pack_all(
    packer: ShardPacker,
    jobs: Sequence[Job],
    workers: int | None,
    journal: Journal,
    judge: "_Judge",
    progress: Callable[[int, int, int | None], None] | None,
) -> None:
    total = sum(candidate.size for job in jobs for _, candidate in job.samples)

    def report(pictures: int, size: int) -> None:
        if progress:
            progress(pictures, size, total)

    report(0, 0)
    try:
        with closing(_records(packer, jobs, workers or available_processes(), report)) as records:
            for record in records:
                journal.add(record)
                judge.skipped += record.skipped
                judge.judge()
    finally:
        _remove_halves(jobs)


def _records(
    packer: ShardPacker, jobs: Sequence[Job], processes: int, report: Progress
) -> Generator[ShardRecord, None, None]:
    if processes > 1 and len(jobs) > 1:
        with closing(run_in_processes(packer, jobs, processes, report)) as done:
            for _, record in done:
                yield record
    else:
        for job in jobs:
            yield packer(job, report)


def _remove_halves(jobs: Iterable[Job]) -> None:
    """Remove what killed processes left half-written."""
    for job in jobs:
        for path in (job.path, index_path(job.path)):
            path_aside(path).unlink(missing_ok=True)


# ---- what is skipped ------------------------------------------------------------------------------------------------


class _Judge:
    """Stops where too much is skipped of all that there is."""

    def __init__(self, inventory: Inventory, journal: Journal, max_bad: float) -> None:
        self.max_bad = max_bad
        self.entries = len(inventory.candidates) + len(inventory.skipped)
        self.skipped = inventory.skipped + [each for record in journal.records.values() for each in record.skipped]
        self.out = journal.path.parent

    def judge(self) -> None:
        if len(self.skipped) > self.max_bad * self.entries:
            raise UserError(
                f"{tell_skipped(self.skipped, self.entries)} That is more than max_bad={self.max_bad:g} allows; "
                f"{self.out / SKIPPED} lists them. Repair them, or raise max_bad to pack the rest."
            )


def tell_skipped(skipped: Sequence[Skipped], entries: int) -> str:
    """Say how many pictures are skipped, and why."""
    counts = Counter(each.reason for each in skipped)
    reasons = "; ".join(f"{reason}: {count:,}" for reason, count in counts.most_common())
    return f"Skipped {len(skipped):,} of {entries:,} pictures ({len(skipped) / entries:.2%}): {reasons}."


def _write_skipped(path: Path, skipped: Sequence[Skipped]) -> None:
    """Write the table of what is skipped, where anything is."""
    with writing(path):
        if not skipped:
            path.unlink(missing_ok=True)
            return
        lines = [f"{_plain(each.picture)}\t{each.reason}\n" for each in sorted(skipped)]
        write_atomically(path, "".join(["picture\treason\n", *lines]))


def _plain(name: str) -> str:
    """Return a name that fits into a field of the table: whatever is no printable sign is escaped."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in name)

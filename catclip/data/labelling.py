"""`label_sources`: shards and tables → label files: which are to be written, by whom, and when to stop."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from catclip.captions import Vocabulary, label_file
from catclip.captions.counting.counter import available_processes
from catclip.captions.counting.processes import Progress, run_in_processes
from catclip.captions.label_file import Labelling
from catclip.captions.lexicon import lexicon_version
from catclip.captions.sources import weighted_files
from catclip.captions.sources.files import file_info, split_name
from catclip.captions.sources.reading import check_kind
from catclip.captions.sources.remote import is_address
from catclip.captions.sources.table_rows import caption_column
from catclip.config import DataConfig
from catclip.data.labeller import Job, Labeller, Tally
from catclip.data.pairs import Pairs
from catclip.data.shards import Shard
from catclip.errors import UserError, check_choice
from catclip.files import locked_file, path_aside

# A handful of samples without a caption at the very start says nothing about the share of them.
_JUDGED_AFTER = 1000


class Labelled(NamedTuple):
    """What labelling some sources came to.

    Attributes:
        tally: of what was labelled now.
        written: the label files that were written.
        kept: those that were there already, made in the same way.
    """

    tally: Tally
    written: list[Path]
    kept: list[Path]


def label_sources(
    vocabulary: Vocabulary,
    config: DataConfig,
    out: str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int, int | None], None] | None = None,
) -> Labelled:
    """Write the labels of each shard and table that `config.sources` names. What has been labelled so is left alone.

    Args:
        vocabulary: of whose labels the indices are written.
        config: sources, caption key and mode, and the share of samples that may lack a caption.
        out: a folder for the label files; None puts them beside their sources.
        workers: processes; None for one a core.
        progress: is told (samples and bytes of the sources labelled since the last call, bytes of all to be labelled).

    Raises:
        UserError: a source is no shard or table of this machine, or has no captions; a label file is there that was
            made otherwise; more than `config.max_bad` of the samples have no caption.
    """
    _check(vocabulary, config, workers)
    jobs = _plan([file.path for file in weighted_files(config.sources)], vocabulary, config, out)
    kept = [job.target for job in jobs if job.target.exists()]
    labelled = set(kept)
    todo = [job for job in jobs if job.target not in labelled]
    judge = _Judge(config.max_bad)
    for path in kept:
        judge.add(*label_file.read_bad(path))
    total, size = Tally(), sum(job.labelling.source_size for job in todo)

    def report(samples: int, size_now: int) -> None:
        if progress:
            progress(samples, size_now, size)

    report(0, 0)
    left = dict(enumerate(todo))
    processes = workers or available_processes()
    try:
        with closing(_label_all(Labeller(vocabulary, config.caption_key), todo, processes, report)) as tallies:
            for place, tally in tallies:
                del left[place]
                total.add(tally)
                judge.add(tally.samples, tally.bad)
    finally:
        _remove_halves(left.values())
    judge.judge(least=0)
    return Labelled(total, [job.target for job in todo], kept)


def _check(vocabulary: Vocabulary, config: DataConfig, workers: int | None) -> None:
    check_choice("data.captions", config.captions, ["first", "sample", "all"])
    if config.captions == "sample":
        raise UserError(
            "data.captions=sample draws a caption anew each time a picture is seen, so its labels cannot be stored. "
            "Give data.captions=first or all."
        )
    if workers is not None and workers < 1:
        raise UserError(f"workers={workers}: give a number of processes, or null for one a core.")
    theirs = vocabulary.metadata.get("lexicon", lexicon_version())
    if theirs != lexicon_version():
        raise UserError(
            f"The vocabulary was made with noun lexicon {theirs}, and here is {lexicon_version()}: labels would not be "
            "those that were counted. Build the vocabulary anew with `catclip vocab`."
        )


# ---- what is to be done ---------------------------------------------------------------------------------------------


def _plan(sources: Sequence[str], vocabulary: Vocabulary, config: DataConfig, out: str | None) -> list[Job]:
    """Return what each source asks for, after a look at the label files that are there."""
    for source in sources:
        _check_source(source)
    shards = [source for source in sources if split_name(source)[0] == ".tar"]
    shard_key = _shard_caption_key(shards, config) if shards else ""
    in_tars = set(shards)
    jobs = dict[Path, Job]()
    for source in sources:
        target = label_file.label_path(source, out)
        if target in jobs:
            raise UserError(f"The labels of {jobs[target].source} and of {source} would both go to {target}.")
        key = shard_key if source in in_tars else caption_column(source, config.caption_key)
        size = file_info(source).size
        assert size is not None, "of files on this machine it is known"
        jobs[target] = Job(source, target, Labelling.of(vocabulary, config.captions, key, size))
    for job in jobs.values():
        if job.target.exists() and (differences := label_file.read_labelling(job.target).differences(job.labelling)):
            raise UserError(
                f"{job.target} is there already and was made otherwise: {differences}. Remove it, or give another out=…"
            )
    return list(jobs.values())


def _check_source(source: str) -> None:
    kind = check_kind(source)
    if is_address(source):
        raise UserError(f"{source}: labels are written for files of this machine. Copy it here first.")
    if kind == ".tar" and split_name(source)[1]:
        raise UserError(f"{source}: training reads no compressed shards. Decompress it first.")


def _shard_caption_key(shards: Sequence[str], config: DataConfig) -> str:
    """Return the caption key that the loader finds in the first shard that has samples."""
    first = next((path for path in shards if len(Shard.scan(path))), shards[0])
    return Pairs([first], DataConfig(image_key=config.image_key, caption_key=config.caption_key)).caption_key


def _remove_halves(jobs: Iterable[Job]) -> None:
    """Remove what killed processes left half-written, unless another command is writing it."""
    for job in jobs:
        aside = path_aside(job.target)
        if aside.exists():
            try:
                with locked_file(Path(job.source), "labels"):
                    aside.unlink(missing_ok=True)
            except (UserError, OSError):
                continue


def _label_all(
    labeller: Labeller, jobs: Sequence[Job], processes: int, report: Progress
) -> Generator[tuple[int, Tally], None, None]:
    if processes > 1 and len(jobs) > 1:
        yield from run_in_processes(labeller, jobs, processes, report)
    else:
        for place, job in enumerate(jobs):
            yield place, labeller(job, report)


class _Judge:
    """Adds up samples without a caption, and stops where they are too many."""

    def __init__(self, max_bad: float) -> None:
        self.max_bad = max_bad
        self.samples, self.bad = 0, Counter[str]()

    def add(self, samples: int, bad: Counter[str]) -> None:
        self.samples += samples
        self.bad.update(bad)
        self.judge(least=_JUDGED_AFTER)

    def judge(self, least: int) -> None:
        """Raise `UserError` when too many samples are bad; fewer than `least` are taken for that many."""
        if self.bad.total() > self.max_bad * max(self.samples, least):
            raise UserError(
                f"{tell_bad(self.bad, self.samples)} That is more than data.max_bad={self.max_bad:g} allows: is "
                "data.caption_key right? Repair the sources, or raise data.max_bad to label the rest."
            )


def tell_bad(bad: Counter[str], samples: int) -> str:
    """Say how many samples have no caption, and why."""
    reasons = "; ".join(f"{reason}: {count:,}" for reason, count in bad.most_common())
    return f"{bad.total():,} of {samples:,} samples have no caption ({bad.total() / samples:.2%}): {reasons}."

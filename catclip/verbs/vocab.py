"""`catclip vocab`: captions → a vocabulary file, and what there is to see of it."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from catclip.captions.corpus import CorpusCounts
from catclip.captions.count import TAUS, count_files, whole_vocabulary
from catclip.captions.extract import SynsetExtractor
from catclip.captions.journal import Journal
from catclip.captions.prune import check_options
from catclip.captions.sources import describe
from catclip.errors import UserError
from catclip.files import writing
from catclip.verbs.vocab_summary import summary, write_report

if TYPE_CHECKING:
    from catclip.config import VocabConfig

STOPPED_EARLY = 75  # exit code: a signal came; the same command goes on from what was counted


def run(config: VocabConfig) -> None:
    """Build the vocabulary that `config` describes, write it and sum it up."""
    console = Console(highlight=False)
    out = Path(config.out)
    if out.exists():
        raise UserError(f"{out} exists already. Give another out=…, or remove it first.")
    check_options(config.prune, config.tau, config.top_k, config.min_depth, config.exclude)
    start = time.perf_counter()
    extractor = SynsetExtractor(config.rule, config.captions.tagger, config.captions.sense)
    with _signals_raised(), Journal(out.with_name(f"{out.name}.parts")) as journal:
        try:
            corpus = _count_with_progress(console, config, extractor, journal)
            vocabulary = whole_vocabulary(corpus, extractor, describe(config.data.sources)).prune(
                config.tau,
                how=config.prune,
                top_k=config.top_k,
                min_depth=config.min_depth,
                exclude=config.exclude,
            )
            beside = write_report(corpus, vocabulary, out)
            with writing(out):
                vocabulary.save(out)
            journal.remove()
        except _Signal as stop:
            print(f"Stopped by {stop}. {_kept(journal)}", file=sys.stderr)
            sys.exit(STOPPED_EARLY)
        except UserError as error:
            raise UserError(f"{error} {_kept(journal)}".rstrip()) from error
    console.print(summary(corpus, vocabulary))
    seconds = time.perf_counter() - start
    picture, page = beside
    console.print(f"\nWrote {len(vocabulary):,} labels to {out} in {seconds:.1f} s.", markup=False)
    console.print(f"{picture} shows what pruning does; {page} is a page to search the labels in.", markup=False)


def _kept(journal: Journal) -> str:
    return (
        f"What was counted is kept in {journal.folder}: the same command goes on from there."
        if journal.holds_counts
        else ""
    )


class _Signal(BaseException):
    """A signal that asks to stop; `str()` of it is its name."""


@contextmanager
def _signals_raised() -> Iterator[None]:
    """Raise `_Signal` where a signal asks this process to stop."""

    def stop(number: int, _: object) -> None:
        raise _Signal(signal.Signals(number).name)

    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _count_with_progress(
    console: Console, config: VocabConfig, extractor: SynsetExtractor, journal: Journal
) -> CorpusCounts:
    columns = (
        SpinnerColumn(),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[captions]:,} captions, {task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("counting", total=None, captions=0, rate=0.0)
        start = time.perf_counter()
        captions = 0

        def progress(more: int, size: int, total: int | None) -> None:
            nonlocal captions
            captions += more
            rate = captions / (time.perf_counter() - start)
            bar.update(task, advance=size, total=total, captions=captions, rate=rate)

        return count_files(
            config.data.sources,
            extractor,
            caption_key=config.data.caption_key,
            captions=config.data.captions,
            tau=max(*TAUS, config.tau),
            workers=config.workers,
            progress=progress,
            journal=journal,
        )

"""`catclip vocab`: captions → a vocabulary file."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from catclip.captions.count import TAUS, CorpusCounts, count_files, make_vocabulary
from catclip.captions.extract import SynsetExtractor
from catclip.captions.journal import Journal
from catclip.captions.sources import describe
from catclip.errors import UserError
from catclip.files import writing

if TYPE_CHECKING:
    from catclip.captions.vocabulary import Vocabulary
    from catclip.config import VocabConfig

STOPPED_EARLY = 75  # exit code: a signal came; the same command goes on from what was counted


def run(config: VocabConfig) -> None:
    """Build the vocabulary that `config` describes, write it and sum it up."""
    console = Console(highlight=False)
    out = Path(config.out)
    if out.exists():
        raise UserError(f"{out} exists already. Give another out=…, or remove it first.")
    if config.tau < 1:
        raise UserError(f"tau={config.tau}: a label must occur at least once.")
    start = time.perf_counter()
    extractor = SynsetExtractor(config.rule, config.captions.tagger, config.captions.sense)
    with _signals_raised(), Journal(out.with_name(f"{out.name}.parts")) as journal:
        try:
            corpus = _count_with_progress(console, config, extractor, journal)
            vocabulary = make_vocabulary(corpus, extractor, config.tau, describe(config.data.sources))
            with writing(out):
                vocabulary.save(out)
            journal.remove()
        except _Signal as stop:
            print(f"Stopped by {stop}. {_kept(journal)}", file=sys.stderr)
            sys.exit(STOPPED_EARLY)
        except UserError as error:
            raise UserError(f"{error} {_kept(journal)}".rstrip()) from error
    console.print(summary(corpus, vocabulary))
    console.print(f"Wrote {len(vocabulary):,} labels to {out} in {time.perf_counter() - start:.1f} s.", markup=False)


def _kept(journal: Journal) -> str:
    return (
        f"What was counted is kept in {journal.folder}, where the same command goes on." if journal.holds_counts else ""
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


def summary(corpus: CorpusCounts, vocabulary: Vocabulary) -> Group:
    """Return what the user should know of a corpus and its vocabulary, for a terminal of 80 columns."""
    labels = sum(corpus.counts.values())
    lines = [
        f"{corpus.captions:,} captions read; {corpus.labelled / corpus.captions:.1%} have a label, "
        f"{labels / corpus.captions:.1f} labels a caption, {len(corpus.counts):,} different ones."
    ]
    if corpus.skipped:
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in corpus.skipped.most_common())
        lines.append(f"Skipped: {reasons}.")
    return Group(*lines, _sizes(corpus, int(vocabulary.metadata["tau"])), _most_frequent(vocabulary))


def _sizes(corpus: CorpusCounts, chosen: int) -> Table:
    table = Table(title="Size of the vocabulary", title_justify="left", box=None, pad_edge=False)
    for column in ("tau", "labels", "captions with a label"):
        table.add_column(column, justify="right")
    for tau in sorted({*TAUS, chosen}):
        row = (f"{tau:,}", f"{corpus.size(tau):,}", f"{corpus.coverage(tau):.1%}")
        table.add_row(*row, style="bold" if tau == chosen else None)
    return table


def _most_frequent(vocabulary: Vocabulary, rows: int = 10) -> Table:
    table = Table(title="Most frequent", title_justify="left", box=None, pad_edge=False)
    table.add_column("label")
    table.add_column("WNID")
    table.add_column("count", justify="right")
    for name, wnid, number in list(zip(vocabulary.names, vocabulary.wnids, vocabulary.counts, strict=True))[:rows]:
        table.add_row(name, wnid, f"{number:,}")
    return table

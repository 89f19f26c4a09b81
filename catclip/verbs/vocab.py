"""`catclip vocab`: captions → a vocabulary file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from catclip.captions.count import TAUS, CorpusCounts, count_files, make_vocabulary
from catclip.captions.extract import SynsetExtractor
from catclip.captions.sources import expand
from catclip.errors import UserError

if TYPE_CHECKING:
    from catclip.captions.vocabulary import Vocabulary
    from catclip.config import VocabConfig


def run(config: VocabConfig) -> None:
    """Build the vocabulary that `config` describes, write it and sum it up."""
    console = Console(highlight=False)
    out = Path(config.out)
    if out.exists():
        raise UserError(f"{out} exists already. Give another out=…, or remove it first.")
    if config.tau < 1:
        raise UserError(f"tau={config.tau}: a label must occur at least once.")
    start = time.perf_counter()
    patterns = [config.data.sources] if isinstance(config.data.sources, str) else list(config.data.sources)
    files = expand(patterns)
    extractor = SynsetExtractor(config.rule, config.captions.tagger, config.captions.sense)
    corpus = _count_with_progress(console, config, files, extractor)
    vocabulary = make_vocabulary(corpus, extractor, config.tau, " ".join(map(str, patterns)))
    vocabulary.save(out)
    console.print(summary(corpus, vocabulary))
    console.print(f"Wrote {len(vocabulary):,} labels to {out} in {time.perf_counter() - start:.1f} s.", markup=False)


def _count_with_progress(
    console: Console, config: VocabConfig, files: list[str], extractor: SynsetExtractor
) -> CorpusCounts:
    columns = (
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files, {task.fields[captions]:,} captions"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("counting", total=len(files), captions=0)

        def progress(captions: int, done: int) -> None:
            bar.update(task, advance=done, captions=bar.tasks[0].fields["captions"] + captions)

        return count_files(
            files,
            extractor,
            caption_key=config.data.caption_key,
            captions=config.data.captions,
            tau=max(*TAUS, config.tau),
            workers=config.workers,
            progress=progress,
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

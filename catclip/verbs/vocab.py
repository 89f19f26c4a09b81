"""`catclip vocab`: captions → a vocabulary file, and what there is to see of it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from catclip.captions.counting.corpus import CorpusCounts
from catclip.captions.counting.counter import count_files, whole_vocabulary
from catclip.captions.counting.journal import Journal
from catclip.captions.extract import SynsetExtractor
from catclip.captions.prune import check_options
from catclip.captions.sources import describe
from catclip.captions.vocabulary import Vocabulary
from catclip.errors import STOPPED_EARLY, UserError
from catclip.files import writing
from catclip.verbs import vocab_words
from catclip.verbs.progress import file_progress
from catclip.verbs.stopping import Stopped, signals_raised
from catclip.verbs.vocab_summary import check_beside, summary, write_report

if TYPE_CHECKING:
    from catclip.config import VocabConfig


class CountedError(UserError):
    """No vocabulary comes of the counts as things are set, but another may: the message says that they are kept."""

    def __init__(self, message: object, journal: Journal) -> None:
        kept = f"What was counted is kept in {journal.folder}: so changed, the command counts nothing again."
        super().__init__(f"{message} {kept}")


def run(config: VocabConfig) -> None:
    """Build the vocabulary that `config` describes, write it and sum it up."""
    console = Console(highlight=False)
    out = Path(config.out)
    if out.exists():
        raise UserError(f"{out} exists already. Give another out=…, or remove it first.")
    if out.suffix in (".png", ".html"):
        raise UserError(f"out={out}: that ending is of what stands beside the vocabulary. Give it another, as .tsv.")
    if config.rule == "words":
        return vocab_words.run(config)
    check_beside(out)
    check_options(config.prune, config.tau, config.top_k, config.min_depth, config.exclude)
    start = time.perf_counter()
    extractor = SynsetExtractor(config.rule, config.captions.tagger, config.captions.sense)
    with signals_raised(), Journal(out.with_name(f"{out.name}.parts")) as journal:
        try:
            corpus = _count_with_progress(console, config, extractor, journal)
            _judge(corpus, config.data.max_bad, journal)
            vocabulary = _make_vocabulary(corpus, extractor, config, journal)
            written = write_report(corpus, vocabulary, out)
            with writing(out):
                vocabulary.save(out)
            journal.remove()
        except Stopped as stop:
            print(f"Stopped by {stop}. {_kept(journal)}", file=sys.stderr)
            sys.exit(STOPPED_EARLY)
        except CountedError:
            raise
        except UserError as error:
            raise UserError(f"{error} {_kept(journal)}".rstrip()) from error
    console.print(summary(corpus, vocabulary))
    seconds = time.perf_counter() - start
    picture, page = written
    console.print(f"\nWrote {len(vocabulary):,} labels to {out} in {seconds:.1f} s.", markup=False)
    console.print(f"{picture} shows what pruning does; {page} is a page to search the labels in.", markup=False)


def _make_vocabulary(
    corpus: CorpusCounts, extractor: SynsetExtractor, config: VocabConfig, journal: Journal
) -> Vocabulary:
    if not corpus.counts:
        journal.remove()  # nothing that another run could use
    data = config.data
    whole = whole_vocabulary(corpus, extractor, describe(data.sources), data.caption_key, data.captions)
    try:
        return whole.prune(
            config.tau,
            how=config.prune,
            top_k=config.top_k,
            min_depth=config.min_depth,
            exclude=config.exclude,
        )
    except UserError as error:
        raise CountedError(error, journal) from error


def _judge(corpus: CorpusCounts, max_bad: float, journal: Journal) -> None:
    """Refuse a corpus of which too many samples have no caption, or none that can be read."""
    bad, samples = corpus.bad, corpus.samples + corpus.bad.total()
    if bad.total() > max_bad * samples:
        reasons = "; ".join(f"{reason}: {number:,}" for reason, number in bad.most_common())
        raise CountedError(
            f"{bad.total():,} of {samples:,} samples have no caption ({bad.total() / samples:.2%}): {reasons}. That is "
            f"more than data.max_bad={max_bad:g} allows: is data.caption_key right? Repair the sources, or raise "
            "data.max_bad to count the rest.",
            journal,
        )


def _kept(journal: Journal) -> str:
    return (
        f"What was counted is kept in {journal.folder}: the same command goes on from there."
        if journal.holds_counts
        else ""
    )


def _count_with_progress(
    console: Console, config: VocabConfig, extractor: SynsetExtractor, journal: Journal
) -> CorpusCounts:
    with file_progress(console, "captions") as progress:
        return count_files(
            config.data.sources,
            extractor,
            caption_key=config.data.caption_key,
            captions=config.data.captions,
            workers=config.workers,
            progress=progress,
            journal=journal,
        )

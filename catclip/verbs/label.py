"""`catclip label`: label files for shards and tables; `explain="a caption"` says where a caption's labels come from."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console

from catclip.captions.explain import explain
from catclip.captions.extract import SynsetExtractor
from catclip.captions.vocabulary import Vocabulary
from catclip.data.labelling import Labelled, label_sources, tell_bad
from catclip.errors import STOPPED_EARLY, UserError
from catclip.verbs.explaining import tables
from catclip.verbs.progress import file_progress
from catclip.verbs.stopping import Stopped, signals_raised

if TYPE_CHECKING:
    from catclip.config import LabelConfig


def run(config: LabelConfig) -> None:
    """Write the label files that `config` asks for, or explain its caption."""
    if config.explain is not None:
        _explain(config, config.explain)
    elif config.data.sources is not None:
        _label(config)
    else:
        raise UserError(
            "Give the shards or tables to label: data.sources='shards/*.tar' data.vocabulary=vocab.tsv; "
            'or a caption to explain: explain="two dogs on a couch".'
        )


# ---- label files ----------------------------------------------------------------------------------------------------


def _label(config: LabelConfig) -> None:
    if config.data.vocabulary is None:
        raise UserError("Labels are places in a vocabulary: give data.vocabulary=FILE, as `catclip vocab` writes it.")
    vocabulary = Vocabulary.load(config.data.vocabulary)
    _check_reading(config, vocabulary)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    start = time.perf_counter()
    with signals_raised():
        try:
            with file_progress(console, "samples") as progress:
                labelled = label_sources(vocabulary, config.data, config.out, config.workers, progress)
        except Stopped as stop:
            print(f"Stopped by {stop}. The same command goes on after the last whole label file.", file=sys.stderr)
            sys.exit(STOPPED_EARLY)
    _tell(console, labelled, time.perf_counter() - start)


def _check_reading(config: LabelConfig, vocabulary: Vocabulary) -> None:
    """Refuse another rule, tagger or sense than the vocabulary's: its counts would be those of other labels."""
    asked = {"rule": config.rule, "captions.tagger": config.captions.tagger, "captions.sense": config.captions.sense}
    for (key, value), theirs in zip(asked.items(), vocabulary.reading, strict=True):
        if value not in (None, theirs):
            raise UserError(
                f"{key}={value}, but {config.data.vocabulary} was made with {key}={theirs}, and labels are made as "
                f"their vocabulary was. Leave it out, or build a vocabulary: catclip vocab data.sources=… {key}={value}"
            )


def _tell(console: Console, labelled: Labelled, seconds: float) -> None:
    tally, written, kept = labelled
    for line in tally.damaged:
        console.print(line)
    if tally.bad:
        console.print(tell_bad(tally.bad, tally.samples))
    if written:
        captioned = tally.samples - tally.bad.total()
        console.print(
            f"Labelled {tally.samples:,} samples in {seconds:.1f} s: {tally.labels / max(1, captioned):.2f} labels a "
            f"sample with a caption; {tally.unlabelled / max(1, captioned):.1%} of them have none.\n"
            f"Wrote {_files(len(written))}: {written[0]}{' …' if len(written) > 1 else ''}"
        )
    if kept:
        console.print(f"{_files(len(kept)).capitalize()} had been labelled so before.")


def _files(number: int) -> str:
    return f"{number:,} label file{'s' if number > 1 else ''}"


# ---- explanations ---------------------------------------------------------------------------------------------------


def _explain(config: LabelConfig, caption: str) -> None:
    if not caption.strip():
        raise UserError('The caption to explain is empty. Give one: explain="two dogs on a couch".')
    vocabulary = Vocabulary.load(config.data.vocabulary) if config.data.vocabulary else None
    usual = vocabulary.reading if vocabulary else ("default", "lexicon", "visual")
    asked = (config.rule, config.captions.tagger, config.captions.sense)
    extractor = SynsetExtractor(*(value or other for value, other in zip(asked, usual, strict=True)))
    console = Console(highlight=False, markup=False)
    console.print(tables(extractor, explain(extractor, caption), vocabulary))
    if vocabulary is not None:
        console.print(f"\n{_about(extractor, vocabulary)}")


def _about(extractor: SynsetExtractor, vocabulary: Vocabulary) -> str:
    ours = {"rule": extractor.rule, "tagger": extractor.tagger, "sense": extractor.sense}
    theirs = dict(zip(ours, vocabulary.reading, strict=True))
    if ours == theirs:
        return f"The vocabulary has {len(vocabulary):,} labels."
    made = ", ".join(f"{key}={value}" for key, value in theirs.items())
    return f"The vocabulary has {len(vocabulary):,} labels and was made otherwise: {made}."

"""`catclip vocab rule=words`: captions → a vocabulary of their words, for objective.labels=word."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from catclip.captions.sources import describe
from catclip.captions.words import count_words, make_word_vocabulary
from catclip.errors import UserError, check_choice
from catclip.files import writing
from catclip.verbs.progress import file_progress

if TYPE_CHECKING:
    from catclip.config import VocabConfig


def run(config: VocabConfig) -> None:
    """Count the words that `config` describes and write their vocabulary.

    Raises:
        UserError: an option is given that words do not have; what counting raises.
    """
    data = config.data
    check_choice("data.captions", data.captions, ["first", "sample", "all"])
    _refuse_others(config)
    if config.top_k is not None and config.top_k < 1:
        raise UserError(f"top_k={config.top_k} must be at least 1.")
    out, console, start = Path(config.out), Console(highlight=False), time.perf_counter()
    with file_progress(console, "captions") as progress:
        counts, captions = count_words(data.sources, data.caption_key, data.captions, progress)
    vocabulary = make_word_vocabulary(counts, captions, config.tau, config.top_k, describe(data.sources))
    with writing(out):
        vocabulary.save(out)
    seconds = time.perf_counter() - start
    console.print(
        f"{captions:,} captions, {len(counts):,} words. Wrote the {len(vocabulary):,} that stand in at least "
        f"{config.tau:,} captions to {out} in {seconds:.1f} s.",
        markup=False,
    )


def _refuse_others(config: VocabConfig) -> None:
    """Refuse what words do not have: nouns, senses, depths, a tolerance, and processes that share the counting."""
    given: dict[str, tuple[object, object]] = {
        "prune": (config.prune, "drop"), "min_depth": (config.min_depth, None), "exclude": (config.exclude, []),
        "workers": (config.workers, None), "captions.tagger": (config.captions.tagger, "lexicon"),
        "captions.sense": (config.captions.sense, "visual"), "data.max_bad": (config.data.max_bad, 0.01),
    }  # fmt: skip
    if others := [f"{key}={value}" for key, (value, default) in given.items() if value != default]:
        raise UserError(f"rule=words takes tau and top_k, and has no use for {', '.join(others)}: leave that out.")

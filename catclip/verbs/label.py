"""`catclip label`: the labels of captions; `explain="a caption"` says where they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from catclip.captions.explain import explain
from catclip.captions.extract import SynsetExtractor
from catclip.captions.vocabulary import Vocabulary
from catclip.errors import UserError
from catclip.verbs.explaining import tables

if TYPE_CHECKING:
    from catclip.config import LabelConfig


def run(config: LabelConfig) -> None:
    """Explain the caption that `config` gives."""
    if config.explain is None:
        raise UserError('Give the caption to explain: explain="two dogs on a couch".')
    _explain(config, config.explain)


def _explain(config: LabelConfig, caption: str) -> None:
    vocabulary = Vocabulary.load(config.data.vocabulary) if config.data.vocabulary else None
    extractor = SynsetExtractor(config.rule, config.captions.tagger, config.captions.sense)
    console = Console(highlight=False, markup=False)
    console.print(tables(extractor, explain(extractor, caption), vocabulary))
    if vocabulary is not None:
        console.print(f"\n{_about(extractor, vocabulary)}")


def _about(extractor: SynsetExtractor, vocabulary: Vocabulary) -> str:
    ours = {"rule": extractor.rule, "tagger": extractor.tagger, "sense": extractor.sense}
    theirs = {key: vocabulary.metadata.get(key, "unknown") for key in ours}
    if ours == theirs:
        return f"The vocabulary has {len(vocabulary):,} labels."
    made = ", ".join(f"{key}={value}" for key, value in theirs.items())
    return f"The vocabulary has {len(vocabulary):,} labels and was made otherwise: {made}."

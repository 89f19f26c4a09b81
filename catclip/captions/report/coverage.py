"""How much of a corpus a vocabulary keeps, at any threshold and by either way of pruning."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from catclip.captions.counting.corpus import CorpusCounts
from catclip.captions.prune import MIN_DEPTH, Pruned, Pruner
from catclip.captions.vocabulary import Vocabulary


class Coverage(NamedTuple):
    """What pruning at one threshold leaves.

    Attributes:
        tau: the threshold.
        labels: the size of the vocabulary.
        captions: share of the captions that have a label in it.
        nouns: share of the corpus's labels, repeats included, that are in it or rolled up into it.
    """

    tau: int
    labels: int
    captions: float
    nouns: float


def coverages(
    corpus: CorpusCounts, how: str, taus: Iterable[int], min_depth: int | None = None, exclude: Iterable[str] = ()
) -> list[Coverage]:
    """Return what pruning `how` (``drop`` or ``rollup``) leaves of a corpus at each threshold.

    Args:
        corpus: the counts. `captions` is an estimate where its sample is not complete.
        how: ``drop`` or ``rollup``.
        taus: the thresholds.
        min_depth: as `Vocabulary.prune` takes it.
        exclude: likewise.
    """
    pruner = Pruner(corpus.counts, MIN_DEPTH[how] if min_depth is None else min_depth, exclude)
    places = {wnid: place for place, wnid in enumerate(corpus.synsets)}
    prune = pruner.rollup if how == "rollup" else pruner.drop
    return [_coverage(corpus, places, tau, prune(tau)) for tau in taus]


def coverage_of(corpus: CorpusCounts, vocabulary: Vocabulary) -> Coverage:
    """Return what a vocabulary keeps of its corpus."""
    kept = vocabulary.lookup(corpus.synsets) >= 0
    nouns = sum(vocabulary.counts) / max(1, int(corpus.occurrences.sum()))
    return Coverage(threshold(vocabulary), len(vocabulary), corpus.sample.share_with(kept), nouns)


def _coverage(corpus: CorpusCounts, places: dict[str, int], tau: int, pruned: Pruned) -> Coverage:
    kept = np.zeros(len(corpus.synsets), bool)
    kept[[places[wnid] for wnid in (*pruned.counts, *pruned.rollup)]] = True
    nouns = sum(pruned.counts.values()) / max(1, int(corpus.occurrences.sum()))
    return Coverage(tau, len(pruned.counts), corpus.sample.share_with(kept), nouns)


def pruning_of(vocabulary: Vocabulary) -> tuple[str, int | None, list[str]]:
    """Return how a vocabulary was pruned: `how`, `min_depth` and `exclude` as `Vocabulary.prune` takes them."""
    metadata = vocabulary.metadata
    min_depth = int(metadata["min_depth"]) if "min_depth" in metadata else None
    return metadata.get("prune", "drop"), min_depth, metadata.get("exclude", "").split()


def threshold(vocabulary: Vocabulary) -> int:
    """Return the tau that leaves a vocabulary's labels, be they chosen by `tau` or by `top_k`."""
    tau = int(vocabulary.metadata["tau"])
    return max(tau, min(vocabulary.counts)) if "top_k" in vocabulary.metadata else tau


def threshold_grid(most: int, points: int = 25) -> list[int]:
    """Return thresholds from 1 to `most`, about evenly spaced on a logarithmic scale, without repeats."""
    return sorted({round(tau) for tau in np.geomspace(1, max(most, 1), points)})

"""What pruning leaves, against counting over the captions one by one."""

import pytest

from catclip.captions import SynsetExtractor, Vocabulary
from catclip.captions.report.coverage import (
    Coverage,
    coverage_of,
    coverages,
    pruning_of,
    threshold,
    threshold_grid,
)
from tests.captions.report.making import captions, corpus_of

CAPTIONS = captions(300)
LABELS = SynsetExtractor().extract_many(CAPTIONS)


def by_hand(vocabulary: Vocabulary, tau: int) -> Coverage:
    nouns = [wnid for each in LABELS for wnid in each]
    kept = sum(bool(vocabulary.labels([wnid])) for wnid in nouns)
    covered = sum(bool(vocabulary.labels(each)) for each in LABELS)
    return Coverage(tau, len(vocabulary), pytest.approx(covered / len(CAPTIONS)), pytest.approx(kept / len(nouns)))


@pytest.mark.parametrize("how", ["drop", "rollup"])
@pytest.mark.parametrize(("min_depth", "exclude"), [(None, []), (0, []), (5, ["dog.n.01"])])
def test_coverage_is_what_counting_gives(how, min_depth, exclude):
    corpus, whole = corpus_of(CAPTIONS)
    taus = (1, 5, 20, 50)
    found = coverages(corpus, how, taus, min_depth, exclude)
    for tau, at in zip(taus, found, strict=True):
        vocabulary = whole.prune(tau, how=how, min_depth=min_depth, exclude=exclude)
        assert at == by_hand(vocabulary, tau)
        assert coverage_of(corpus, vocabulary) == at
        assert pruning_of(vocabulary) == (how, min_depth, exclude)


def test_a_threshold_above_all_leaves_nothing():
    corpus, _ = corpus_of(CAPTIONS)
    assert coverages(corpus, "drop", [10_000]) == [(10_000, 0, 0.0, 0.0)]


def test_top_k_has_a_threshold_too():
    corpus, whole = corpus_of(CAPTIONS)
    assert threshold(whole.prune(7)) == 7
    for how in ("drop", "rollup"):
        vocabulary = whole.prune(2, how=how, top_k=3)
        assert threshold(vocabulary) == min(vocabulary.counts) > 2
        assert len(coverages(corpus, how, [threshold(vocabulary)])) == 1
        assert coverages(corpus, how, [threshold(vocabulary)])[0].labels == len(vocabulary)


@pytest.mark.parametrize("most", [1, 2, 10, 12345])
def test_grid(most):
    grid = threshold_grid(most)
    assert (grid[0], grid[-1]) == (1, most)
    assert grid == sorted(set(grid))

"""What one pass over a corpus tells, against a second pass; merged, weighted, and through files."""

import io
from collections import Counter
from fractions import Fraction
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.captions.counting import examples, sample
from catclip.captions.counting.corpus import MOST_LABELS, CorpusCounts
from catclip.captions.counting.examples import EXAMPLES, caption_keys
from catclip.captions.extract import ColumnLabels

SYNSETS = [f"n{i:08d}" for i in range(6)]
UNIT = 4


def column(captions: list[list[int]]) -> ColumnLabels:
    ids = np.array([label for labels in captions for label in labels], np.int32)
    return ColumnLabels(ids, np.cumsum([0, *map(len, captions)], dtype=np.int64))


def counted(captions: list[list[int]], weight: int, first_key: int) -> CorpusCounts:
    """Captions that are called by their keys, in two columns."""
    corpus = CorpusCounts(SYNSETS, UNIT)
    half = len(captions) // 2
    for start, part in ((0, captions[:half]), (half, captions[half:])):
        keys = caption_keys(7, first_key + start, len(part))
        corpus.add(pa.array(map(str, keys.tolist()), pa.string()), column(part), weight, keys)
    return corpus


def half_up(value: Fraction) -> int:
    return (2 * value + 1) // 2


LABELS = st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, 5]), max_size=4)
PART = st.tuples(st.lists(LABELS, max_size=12), st.integers(1, 9))


@settings(max_examples=150, deadline=None)
@given(st.lists(PART, min_size=1, max_size=5), st.randoms(use_true_random=False), st.integers(1, 8))
def test_counts_equal_a_second_pass_in_any_order(parts, random, least):
    firsts = np.cumsum([0, *(len(captions) for captions, _ in parts)]).tolist()
    with patch.object(examples, "_LEAST_TO_SORT", least):
        counts = [counted(*part, first) for part, first in zip(parts, firsts, strict=False)]
        random.shuffle(counts)
        corpus = CorpusCounts(SYNSETS, UNIT)
        for part in counts:
            corpus.merge(through_a_file(part) if random.random() < 0.5 else part)

    captions = [(labels, Fraction(weight, UNIT)) for each, weight in parts for labels in each]
    totals = Counter()
    for labels, weight in captions:
        for label in labels:
            totals[SYNSETS[label]] += weight
    totals = {wnid: half_up(total) for wnid, total in totals.items() if half_up(total)}
    everything = sum(weight for _, weight in captions)
    assert corpus.counts == totals
    assert corpus.captions == half_up(everything)
    assert corpus.labelled == half_up(sum(weight for labels, weight in captions if labels))
    for tau in range(1, 8):
        assert corpus.size(tau) == sum(total >= tau for total in totals.values())
        covered = sum(weight for labels, weight in captions if any(totals.get(SYNSETS[i], 0) >= tau for i in labels))
        assert corpus.coverage(tau) == pytest.approx(float(covered / everything) if everything else 0)

    keys = caption_keys(7, 0, len(captions)).tolist()
    for place, wnid in enumerate(SYNSETS):
        smallest = sorted(key for key, (labels, _) in zip(keys, captions, strict=True) if place in labels)[:EXAMPLES]
        assert corpus.examples_of(wnid) == list(map(str, smallest))


def through_a_file(corpus: CorpusCounts) -> CorpusCounts:
    file = io.BytesIO()
    np.savez(file, **corpus.arrays())
    file.seek(0)
    return CorpusCounts.from_arrays(np.load(file, allow_pickle=False), SYNSETS)


def test_captions_by_their_number_of_labels():
    corpus = CorpusCounts(SYNSETS)
    corpus.add(pa.array(["x"] * 5), column([[], [0], [0, 0], [1, 2], [3] * 100]))
    assert corpus.lengths[:3].tolist() == [1, 1, 2]
    assert corpus.lengths[MOST_LABELS] == 1
    assert corpus.lengths.sum() == corpus.captions == 5


def test_skips_are_not_weighted():
    corpus = CorpusCounts(SYNSETS, UNIT)
    corpus.skipped["no caption"] = 3
    corpus.merge(through_a_file(corpus))
    assert corpus.skipped == {"no caption": 6}


def test_what_is_kept_of_captions_is_bounded():
    """100 million captions must not be kept because a few labels are rare."""
    rng = np.random.default_rng(0)
    corpus = CorpusCounts(SYNSETS)
    with patch.object(sample, "SIZE", 100):
        for turn in range(200):
            labels = column([[int(label)] for label in rng.choice(6, 100, p=[0.6, 0.3, 0.05, 0.04, 0.0099, 0.0001])])
            corpus.add(pa.array(["x"] * 100), labels, keys=caption_keys(1, 100 * turn, 100))
        arrays = corpus.arrays()
    assert corpus.captions == 20_000
    assert max(array.size for array in arrays.values()) < 300
    assert all(len(corpus.examples_of(wnid)) <= EXAMPLES for wnid in SYNSETS)


def test_long_examples_are_cut_off():
    corpus = CorpusCounts(SYNSETS)
    corpus.add(pa.array(["ä" * 1000]), column([[2, 2]]), keys=caption_keys(1, 0, 1))
    assert corpus.examples_of(SYNSETS[2]) == ["ä" * examples.LONGEST]
    assert corpus.examples_of(SYNSETS[1]) == []


def test_same_texts_are_one_example():
    corpus = CorpusCounts(SYNSETS)
    corpus.add(pa.array(["a dog"] * 5), column([[2]] * 5), keys=caption_keys(1, 0, 5))
    assert corpus.examples_of(SYNSETS[2]) == ["a dog"]

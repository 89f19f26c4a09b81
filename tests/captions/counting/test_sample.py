"""The sample of captions, against plain counting over the captions that belong in it."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catclip.captions.counting import sample as module
from catclip.captions.counting.sample import CaptionSample
from catclip.captions.extract import ColumnLabels

SYNSETS = 6
LABELS = st.lists(st.integers(0, SYNSETS - 1), max_size=5)
# Columns of captions, each with its weight: (labels, key) a caption.
COLUMNS = st.lists(st.tuples(st.integers(1, 3), st.lists(LABELS, max_size=8)), max_size=6)


@pytest.fixture(autouse=True, scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SIZE", 10)
        yield


def column(captions):
    ids = np.array([label for labels in captions for label in labels], np.int32)
    return ColumnLabels(ids, np.cumsum([0, *map(len, captions)], dtype=np.int64))


def sampled(columns, keys):
    sample, start = CaptionSample(), 0
    for weight, captions in columns:
        sample.add(column(captions), weight, keys[start : start + len(captions)])
        start += len(captions)
    return sample


def draw_keys(data, columns):
    number = sum(len(captions) for _, captions in columns)
    return np.array(data.draw(st.permutations(range(number))), np.uint64)


@given(COLUMNS, st.data(), st.sets(st.integers(0, SYNSETS - 1)))
def test_shares_are_those_of_the_captions_with_the_smallest_keys(columns, data, wanted):
    keys = draw_keys(data, columns)
    flat = [(weight, labels) for weight, captions in columns for labels in captions]
    chosen = [flat[i] for i in np.argsort(keys)[:10]]
    total = sum(weight for weight, _ in chosen)
    sample = sampled(columns, keys)
    assert len(sample) == len(chosen)
    assert sample.complete == (len(flat) <= 10)
    mask = np.isin(np.arange(SYNSETS), list(wanted))
    has = sum(weight for weight, labels in chosen if wanted & set(labels))
    assert sample.share_with(mask) == pytest.approx(float(Fraction(has, total or 1)))
    # Two synsets share label 0.
    lookup = np.array([0, 0, 1, 2, -1, 3], np.int32)
    shares = sample.labels_a_caption(lookup)
    for number in range(7):
        expected = sum(w for w, labels in chosen if len({lookup[i] for i in labels} - {-1}) == number)
        assert (shares[number] if number < len(shares) else 0) == pytest.approx(expected / (total or 1))


@given(COLUMNS, COLUMNS, st.data())
def test_merging_in_any_order_and_by_way_of_files_is_the_same(one, other, data):
    keys = draw_keys(data, [*one, *other])
    split = sum(len(captions) for _, captions in one)
    whole = sampled([*one, *other], keys)
    for flip in (False, True):
        parts = [sampled(one, keys[:split]), sampled(other, keys[split:])]
        first, second = (CaptionSample.from_arrays(part.arrays()) for part in (parts[::-1] if flip else parts))
        first.merge(second)
        assert first.complete == whole.complete
        assert by_key(first) == by_key(whole)


@given(COLUMNS, st.data())
def test_a_sample_from_a_file_goes_on(columns, data):
    keys = draw_keys(data, columns) + np.uint64(1)
    sample = CaptionSample.from_arrays(sampled(columns, keys).arrays())
    expected = by_key(sample) | {0: (1, (1, 2)), 2**63: (1, ())}
    sample.add(column([[1, 2], []]), 1, np.array([0, 2**63], np.uint64))
    assert by_key(sample) == {key: expected[key] for key in sorted(expected)[:10]}


def by_key(sample):
    """Key → what the caption counts, and its labels."""
    arrays = sample.arrays()
    labels = np.split(arrays["sample_ids"], np.cumsum(arrays["sample_lengths"])[:-1])
    rows = zip(arrays["sample_units"].tolist(), (tuple(each.tolist()) for each in labels), strict=False)
    return dict(zip(arrays["sample_keys"].tolist(), rows, strict=True))

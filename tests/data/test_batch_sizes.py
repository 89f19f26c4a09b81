"""Sides and sizes of batches: the pixels stay, every rank knows the same, and what was read adds up."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.config import DataConfig
from catclip.data.batch_sizes import BatchSizes, multi_scale_sides
from catclip.errors import UserError

SIDES = st.sets(st.integers(1, 20), min_size=1, max_size=8).map(lambda each: [16 * n for n in sorted(each)])


def pictures(sizes: BatchSizes, t: int) -> int:
    return sizes.before(t + 1) - sizes.before(t)


# ---- sizes ----------------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(SIDES, st.integers(1, 300), st.integers(1, 8), st.booleans(), st.integers(1, 60))
def test_a_batch_has_the_pixels_of_one_of_image_size(sides, batch, ranks, rising, steps):
    sizes = BatchSizes(sides, 224, batch * ranks, ranks=ranks, rising=rising, steps=steps)
    total = 0
    for t in range(70):
        assert sizes.before(t) == total
        count = pictures(sizes, t)
        total += count
        assert count % ranks == 0
        assert count >= ranks
        wanted = batch * ranks * 224**2
        assert count == ranks or count * sizes.side(t) ** 2 <= wanted
        assert (count + ranks) * sizes.side(t) ** 2 > wanted


def test_the_published_batches():
    """CatLIP: 128 to 320 in steps of 16, around 224."""
    sizes = BatchSizes(multi_scale_sides(DataConfig("x", sizes=[128, 320]), 16), 224, 1024, steps=1)
    seen = {sizes.side(t): pictures(sizes, t) for t in range(300)}
    assert sorted(seen) == list(range(128, 321, 16))
    assert (seen[128], seen[224], seen[320]) == (3136, 1024, 501)


# ---- which batch has which ------------------------------------------------------------------------------------------


def test_sides_are_drawn_evenly_and_anew_for_each_seed():
    sides = [32, 48, 64, 80]
    drawn = [[BatchSizes(sides, 48, 8, seed=seed).side(t) for t in range(10_000)] for seed in (0, 1)]
    for each in drawn:
        assert np.bincount(each)[sides] == pytest.approx(2500, abs=200)
    assert np.mean(np.equal(*drawn)) == pytest.approx(0.25, abs=0.03)


def test_a_batch_is_the_same_whoever_asks_and_in_whatever_order():
    def make(ranks: int = 1) -> BatchSizes:
        return BatchSizes([32, 48, 64], 48, 12, ranks=ranks, seed=3)

    places = [20_000, 4096, 5, 4095, 0, 12_288]
    whole = make()
    in_order = {t: (whole.side(t), whole.before(t)) for t in range(20_001)}
    for t in places:
        assert (make().side(t), make().before(t)) == in_order[t]
        assert make(4).side(t) == in_order[t][0]
    copy = pickle.loads(pickle.dumps(whole))
    assert [(copy.side(t), copy.before(t)) for t in places] == [in_order[t] for t in places]


@settings(max_examples=100, deadline=None)
@given(SIDES, st.integers(1, 100))
def test_rising_sides_share_the_run(sides, steps):
    sizes = BatchSizes(sides, 224, 64, rising=True, steps=steps)
    seen = [sizes.side(t) for t in range(steps)]
    assert seen == sorted(seen)
    counts = [seen.count(side) for side in sides]
    assert max(counts) - min(counts) <= 1
    assert sizes.side(steps + 5) == sides[-1]
    assert sizes.before(steps + 5) == sizes.before(steps) + 5 * pictures(sizes, steps)


# ---- what the user asks for -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "step", "patch", "sides"),
    [
        ([32, 64], None, 16, [32, 48, 64]),
        ([32, 64], None, 8, [32, 48, 64]),
        ([32, 64], 8, 8, [32, 40, 48, 56, 64]),
        ([28, 56], None, 14, [28, 42, 56]),
        ([64, 128], None, 32, [64, 96, 128]),
        ([48, 48], None, 16, [48]),
    ],
)
def test_the_sides_asked_for(sizes, step, patch, sides):
    assert multi_scale_sides(DataConfig("x", sizes=sizes, size_step=step), patch) == sides


@pytest.mark.parametrize(
    ("sizes", "step", "patch", "message"),
    [
        ([128, 320], None, 14, r"give \[126, 308\] or \[126, 322\]"),
        ([128, 330], None, 16, r"give \[128, 320\] or \[128, 336\]"),
        ([130, 320], None, 16, r"give \[128, 320\] or \[128, 336\]"),
        ([128, 320], 24, 16, r"data.size_step=24 .* give 32"),
        ([128, 320], 0, 16, r"data.size_step=0 .* give 16"),
        ([320, 128], None, 16, r"the lowest side and the highest"),
        ([128], None, 16, r"the lowest side and the highest"),
        ([0, 128], None, 16, r"the lowest side and the highest"),
        ([128, 320], None, None, r"one side only"),
    ],
)
def test_what_does_not_fit_is_said_with_what_does(sizes, step, patch, message):
    with pytest.raises(UserError, match=message):
        multi_scale_sides(DataConfig("x", sizes=sizes, size_step=step), patch)


def test_an_unknown_schedule_is_named():
    with pytest.raises(UserError, match="size_schedule"):
        multi_scale_sides(DataConfig("x", sizes=[32, 64], size_schedule="falling"), 16)

"""Statistics in little memory are those of numpy on all values, whoever adds them up."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catclip.data.checking import spread
from catclip.data.checking.spread import Repeats, Spread

VALUES = st.lists(st.integers(0, 1 << 40) | st.integers(0, 2000), min_size=1, max_size=60)


def spread_of(values) -> Spread:
    made = Spread()
    for value in values:
        made.add(value)
    return made


@given(VALUES, st.sampled_from([0.05, 0.25, 0.5, 0.75, 0.95]))
def test_quantiles_are_numpys(values, share):
    made = spread_of(values)
    expected = int(np.quantile(values, share, method="inverted_cdf"))
    assert abs(made.quantile(share) - expected) <= (0 if expected < 1024 else expected / 1000)
    assert (made.least, made.most, made.count) == (min(values), max(values), len(values))
    assert made.mean == pytest.approx(sum(values) / len(values))


@given(VALUES, VALUES)
def test_spreads_add_up(some, others):
    added = spread_of(some)
    added.update(pickle.loads(pickle.dumps(spread_of(others))))
    added.update(Spread())
    assert vars(added) == vars(spread_of([*some, *others]))


@given(st.dictionaries(st.integers(0, 1500), st.integers(1, 9), max_size=20))
def test_values_with_their_numbers_are_those_values(counts):
    made = Spread()
    for value, times in counts.items():
        made.add(value, times)
    assert vars(made) == vars(spread_of([value for value, times in counts.items() for _ in range(times)]))
    assert made.number_of(7) == counts.get(7, 0)


def test_of_nothing_everything_is_zero():
    made = Spread()
    assert (made.least, made.most, made.mean, made.quantile(0.5), made.number_of(0)) == (0, 0, 0, 0, 0)


# ---- repeats --------------------------------------------------------------------------------------------------------


@given(st.lists(st.text(st.characters(), max_size=2), max_size=60), st.integers(0, 60))
def test_repeats_are_what_a_set_does_not_keep(texts, cut):
    parts = Repeats(), Repeats()
    for text in texts[:cut]:
        parts[0].add(text)
    for text in texts[cut:]:
        parts[1].add(text)
    parts[0].update(parts[1])
    assert parts[0].share == pytest.approx(1 - len(set(texts)) / len(texts) if texts else 0)


def test_beyond_what_is_held_they_are_estimated(monkeypatch):
    monkeypatch.setattr(spread, "_HELD", 2000)
    texts = [str(n % 30_000) for n in range(40_000)]  # 10,000 come twice: a quarter are repeats
    few, many = Repeats(), Repeats()
    for text in texts[:1000]:
        few.add(text)
    for text in texts[1000:]:
        many.add(text)
    for one, other in ((few, many), (many, few)):
        both = pickle.loads(pickle.dumps(one))
        both.update(other)
        assert len(both._seen) <= 2000
        assert both.share == pytest.approx(0.25, abs=0.03)

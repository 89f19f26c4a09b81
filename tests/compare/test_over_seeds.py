import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from catclip.compare.over_seeds import WIDEST, Ratio, ratio_of

positive = st.floats(1e-3, 1e3)


@given(st.lists(st.tuples(positive, positive), min_size=2, max_size=8))
def test_the_interval_is_scipys_of_the_logarithms(pairs):
    numerators, denominators = zip(*pairs, strict=True)
    found = ratio_of(numerators, denominators)
    logs = np.log(numerators) - np.log(denominators)
    test = stats.ttest_1samp(logs, 0) if logs.std() > 1e-9 else None
    assert found.value == pytest.approx(float(stats.gmean(numerators) / stats.gmean(denominators)))
    if test is not None:
        low, high = test.confidence_interval(0.95)
        # Beyond what floats hold the interval says nothing anyway.
        if max(abs(low), abs(high)) < 600:
            assert math.log(found.low) == pytest.approx(low, abs=1e-6)
            assert math.log(found.high) == pytest.approx(high, abs=1e-6)


def test_one_seed_has_no_interval():
    assert ratio_of([6.0], [3.0]) == (2.0, None, None)


@pytest.mark.parametrize(
    ("low", "high", "supported"),
    [(1.1, 1.5, True), (0.4, 0.6, True), (0.9, 1.2, False), (1.1, 1.1 * WIDEST * 1.01, False), (1.0, 1.0, True),
     (None, None, True)],
)  # fmt: skip
def test_what_may_be_printed(low, high, supported):
    assert Ratio(1.0, low, high).supported is supported

"""A ratio is told where the rounds support it, and nowhere else."""

import json

import numpy as np
import pytest

from catclip.compare.ratios import (
    EQUAL,
    FEW,
    SUPPORTED,
    UNCLEAR,
    median_figures,
    over_rounds,
    ratio_figures,
    ratio_text,
)

STEADY = [1.0, 1.01, 0.99, 1.0, 1.02, 0.98, 1.0]


def test_a_steady_ratio_is_told_with_its_interval():
    figures = ratio_figures("r", [2 * each for each in STEADY], STEADY[::-1])
    assert figures["r"] == pytest.approx(2)
    assert figures["r.low"] <= 2 <= figures["r.high"]
    assert figures["r.verdict"] == SUPPORTED
    assert ratio_text(figures, "r") == "2.00×"


@pytest.mark.parametrize(
    ("above", "verdict", "shown"),
    [
        (STEADY, EQUAL, "equal ("),
        ([0.5, 5, 1, 5, 1, 5, 3], UNCLEAR, "unclear ("),
        ([2, 2, 2, 2, 9, 9, 9], UNCLEAR, "more (1.96–9.09×)"),
        ([0.2, 0.2, 0.2, 0.2, 0.9, 0.9, 0.9], UNCLEAR, "less (0.20–0.91×)"),
        ([0.85, 0.9, 1, 1, 1, 1, 1.05], UNCLEAR, "unclear ("),  # as likely equal as not
    ],
)
def test_no_ratio_where_the_rounds_do_not_agree(above, verdict, shown):
    figures = ratio_figures("r", above, STEADY[::-1])
    assert "r" not in figures
    assert figures["r.verdict"] == verdict
    assert ratio_text(figures, "r").startswith(shown)


def test_one_round_is_too_few():
    figures = ratio_figures("r", [2.0], [1.0])
    assert figures == {"r.verdict": FEW}
    assert ratio_text(figures, "r") == FEW
    json.dumps(figures, allow_nan=False)


@pytest.mark.parametrize("rounds", [3, 5, 6, 7, 9, 15])
def test_the_interval_covers_the_true_ratio_about_as_often_as_it_says(rounds):
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        ratio, low, high = over_rounds(1.5 * rng.lognormal(0, 0.1, rounds), rng.lognormal(0, 0.1, rounds))
        assert low <= ratio <= high
        covered += low <= 1.5 <= high
    assert covered >= 368  # 380 expected of 400 at least, give or take 4.4


def test_one_round_in_nine_may_go_astray():
    """Another process took a core: on either side of the rest."""
    for astray in (0.2, 5.0):
        figures = ratio_figures("r", [2.0] * 8 + [2 * astray], [1.0] * 9)
        assert figures["r"] == 2
        assert figures["r.verdict"] == SUPPORTED


@pytest.mark.parametrize("rounds", [2, 3, 4, 5, 6, 7, 9])
def test_equal_sides_rarely_get_a_ratio_however_few_the_rounds(rounds):
    rng = np.random.default_rng(0)
    sides = np.exp(rng.normal(0, 0.03, (200, 2, rounds)))
    told = sum(ratio_figures("r", above, below)["r.verdict"] == SUPPORTED for above, below in sides)
    assert told <= 20  # 10 expected at most


@pytest.mark.parametrize("count", [4, 8])
def test_rounds_are_paired(count):
    """What slows both sides of a round down alike does not blur their ratio."""
    rounds = 2.0 ** np.arange(count)
    assert over_rounds(3 * rounds, rounds) == pytest.approx((3, 3, 3))


def test_spread_is_a_share_of_the_median():
    assert median_figures("x", [1.0, 4.0, 2.0]) == {"x": 2.0, "x.spread": 1.5}
    assert median_figures("x", [0.0, 0.0]) == {"x": 0.0, "x.spread": 0.0}

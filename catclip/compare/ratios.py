"""Ratios of measurements, and when there is none to tell.

In each round both sides took a turn, so each round has a ratio of its own, which what slows a round down as a whole
does not blur. What is told is their median, and only where the rounds support it: its 95 % interval must stay within
±20 % of it and on one side of 1. The interval goes from one of the rounds to another, those between which the median
lies however the ratios are distributed (order statistics); it takes `RANKED` rounds. Of fewer it is the geometric mean
with Student's interval, as over seeds.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binom

from catclip.compare.over_seeds import CONFIDENCE, Ratio, ratio_of

WIDEST = 0.2  # of the ratio, to either side
ALIKE = 0.05  # of 1, to either side: what lies within is called equal
SUPPORTED, EQUAL, UNCLEAR, FEW = "supported", "equal", "unclear", "too few rounds"
RANKED = 6  # rounds, at least: the fewest that all lie on one side of their median less than 5 % of the time


def ratio_figures(name: str, above: Sequence[float], below: Sequence[float]) -> dict[str, Any]:
    """Return the ratio of two measurements under a name, where it is supported.

    Args:
        name: the key.
        above, below: positive; the value of each round, of the same rounds.

    Returns:
        `<name>`, only if supported; `<name>.low` and `<name>.high`, the interval, of two rounds or more;
        `<name>.verdict`.
    """
    if len(above) < 2:
        return {f"{name}.verdict": FEW}
    ratio, low, high = over_rounds(above, below)
    assert low is not None
    assert high is not None
    verdict = SUPPORTED
    if 1 - ALIKE <= low <= 1 <= high <= 1 + ALIKE:
        verdict = EQUAL
    elif low <= 1 <= high or low < (1 - WIDEST) * ratio or high > (1 + WIDEST) * ratio:
        verdict = UNCLEAR
    figures: dict[str, Any] = {f"{name}.low": low, f"{name}.high": high, f"{name}.verdict": verdict}
    return {name: ratio, **figures} if verdict == SUPPORTED else figures


def over_rounds(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """Return the ratio, and between which values it lies with 95 % confidence; of two rounds or more."""
    assert len(above) == len(below) >= 2
    if len(above) < RANKED:
        return ratio_of(above, below)
    ratios = np.sort(np.asarray(above) / np.asarray(below))
    # That at most so many lie on one side of what they scatter around is less likely than half of the 5 %.
    left_out = int(binom.ppf((1 - CONFIDENCE) / 2, len(ratios), 0.5)) - 1
    return Ratio(float(np.median(ratios)), float(ratios[left_out]), float(ratios[-1 - left_out]))


def median_figures(name: str, values: Sequence[float]) -> dict[str, float]:
    """Return the median under a name, and `<name>.spread`, from the least to the largest, as a share of it."""
    median = float(np.median(values))
    return {name: median, f"{name}.spread": (max(values) - min(values)) / median if median else 0.0}


def ratio_text(results: dict[str, Any], name: str) -> str:
    """Return a ratio for people: `1.52×`; or why there is none, and which side of 1 it is on if that is clear."""
    if name in results:
        return f"{results[name]:.2f}×"
    verdict = results[f"{name}.verdict"]
    if verdict == FEW:
        return FEW
    low, high = results[f"{name}.low"], results[f"{name}.high"]
    if wide := wide_interval(results, name):
        verdict = "less" if wide[1] < 1 else "more"
    return f"{verdict} ({low:.2f}–{high:.2f}×)"


def wide_interval(results: dict[str, Any], name: str) -> tuple[float, float] | None:
    """Return the interval of a ratio that is too wide to tell it, but lies on one side of 1."""
    if results.get(f"{name}.verdict") != UNCLEAR:
        return None
    low, high = results[f"{name}.low"], results[f"{name}.high"]
    return None if low <= 1 <= high else (low, high)

"""Ratios of measurements, and when there is none to tell.

A ratio is that of the two medians over rounds, in which both sides took turns. It is told only where the rounds support
it: resampled (paired bootstrap, 95 % of the resamples), it must stay within ±20 % of itself and on one side of 1. A few
rounds are too few to resample: three of equal sides all lie on one side of 1 a quarter of the time, and so would their
resamples. Of fewer than `RESAMPLED` it is Student's interval, as over seeds.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import bootstrap

from catclip.compare.over_seeds import CONFIDENCE, ratio_of

WIDEST = 0.2  # of the ratio, to either side
SUPPORTED, EQUAL, UNCLEAR, FEW = "supported", "equal", "unclear", "too few rounds"
RESAMPLED = 6  # rounds, at least: the fewest that are all on one side of 1 by chance less than 5 % of the time
_RESAMPLES = 2000


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
    low, high = interval(above, below)
    ratio = float(np.median(above) / np.median(below))
    verdict = SUPPORTED
    if low < (1 - WIDEST) * ratio or high > (1 + WIDEST) * ratio:
        verdict = UNCLEAR
    elif low <= 1 <= high:
        verdict = EQUAL
    figures: dict[str, Any] = {f"{name}.low": low, f"{name}.high": high, f"{name}.verdict": verdict}
    return {name: ratio, **figures} if verdict == SUPPORTED else figures


def interval(above: Sequence[float], below: Sequence[float]) -> tuple[float, float]:
    """Return between which values the ratio lies, with 95 % confidence; of two rounds or more."""
    assert len(above) == len(below) >= 2
    if len(above) < RESAMPLED:
        _, low, high = ratio_of(above, below)
        assert low is not None
        assert high is not None
        return low, high
    found = bootstrap(
        (np.asarray(above), np.asarray(below)), _ratio, paired=True, vectorized=True, n_resamples=_RESAMPLES,
        confidence_level=CONFIDENCE, method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def _ratio(above: np.ndarray, below: np.ndarray, axis: int) -> np.ndarray:
    return np.median(above, axis=axis) / np.median(below, axis=axis)


def median_figures(name: str, values: Sequence[float]) -> dict[str, float]:
    """Return the median under a name, and `<name>.spread`, from the least to the largest, as a share of it."""
    median = float(np.median(values))
    return {name: median, f"{name}.spread": (max(values) - min(values)) / median if median else 0.0}


def ratio_text(results: dict[str, Any], name: str) -> str:
    """Return a ratio for people: `1.52×`, or why there is none."""
    if name in results:
        return f"{results[name]:.2f}×"
    verdict = results[f"{name}.verdict"]
    if verdict == FEW:
        return FEW
    return f"{verdict} ({results[f'{name}.low']:.2f}–{results[f'{name}.high']:.2f}×)"

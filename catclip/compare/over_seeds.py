"""Ratios over seeds: how large, how sure, and whether the seeds agree well enough to print one."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from scipy.special import stdtrit

CONFIDENCE = 0.95
WIDEST = 2.0  # the interval's upper end divided by its lower end


class Ratio(NamedTuple):
    """The geometric mean of the seeds' ratios, and its confidence interval.

    Attributes:
        low, high: of the interval; None of one seed, which says nothing of the spread.
    """

    value: float
    low: float | None
    high: float | None

    @property
    def supported(self) -> bool:
        """Whether it may be printed: the interval lies on one side of 1 and spans at most a factor of `WIDEST`.

        Of one seed it may, as what that seed gave.
        """
        if self.low is None or self.high is None or self.low == self.high:
            return True
        return (self.low > 1 or self.high < 1) and self.high / self.low <= WIDEST


def ratio_of(numerators: Sequence[float], denominators: Sequence[float]) -> Ratio:
    """The ratio of paired figures, a pair a seed, all above 0; Student's interval for the mean of the logarithms."""
    if len(numerators) == 1:
        return Ratio(numerators[0] / denominators[0], None, None)
    logs = [math.log(one / other) for one, other in zip(numerators, denominators, strict=True)]
    mean = statistics.fmean(logs)
    half = float(stdtrit(len(logs) - 1, (1 + CONFIDENCE) / 2)) * statistics.stdev(logs) / math.sqrt(len(logs))
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half))

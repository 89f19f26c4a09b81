"""Durations of a run: a number of steps, or text: `500 steps`, `64000 samples`, `2 epochs`, `5%` of the run."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from catclip.config import RunConfig
from catclip.errors import UserError

_TEXT = re.compile(r"(?P<amount>[\d_.]+(?:e[+-]?\d+)?)\s*(?P<unit>steps?|samples?|epochs?|%)?")
_FORMS = 'a number of steps, or "500 steps", "64000 samples", "2 epochs", or "5%" of the run'


@dataclass(frozen=True)
class Duration:
    """An amount, 0 or more, of a unit: `steps`, `samples`, `epochs` or `%`."""

    amount: Fraction
    unit: str
    key: str = ""  # of the configuration, for messages
    text: str = ""  # as it was written there


@dataclass(frozen=True)
class Length:
    """A run's whole length, in which durations are measured.

    Args:
        steps: of the run.
        epoch: samples of an epoch.
        seen: samples of all ranks after t steps, unreadable ones too; it never falls.
    """

    steps: int
    epoch: int
    seen: Callable[[int], int]

    def progress(self, step: int, unit: str) -> Fraction:
        """How many of a unit have gone by after `step` steps."""
        if unit == "steps":
            return Fraction(step)
        if unit == "%":
            return Fraction(100 * step, self.steps)
        return Fraction(self.seen(step), 1 if unit == "samples" else self.epoch)


def parse_duration(value: object, key: str) -> Duration:
    """Read a duration of the configuration.

    Args:
        value: a number of steps, or text.
        key: what the user calls it.

    Raises:
        UserError: it is no duration.
    """
    found = None if isinstance(value, bool) else _TEXT.fullmatch(str(value).strip())
    try:
        amount = Fraction(found["amount"]) if found else None
    except ValueError:
        amount = None
    if found is None or amount is None:
        raise UserError(f"{key}={value} is no duration: give {_FORMS}.")
    unit = "%" if found["unit"] == "%" else (found["unit"] or "steps").removesuffix("s") + "s"
    if unit == "steps" and amount.denominator > 1:
        share = f" (a share of the run is {float(100 * amount):g}%)" if amount < 1 else ""
        raise UserError(f"{key}={value} is no whole number of steps{share}: give {_FORMS}.")
    return Duration(amount, unit, key, str(value))


def parse_interval(value: object, key: str) -> Duration:
    """As `parse_duration`, of what comes again and again.

    Raises:
        UserError: it is no duration, or 0.
    """
    interval = parse_duration(value, key)
    if interval.amount == 0:
        raise UserError(f"{key}={value} must be above 0.")
    return interval


def run_length(run: RunConfig, epoch: int, seen_in: Callable[[int], Callable[[int], int]] | None = None) -> Length:
    """The length that a run was given.

    Args:
        run: its configuration.
        epoch: samples of an epoch.
        seen_in: `seen_in(S)(t)` are the samples of the first t steps of a run of S; None: `run.batch` in each.

    Raises:
        UserError: not exactly one of steps, samples and epochs is given, or it is not positive.
    """
    given = {name: getattr(run, name) for name in ("steps", "samples", "epochs") if getattr(run, name) is not None}
    if len(given) != 1:
        said = ", ".join(f"run.{name}={value}" for name, value in given.items()) or "none"
        advice = "; take back the others, as by run.epochs=null" if given else ""
        raise UserError(
            f"Give the run's length as exactly one of run.steps, run.samples, run.epochs (given: {said}){advice}."
        )
    ((name, value),) = given.items()
    if not 0 < value < math.inf or run.batch <= 0:
        raise UserError(f"run.{name}={value} and run.batch={run.batch} must be positive.")

    def constant(steps: int) -> Callable[[int], int]:
        return lambda step: step * run.batch

    seen_in = seen_in or constant
    samples = value * (epoch if name == "epochs" else 1)
    steps = value if name == "steps" else max(1, steps_of(samples, lambda each: seen_in(each)(each)))
    return Length(steps, epoch, seen_in(steps))


def in_steps(duration: Duration, length: Length) -> int:
    """The number of steps that comes nearest to a duration.

    Raises:
        UserError: it is longer than the run.
    """
    if duration.unit in ("steps", "%"):
        steps = duration.amount if duration.unit == "steps" else duration.amount * length.steps / 100
        nearest = round(steps)
    else:
        samples = duration.amount * (1 if duration.unit == "samples" else length.epoch)
        nearest = steps_of(samples, length.seen)
    if nearest > length.steps:
        raise UserError(
            f"{duration.key}={duration.text} are {nearest:,} steps, and the run has {length.steps:,}. "
            f"Give less, or a share: {duration.key}=5%."
        )
    return nearest


def steps_of(samples: Fraction | float, seen: Callable[[int], int]) -> int:
    """The number of steps after which the samples seen are nearest to `samples`; `seen(t)` are those of t steps."""
    above = 1
    while seen(above) < samples:
        above *= 2
    below = above // 2  # seen(below) < samples <= seen(above), but for 0 samples
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if seen(middle) < samples else (below, middle)
    return below if samples - seen(below) <= seen(above) - samples else above


class Every:
    """Whether a step is the one with which another stretch of `interval` is complete.

    Args:
        interval: above 0; None: never.
        length: of the run.
    """

    def __init__(self, interval: Duration | None, length: Length) -> None:
        self._interval, self._length = interval, length

    def __call__(self, step: int) -> bool:
        return step > 0 and self._passed(step) > self._passed(step - 1)

    def _passed(self, step: int) -> int:
        """How many stretches are complete after `step` steps."""
        if self._interval is None:
            return 0
        return math.floor(self._length.progress(step, self._interval.unit) / self._interval.amount)

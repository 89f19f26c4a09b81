from fractions import Fraction
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catclip.config import RunConfig
from catclip.errors import UserError
from catclip.train.durations import (
    Duration,
    Every,
    Length,
    in_steps,
    parse_duration,
    parse_interval,
    run_length,
    steps_of,
)


def constant(steps: int, batch: int = 10, epoch: int = 480) -> Length:
    return Length(steps, epoch, lambda t: t * batch)


@pytest.mark.parametrize(
    ("value", "amount", "unit"),
    [
        (500, 500, "steps"),
        (500.0, 500, "steps"),
        ("500", 500, "steps"),
        ("1 step", 1, "steps"),
        ("500steps", 500, "steps"),
        ("64_000 samples", 64000, "samples"),
        ("1e6 samples", 1000000, "samples"),
        ("1 sample", 1, "samples"),
        ("2 epochs", 2, "epochs"),
        ("0.1 epoch", Fraction(1, 10), "epochs"),
        (" 5% ", 5, "%"),
        ("2.5 %", Fraction(5, 2), "%"),
        (0, 0, "steps"),
    ],
)
def test_what_is_a_duration(value, amount, unit):
    duration = parse_duration(value, "run.key")
    assert (duration.amount, duration.unit) == (amount, unit)


@pytest.mark.parametrize("value", ["", "5 minutes", "steps", "-3", -3, "1.2.3 epochs", "% 5", "5 %%", None, True, [3]])
def test_what_is_none_is_said_with_its_key(value):
    with pytest.raises(UserError, match=r"run\.key=.* is no duration: give a number of steps, or"):
        parse_duration(value, "run.key")


def test_a_share_that_was_meant_is_guessed():
    with pytest.raises(
        UserError, match=r"optim\.warmup=0\.05 is no whole number of steps \(a share of the run is 5%\)"
    ):
        parse_duration(0.05, "optim.warmup")
    with pytest.raises(UserError, match=r"=1\.5 steps is no whole number of steps: give"):
        parse_duration("1.5 steps", "optim.warmup")


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("7", 7),
        ("5%", 5),
        ("100%", 100),
        ("0%", 0),
        ("104 samples", 10),
        ("106 samples", 11),
        ("2 epochs", 96),
        ("0", 0),
    ],
)
def test_in_steps(text, steps):
    assert in_steps(parse_duration(text, "k"), constant(100)) == steps


def test_a_duration_longer_than_the_run_is_refused():
    with pytest.raises(UserError, match=r"optim\.warmup=3 epochs are 144 steps, and the run has 100\."):
        in_steps(parse_duration("3 epochs", "optim.warmup"), constant(100))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(0, 500))
def test_steps_of_samples_when_batches_differ(batches, samples):
    """Against trying every number of steps. The batches come again and again."""
    seen = lambda t: sum(batches) * (t // len(batches)) + sum(batches[: t % len(batches)])  # noqa: E731
    best = min(range(samples + 2), key=lambda t: (abs(seen(t) - samples), t))
    assert steps_of(samples, seen) == best


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=60),
    st.sampled_from(["steps", "samples", "epochs", "%"]),
    st.fractions(min_value=Fraction(1, 20), max_value=120, max_denominator=20),
)
def test_every_is_due_with_the_step_that_completes_a_stretch(batches, unit, amount):
    """Against marks at amount, 2 · amount …, each due at the first step that reaches it."""
    totals = [0, *accumulate(batches)]
    steps, epoch = len(batches), 70
    scale = {
        "steps": range(steps + 1),
        "samples": totals,
        "epochs": [Fraction(total, epoch) for total in totals],
        "%": [Fraction(100 * step, steps) for step in range(steps + 1)],
    }[unit]
    due = Every(Duration(amount, unit), Length(steps, epoch, totals.__getitem__))
    marks, expected = 1, []
    for step in range(1, steps + 1):
        if scale[step] >= marks * amount:
            expected.append(step)
            while scale[step] >= marks * amount:
                marks += 1
    assert [step for step in range(steps + 1) if due(step)] == expected


def test_shares_end_with_the_run():
    for steps in (1, 3, 7, 10, 100, 1001):
        due = [step for step in range(steps + 1) if Every(parse_duration("20%", "k"), constant(steps))(step)]
        assert due[-1] == steps
        assert len(due) == min(5, steps)


def test_never_and_nothing():
    assert not any(Every(None, constant(10))(step) for step in range(11))
    with pytest.raises(UserError, match=r"run\.evaluate_every=0% must be above 0"):
        parse_interval("0%", "run.evaluate_every")


@pytest.mark.parametrize(
    ("length", "steps"),
    [
        ({"steps": 7}, 7),
        ({"samples": 100}, 10),
        ({"samples": 104}, 10),
        ({"samples": 1}, 1),
        ({"epochs": 2}, 10),
        ({"epochs": 0.5}, 2),
        ({"epochs": 1e-6}, 1),
    ],
)
def test_length_of_a_run(length, steps):
    assert run_length(RunConfig(batch=10, **length), epoch=48).steps == steps


def test_length_of_a_run_whose_batches_grow():
    """The second half of the steps has batches twice as large, however many steps there are."""

    def seen_in(steps: int):
        return lambda step: 10 * step + 10 * max(0, step - steps // 2)

    length = run_length(RunConfig(samples=300), epoch=150, seen_in=seen_in)
    assert (length.steps, length.seen(10), length.seen(20)) == (20, 100, 300)
    assert run_length(RunConfig(epochs=2), epoch=150, seen_in=seen_in).steps == 20
    assert in_steps(parse_duration("1 epochs", "k"), length) == 12  # 100 of ten steps, and 20 of each after
    assert run_length(RunConfig(steps=4), epoch=150, seen_in=seen_in).seen(4) == 60


@pytest.mark.parametrize(
    ("length", "said"),
    [
        ({}, "given: none"),
        ({"steps": 7, "epochs": 1}, r"given: run\.steps=7, run\.epochs=1"),
        ({"steps": 0}, r"run\.steps=0"),
        ({"epochs": -1.0}, r"run\.epochs=-1"),
        ({"epochs": float("nan")}, r"run\.epochs=nan"),
        ({"epochs": float("inf")}, r"run\.epochs=inf"),
        ({"steps": 3, "batch": 0}, r"run\.batch=0"),
    ],
)
def test_length_that_makes_no_sense(length, said):
    with pytest.raises(UserError, match=said):
        run_length(RunConfig(**length), epoch=48)

"""The largest batch is found whatever memory does with size, and without harm to the process that looks for it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from catclip.compare import best_batch
from catclip.compare.best_batch import (
    CLOSE,
    Trial,
    batch_figures,
    largest_that_fits,
    memory_budget,
    repeated,
    try_batch,
)
from catclip.config import MeasureConfig
from catclip.data.micro import split_batch
from catclip.errors import UserError
from tests import tiny

CPU = torch.device("cpu")


@given(
    limit=st.integers(0, 10**6),
    start=st.integers(1, 4096),
    fixed=st.floats(0, 0.9),
    noise=st.lists(st.floats(0.9, 1), min_size=64, max_size=64),
)
def test_the_largest_size_is_found_in_few_trials(limit, start, fixed, noise):
    """Of memory that is fixed in part, not quite linear, and not known to more than 10 %."""
    tried = []

    def share(size):
        tried.append(size)
        line = fixed + (1 - fixed) * size / max(1, limit)
        return line * noise[len(tried) % 64] if size <= limit else None

    found = largest_that_fits(share, start)
    assert found <= limit < found + max(1, found // CLOSE) + 1
    assert len(tried) == len(set(tried)) <= 50


def test_a_batch_repeated(glyphs):
    config = tiny.config("categorical", glyphs)
    (batch,) = tiny.batches(config, tiny.build(config), 1)
    whole = repeated(batch, 20)
    first, second, rest = batch, batch, split_batch(batch, 2)[0]
    tiny.assert_same(whole, tiny.joined([first, second, rest]))


def test_figures_come_from_trials_in_turn(glyphs, monkeypatch):
    turns = []

    def trial(config, device, size, budget, steps):
        slow = "Contrastive" in config.objective["_target_"]
        limit = 100 if slow else 400
        turns.append((slow, size))
        assert budget <= 1000
        return Trial(1000 * size // limit, 0.001 * size) if size <= limit else Trial(None, 0.0)

    monkeypatch.setattr(best_batch, "try_batch", trial)
    configs = {name: tiny.config(name, glyphs) for name in tiny.OBJECTIVES}
    figures = batch_figures(configs, CPU, MeasureConfig(rounds=4, memory="1kB"))
    assert figures["batch.memory_bytes"] == 1000
    assert 370 < figures["batch.categorical.largest"] <= 400
    assert 93 < figures["batch.contrastive.largest"] <= 100
    assert figures["batch.contrastive.limited_by"] == "memory"
    assert figures["batch.categorical.images_per_second"] == pytest.approx(1000)
    assert figures["batch.ratio.contrastive_to_categorical.images_per_second.verdict"] == "equal"
    assert [slow for slow, _ in turns[-8:]] == [True, False, False, True] * 2


def test_what_fits_once_and_not_again_becomes_smaller(glyphs, monkeypatch):
    tried = []

    def trial(config, device, size, budget, steps):
        tried.append(size)
        return Trial(size, 0.001) if size <= (160 if len(tried) < 12 else 150) else Trial(None, 0.0)

    monkeypatch.setattr(best_batch, "try_batch", trial)
    configs = {"a": tiny.config("categorical", glyphs)}
    figures = batch_figures(configs, CPU, MeasureConfig(rounds=10, memory="1kB"))
    assert max(tried[:10]) > 150
    assert 135 < figures["batch.a.largest"] <= 150
    assert tried[-10:] == [figures["batch.a.largest"]] * 10
    monkeypatch.setattr(best_batch, "_measure", lambda *_: "a")
    with pytest.raises(UserError, match="does not fit again, even as smaller batches"):
        batch_figures(configs, CPU, MeasureConfig(rounds=2, memory="1kB"))


def test_slow_steps_end_the_search(glyphs, monkeypatch):
    monkeypatch.setattr(best_batch, "try_batch", lambda _, __, size, *___: Trial(1, 0.5 * size))
    figures = batch_figures({"a": tiny.config("categorical", glyphs)}, CPU, MeasureConfig(rounds=1, memory="1kB"))
    assert figures["batch.a.largest"] in (19, 20)
    assert figures["batch.a.limited_by"] == "seconds"


def test_what_cannot_fit_is_the_users_error(glyphs, monkeypatch):
    monkeypatch.setattr(best_batch, "try_batch", lambda *_: Trial(None, 0.0))
    with pytest.raises(UserError, match=r"not even a batch of one picture fits compare\.memory=1kB"):
        batch_figures({"a": tiny.config("categorical", glyphs)}, CPU, MeasureConfig(memory="1kB"))


def test_the_budget():
    assert memory_budget("1MB", CPU) == 10**6
    assert memory_budget(None, CPU) > 10**6
    with pytest.raises(UserError, match="is more than the"):
        memory_budget("9000TB", CPU)
    with pytest.raises(UserError, match=r"compare\.memory=much is no size"):
        memory_budget("much", CPU)


@pytest.mark.slow
def test_a_process_that_runs_out_of_memory_harms_nobody(glyphs):
    config = tiny.config("categorical", glyphs)
    fits, does_not = (try_batch(config, CPU, size, 400_000_000, 1) for size in (8, 100_000))
    assert fits.memory is not None
    assert 0 < fits.memory < 400_000_000
    assert fits.seconds > 0
    assert does_not.memory is None


@pytest.mark.slow
def test_a_killed_process_is_one_that_does_not_fit(glyphs, monkeypatch):
    monkeypatch.setattr(best_batch, "_try", _killed)
    assert try_batch(tiny.config("categorical", glyphs), CPU, 8, 10**9, 1) == Trial(None, 0.0)


def _killed(*_):
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)

"""Interrupted, a run must end exactly as if nothing had happened."""

import json
import math
import os
import signal
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from catclip.errors import UserError
from catclip.train.checkpoint import list_checkpoints
from catclip.train.memory import memory_bytes
from catclip.train.signals import stop_signal
from catclip.train.track import Tracker, read_metrics
from catclip.train.trainer import Trainer
from catclip.verbs.training import train
from tests import tiny
from tests.tiny import OBJECTIVES, assert_same

STEPS = 8
# What depends on the clock or the process, and may differ.
CLOCKS = {"seconds", "images_per_second", "data_wait", "memory", "step_milliseconds"}
# Dropout and drop path: the randomness inside a step must resume too. Evaluations draw random numbers in between.
SETTINGS = {
    "steps": STEPS, "checkpoint_every": 3, "keep": 3, "evaluate_every": "25%",
    "options": {"proj_drop_rate": 0.2, "drop_path_rate": 0.2}, "optim": {"ema": 0.1, "lr": 3e-3},
}  # fmt: skip


class Killed(BaseException):
    """As SIGKILL: nothing may catch it."""


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, action) -> None:
    """Do something when a trainer has made a step."""
    original = Trainer.step

    def stepped(self, batch):
        logged = original(self, batch)
        if self.step_number == step:
            action()
        return logged

    monkeypatch.setattr(Trainer, "step", stepped)


def kill():
    raise Killed


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def run(config, out: Path, name: str = "run"):
    return train({name: config}, {name: out}, "training")


def final(out: Path) -> dict:
    last = list_checkpoints(out / "checkpoints")[-1]
    return {
        "name": last.name,
        "last": load_file(last / "last.safetensors"),
        "ema": load_file(last / "ema.safetensors"),
        "training": torch.load(last / "training.pt", weights_only=True),
        "metrics": [without_clocks(row) for row in read_metrics(out / "metrics.jsonl")],
        "summary": without_clocks(json.loads((out / "summary.json").read_text())),
    }


def without_clocks(row: dict) -> dict:
    return {key: value for key, value in row.items() if key not in CLOCKS}


@pytest.fixture(scope="module", params=OBJECTIVES)
def uninterrupted(request, glyphs, tmp_path_factory):
    """Configuration and result of a run that nothing stopped."""
    out = tmp_path_factory.mktemp(request.param) / "run"
    val = {"val": str(glyphs / "val-*.tar")}
    config = tiny.config(request.param, glyphs, data=val, **SETTINGS)
    run(config, out)
    return config, final(out)


def test_uninterrupted_run_logs_every_step_and_evaluates_as_asked(uninterrupted):
    config, result = uninterrupted
    trained = [row["step"] for row in result["metrics"] if "loss" in row]
    evaluated = [row["step"] for row in result["metrics"] if "loss" not in row]
    assert trained == list(range(1, STEPS + 1))
    assert evaluated == [0, 2, 4, 6, 8]
    figure = "map" if "vocabulary" in config.objective else "image_to_text_recall_at_10"
    assert figure in result["summary"]
    assert result["name"] == f"step-{STEPS}"


@pytest.mark.parametrize("stops", [(1,), (3,), (5,), (7,), (2, 4, 7)])
def test_a_killed_run_ends_the_same(uninterrupted, tmp_path, stops):
    config, expected = uninterrupted
    for stop in stops:
        with pytest.MonkeyPatch.context() as patch:
            at_step(patch, stop, kill)
            with pytest.raises(Killed):
                run(config, tmp_path / "run")
    (resumed,) = run(config, tmp_path / "run")
    assert resumed.trainer.step_number == STEPS
    assert_same(final(tmp_path / "run"), expected)


@pytest.mark.parametrize("stop", [1, 4])
def test_a_terminated_run_leaves_a_checkpoint_and_ends_the_same(uninterrupted, tmp_path, stop, capsys):
    config, expected = uninterrupted
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, stop, terminate)
        with pytest.raises(SystemExit) as ended:
            run(config, tmp_path / "run")
    assert ended.value.code == 75
    assert list_checkpoints(tmp_path / "run" / "checkpoints")[-1].name == f"step-{stop}"
    assert not (tmp_path / "run" / "summary.json").exists()
    assert f"Stopped by SIGTERM after step {stop}" in capsys.readouterr().out
    run(config, tmp_path / "run")
    assert f"Resuming after step {stop} of {STEPS}" in capsys.readouterr().out
    assert_same(final(tmp_path / "run"), expected)


def test_a_signal_in_the_last_step_lets_the_run_end(uninterrupted, tmp_path, monkeypatch):
    config, expected = uninterrupted
    at_step(monkeypatch, STEPS, terminate)
    run(config, tmp_path / "run")
    assert_same(final(tmp_path / "run"), expected)


def test_a_run_killed_before_its_summary_gets_it_without_a_step(uninterrupted, tmp_path, monkeypatch):
    config, expected = uninterrupted
    run(config, tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    monkeypatch.setattr(Trainer, "step", lambda *_: pytest.fail("nothing is left to train"))
    run(config, tmp_path / "run")
    assert_same(final(tmp_path / "run"), expected)


def with_workers(config, workers: int):
    return replace(config, data=replace(config.data, workers=workers))


def test_workers_make_the_same_batches(uninterrupted, tmp_path):
    config, expected = uninterrupted
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 4, terminate)
        with pytest.raises(SystemExit):
            run(with_workers(config, 2), tmp_path / "run")
    run(with_workers(config, 1), tmp_path / "run")
    assert_same(final(tmp_path / "run"), expected)


def test_a_half_written_checkpoint_is_ignored(uninterrupted, tmp_path):
    config, expected = uninterrupted
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 5, kill)
        with pytest.raises(Killed):
            run(config, tmp_path / "run")
    checkpoints = tmp_path / "run" / "checkpoints"
    (checkpoints / ".step-5.partial").mkdir()
    (checkpoints / ".step-5.partial" / "last.safetensors").write_bytes(b"half")
    run(config, tmp_path / "run")
    assert_same(final(tmp_path / "run"), expected)
    assert not list(checkpoints.glob(".*"))


def test_a_full_disk_stops_the_run_which_resumes_when_there_is_room(uninterrupted, tmp_path):
    config, expected = uninterrupted

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 5, lambda: patch.setattr("catclip.train.checkpoint.save_file", full))
        with pytest.raises(UserError, match=r"step 6 could not be written.*No space left"):
            run(config, tmp_path / "run")
    assert [path.name for path in list_checkpoints(tmp_path / "run" / "checkpoints")] == ["step-3"]
    run(config, tmp_path / "run")
    assert_same(final(tmp_path / "run"), expected)


# ---------------------------------------------------------------- what is kept, and what stops a run


def test_only_the_last_checkpoints_are_kept(glyphs, tmp_path):
    run(tiny.config("categorical", glyphs, steps=7, checkpoint_every=2, keep=2), tmp_path / "run")
    assert {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()} == {"step-6", "step-7"}


def poison(monkeypatch: pytest.MonkeyPatch, step: int, where: str) -> None:
    """Make the loss, or only the gradient, of a step infinite."""
    original = Trainer.step

    def poisoned(self, batch):
        if self.step_number + 1 == step:
            weight = self.objective.head.weight
            if where == "loss":
                with torch.no_grad():
                    weight[0, 0] = float("nan")
            else:
                handle = weight.register_hook(lambda gradient: gradient * float("inf"))
        logged = original(self, batch)
        if self.step_number == step and where == "gradient":
            handle.remove()
        return logged

    monkeypatch.setattr(Trainer, "step", poisoned)


@pytest.mark.parametrize(("where", "said"), [("loss", "the loss is nan"), ("gradient", "the norm of the gradient is")])
@pytest.mark.parametrize(("log_every", "evaluate_every"), [(1, None), (100, "25%"), (100, None)])
def test_a_loss_that_is_not_finite_stops_the_run_before_it_is_saved(
    glyphs, tmp_path, monkeypatch, where, said, log_every, evaluate_every
):
    """Whichever comes first: logging, evaluating or saving."""
    config = tiny.config("categorical", glyphs, data={"val": str(glyphs / "val-*.tar")}, track={"log_every": log_every},
                         evaluate_every=evaluate_every, checkpoint_every=2, keep=5)  # fmt: skip
    poison(monkeypatch, 4, where)
    with pytest.raises(UserError, match=rf"run: {said}.*step 4.*optim\.lr.*checkpoints from before are intact"):
        run(config, tmp_path / "run")
    (left,) = list_checkpoints(tmp_path / "run" / "checkpoints")
    assert left.name == "step-2"
    assert all(torch.isfinite(tensor).all() for tensor in load_file(left / "last.safetensors").values())
    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text


def test_the_pictures_of_a_step_that_is_not_finite_are_named(glyphs, tmp_path, monkeypatch):
    """Also where it was not the latest when the run looked."""
    config = tiny.config("categorical", glyphs, track={"log_every": 8})
    poison(monkeypatch, 4, "gradient")
    with pytest.raises(UserError, match="step 4") as raised:
        run(config, tmp_path / "run")
    file = tmp_path / "run" / "nonfinite-step-4.json"
    assert str(file) in str(raised.value)
    assert json.loads(file.read_text())["keys"] == tiny.batches(config, tiny.build(config), 4)[3]["keys"]


def test_steps_that_are_not_finite_can_be_left_out(glyphs, tmp_path, monkeypatch):
    """Such a step changes neither weights nor moments nor averages, and is counted."""
    config = tiny.config("categorical", glyphs, skip_nonfinite=1, checkpoint_every=1, keep=9, optim={"ema": 0.1})
    poison(monkeypatch, 4, "gradient")
    run(config, tmp_path / "run")
    before, after = (tmp_path / "run" / "checkpoints" / f"step-{step}" for step in (3, 4))
    for name in ("last", "ema"):
        assert_same(load_file(after / f"{name}.safetensors"), load_file(before / f"{name}.safetensors"))
    states = [torch.load(path / "training.pt", weights_only=True) for path in (before, after)]
    assert_same(*(state["optimizer"]["state"] for state in states))
    assert states[0]["averaged_steps"] == states[1]["averaged_steps"]
    assert (tmp_path / "run" / "nonfinite-step-4.json").exists()
    rows = {row["step"]: row for row in read_metrics(tmp_path / "run" / "metrics.jsonl")}
    assert "grad_norm" not in rows[4]
    assert "grad_norm" in rows[5]
    assert [rows[step].get("nonfinite_steps", 0) for step in range(1, 9)] == [0, 0, 0, 1, 1, 1, 1, 1]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["nonfinite_steps"] == 1


def test_one_more_than_may_be_left_out_stops_the_run(glyphs, tmp_path, monkeypatch):
    config = tiny.config("categorical", glyphs, skip_nonfinite=1)
    poison(monkeypatch, 4, "gradient")
    poison(monkeypatch, 6, "gradient")
    with pytest.raises(UserError, match=r"at step 6\. Such steps are 2 now; run\.skip_nonfinite=1"):
        run(config, tmp_path / "run")


@pytest.mark.parametrize(
    ("said", "error"),
    [("CUDA out of memory", torch.OutOfMemoryError("CUDA out of memory. Tried")), ("tried to allocate", None)],
)
def test_memory_that_runs_out_is_one_message_and_the_last_checkpoint_stays(glyphs, tmp_path, monkeypatch, said, error):
    def exhaust():
        if error:
            raise error
        torch.empty(1 << 60, dtype=torch.uint8)

    config = tiny.config("categorical", glyphs, checkpoint_every=2)
    at_step(monkeypatch, 3, exhaust)
    with pytest.raises(UserError, match=rf"Out of memory on cpu, with batches of 8 pictures of 32 × 32 .*GiB.*{said}"):
        run(config, tmp_path / "run")
    assert [path.name for path in list_checkpoints(tmp_path / "run" / "checkpoints")] == ["step-2"]


def test_the_best_checkpoint_is_kept_beside_the_last(glyphs, tmp_path):
    """Evaluations at steps 2, 4, 6 and 8, the second the best: its step gets a checkpoint, and keeps it."""
    config = tiny.config("categorical", glyphs, checkpoint_every=100, keep=1, best="score",
                         evaluators={"score": {"_target_": "tests.train.test_fit.Scores", "every": 2}})  # fmt: skip
    (done,) = run(config, tmp_path / "run")
    assert [path.name for path in list_checkpoints(tmp_path / "run" / "checkpoints")] == ["step-4", "step-8"]
    assert (done.summary()["best_step"], done.summary()["best_value"]) == (4, 0.9)
    with pytest.raises(UserError, match=r"run\.best=map is measured by no evaluator: score"):
        run(replace(config, run=replace(config.run, best="map")), tmp_path / "other")


class Scores:
    """An evaluator that finds something else each time."""

    def __init__(self, config, device):
        # The first is of an untrained model, which has no checkpoint; what is no number is never the best.
        self.found = iter([0.95, 0.5, 0.9, math.nan, 0.6])

    def __call__(self, objective):
        yield "score", next(self.found)


def test_samples_that_cannot_be_read_are_counted_over_the_whole_run(glyphs, tmp_path):
    import io
    import tarfile

    bad = tmp_path / "train-bad.tar"
    with tarfile.open(bad, "w") as tar:
        for key, data in (("a.jpg", b"no picture"), ("a.json", b'{"captions": ["a cat"]}')):
            info = tarfile.TarInfo(key)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    sources = [str(glyphs / "train-*.tar"), str(bad)]
    # 98 samples: both epochs, and so two that cannot be read. The first epoch ends in step 7.
    config = tiny.config(
        "categorical", glyphs, data={"sources": sources, "max_bad": 0.05}, steps=14, batch=7, checkpoint_every=100
    )
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 7, terminate)
        with pytest.raises(SystemExit):
            run(config, tmp_path / "run")
    run(config, tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["skipped_samples"] == 2
    assert list(summary["skipped"].values()) == [2]
    assert summary["samples"] == 96


# ---------------------------------------------------------------- signals and memory


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_signals_are_collected_and_handlers_put_back(number):
    before = signal.getsignal(number)
    with stop_signal() as stopped:
        assert not stopped
        os.kill(os.getpid(), number)
        assert stopped == [signal.Signals(number).name]
    assert signal.getsignal(number) is before


def test_a_second_interrupt_does_not_wait_for_the_step():
    with stop_signal():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("action", "failed"), [(None, [False]), (kill, [True]), (terminate, [True])], ids=["done", "error", "signal"]
)
def test_trackers_are_closed_however_a_run_ends(glyphs, tmp_path, monkeypatch, action, failed):
    opened, finished = [], []
    wandb = SimpleNamespace(log=lambda *_, **__: None, finish=lambda exit_code: finished.append(bool(exit_code)))
    original = Tracker.__init__

    def begin(self, *arguments):
        original(self, *arguments)
        self.wandb = wandb
        opened.append(self)

    monkeypatch.setattr(Tracker, "__init__", begin)
    if action:
        at_step(monkeypatch, 2, action)
    config = tiny.config("categorical", glyphs, steps=3)
    with nullcontext() if action is None else pytest.raises((Killed, SystemExit)):
        run(config, tmp_path / "run")
    assert finished == failed
    assert [tracker.file.closed for tracker in opened] == [True]


def test_a_tracker_is_not_left_open_by_what_fails_before_the_first_step(glyphs, tmp_path, monkeypatch):
    opened, original = [], Tracker.__init__
    monkeypatch.setattr(Tracker, "__init__", lambda self, *them: opened.append(self) or original(self, *them))
    config = tiny.config("categorical", glyphs, data={"crop_scale": [0.5, 0.1]})
    with pytest.raises(UserError, match=r"data\.crop_scale"):
        run(config, tmp_path / "run")
    assert all(tracker.file.closed for tracker in opened)


@pytest.mark.slow
def test_memory_is_of_this_process_and_not_of_the_one_that_started_it():
    """A process inherits its starter's peak in what getrusage says."""
    import subprocess
    import sys

    ballast = bytearray(os.urandom(1) * 700_000_000)
    code = "import torch; from catclip.train.memory import memory_bytes; print(memory_bytes(torch.device('cpu')))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    own = memory_bytes(torch.device("cpu"))
    del ballast
    assert own > 900_000_000
    assert 50_000_000 < int(said) < own - 200_000_000

import re
from dataclasses import replace

import pytest
import torch

from catclip.errors import UserError
from catclip.train.checkpoint import list_checkpoints
from catclip.verbs.training import common_step, pick_device, train
from tests import tiny
from tests.data.making import write_shard


def test_device():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(UserError, match=r"run\.device=gpu is no device"):
        pick_device("gpu")
    with pytest.raises(UserError, match=rf"device=cuda:99: this machine has {torch.cuda.device_count()} CUDA"):
        pick_device("cuda:99", "device")


@pytest.mark.parametrize(
    ("group", "changes", "said"),
    [
        ("run", {"precision": "fp8"}, "run.precision=fp8 is not one of auto, bf16, fp16, fp32"),
        ("run", {"sharding": "zero"}, "run.sharding=zero is not one of ddp, fsdp"),
        ("run", {"micro_batch": 0}, "run.micro_batch=0 must be at least 1, or null"),
        ("optim", {"layer_decay": 1.5}, "optim.layer_decay=1.5 must be above 0 and at most 1, or null"),
        ("optim", {"layer_decay": 0.0}, "optim.layer_decay=0.0 must be above 0 and at most 1, or null"),
        ("optim", {"warmup": "soon"}, "optim.warmup=soon is no duration: give a number of steps, or"),
        ("run", {"checkpoint_every": 0}, "run.checkpoint_every=0 must be above 0"),
        ("run", {"compile": "always"}, "run.compile=always is not one of auto, true, false"),
        ("run", {"keep": 0}, "run.keep=0 must be at least 1"),
        ("run", {"keep": -1}, "run.keep=-1 must be at least 1"),
        ("run", {"evaluate_every": -1}, "run.evaluate_every=-1 is no duration"),
        ("run", {"evaluate_every": 0}, "run.evaluate_every=0 must be above 0"),
        ("run", {"seed": -3}, "run.seed=-3 must be at least 0"),
        ("track", {"log_every": 0}, "track.log_every=0 must be above 0"),
        ("track", {"wandb": "on"}, "track.wandb=on is not one of"),
        ("data", {"workers": -1}, "data.workers=-1 must be at least 0"),
        ("optim", {"lr": -1.0}, "optim.lr=-1.0 must be at least 0"),
        ("optim", {"lr": 1e-6}, "optim.min_lr=1e-05 must be at least 0 and at most optim.lr=1e-06"),
        ("optim", {"warmup": 0.05}, "optim.warmup=0.05 is no whole number of steps"),
        ("optim", {"warmup": "500 steps"}, "optim.warmup=500 steps are 500 steps, and the run has 8"),
        ("optim", {"betas": [0.9]}, "optim.betas=[0.9] must be two below 1"),
        ("optim", {"betas": [0.9, 1.0]}, "optim.betas=[0.9, 1.0] must be two below 1"),
        ("optim", {"clip": 0.0}, "optim.clip=0.0 must be above 0, or null"),
        ("optim", {"ema": 0.0}, "optim.ema=0.0 must be above 0"),
        ("optim", {"weight_decay": -0.1}, "optim.weight_decay=-0.1 must be at least 0"),
    ],
)
def test_settings_that_no_run_can_have_are_refused_before_a_folder(glyphs, tmp_path, capsys, group, changes, said):
    config = tiny.config("categorical", glyphs)
    config = replace(config, **{group: replace(getattr(config, group), **changes)})
    with pytest.raises(UserError, match=re.escape(said)):
        train({"run": config}, {"run": tmp_path / "run"}, "training")
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("key", ["sources", "val", "probe"])
def test_data_that_is_not_there_is_said_before_there_is_a_folder(glyphs, tmp_path, key):
    config = tiny.config(
        "categorical", glyphs, data={key: str(tmp_path / "nowhere" / "x-*.tar")}, evaluate_every="100%"
    )
    with pytest.raises(UserError, match="nowhere"):
        train({"run": config}, {"run": tmp_path / "run"}, "training")
    assert not (tmp_path / "run").exists()


def test_evaluation_reports_held_out_figures_and_the_probe(glyphs, tmp_path):
    data = {"val": str(glyphs / "val-*.tar"), "probe": str(glyphs / "probe")}
    config = tiny.config("contrastive", glyphs, data=data, steps=2, evaluate_every="100%")
    (run,) = train({"run": config}, {"run": tmp_path / "run"}, "training")
    assert {"image_to_text_recall_at_10", "text_to_image_recall_at_1", "probe_accuracy"} <= run.summary().keys()
    assert run.summary()["pairs_evaluated"] == 16


def test_what_is_not_read_in_training_is_said_once_at_the_end(glyphs, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    bad = write_shard(tmp_path / "bad.tar", [("a.jpg", b"no picture"), ("a.json", b'{"captions": ["a cat"]}')])
    data = {"sources": [str(glyphs / "train-*.tar"), str(bad)], "max_bad": 0.1}
    config = tiny.config("categorical", glyphs, data=data, track={"log_every": 7}, steps=7, batch=7)
    train({"run": config}, {"run": tmp_path / "run"}, "training")
    assert capsys.readouterr().out.count("Skipped 1 of 49 samples") == 1


def test_what_is_not_read_of_held_out_shards_is_said_at_the_end(glyphs, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    bad = write_shard(tmp_path / "bad.tar", [("a.jpg", b"no picture"), ("a.json", b'{"captions": ["a cat"]}')])
    data = {"val": [str(glyphs / "val-*.tar"), str(bad)], "max_bad": 0.1}
    configs = {name: tiny.config(name, glyphs, data=data, steps=2, evaluate_every="50%") for name in tiny.OBJECTIVES}
    train(configs, {name: tmp_path / name for name in configs}, "training")
    said = capsys.readouterr().out
    assert (
        said.rstrip().splitlines()[-1].startswith("Held-out shards (data.val): Skipped 1 of 17 samples (5.88%): pictur")
    )
    assert said.count("Skipped") == 1
    config = tiny.config("categorical", glyphs, data=data | {"max_bad": 0.05}, steps=2, evaluate_every="50%")
    with pytest.raises(UserError, match=r"^Held-out shards \(data\.val\): Skipped 1 of 17 .* than data\.max_bad=0\.05"):
        train({"run": config}, {"run": tmp_path / "refused"}, "training")


@pytest.mark.parametrize("key", ["sources", "val"])
def test_a_shard_that_is_cut_short_is_named_at_the_start_and_at_the_end(glyphs, tmp_path, capsys, monkeypatch, key):
    monkeypatch.setenv("COLUMNS", "300")
    cut = tmp_path / "cut.tar"
    whole = (glyphs / "train-00000.tar").read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    other = {"sources": "train", "val": "val"}[key]
    data = {"val": str(glyphs / "val-*.tar"), key: [str(cut), str(glyphs / f"{other}-*.tar")]}
    train(
        {"run": tiny.config("categorical", glyphs, data=data, steps=2, evaluate_every="100%")},
        {"run": tmp_path / "run"},
        "x",
    )
    lines = capsys.readouterr().out.rstrip().splitlines()
    assert [number for number, line in enumerate(lines) if "cut.tar" in line] == [1, len(lines) - 1]


def test_short_runs_have_no_throughput(glyphs, tmp_path):
    """The first steps are warm-up: nothing is said about what was not measured."""
    (run,) = train({"run": tiny.config("categorical", glyphs, steps=3)}, {"run": tmp_path / "a"}, "training")
    assert run.summary()["images_per_second"] is None
    assert run.summary()["step_milliseconds"] is None
    (run,) = train({"run": tiny.config("categorical", glyphs, steps=14)}, {"run": tmp_path / "b"}, "training")
    summary = run.summary()
    assert run.steady.steps == 4
    assert run.steady.samples == 32
    assert summary["images_per_second"] == pytest.approx(32 / run.steady.seconds)
    assert 0 <= summary["data_wait"] < 1
    assert summary["step_milliseconds"] == pytest.approx(1000 * (run.steady.seconds - run.steady.waited) / 4)
    assert run.steady.seconds < run.total.seconds


def test_runs_resume_from_a_step_that_all_of_them_have(tmp_path):
    class Folder:
        def __init__(self, name: str, *steps: int):
            self.checkpoints = tmp_path / name
            for step in steps:
                (self.checkpoints / f"step-{step}").mkdir(parents=True)

    assert common_step([Folder("a", 10, 20, 30), Folder("b", 10, 20)]) == 20
    assert common_step([Folder("c", 30), Folder("d", 20)]) == 0
    assert common_step([Folder("e"), Folder("f", 20)]) == 0
    assert [path.name for path in list_checkpoints(tmp_path / "a")] == ["step-10", "step-20", "step-30"]

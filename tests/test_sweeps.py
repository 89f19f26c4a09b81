"""Sweeps: a folder each, what is done is skipped, what is not goes on, and one that fails stops no other."""

import json
import multiprocessing
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from catclip import cli
from catclip.errors import UserError
from catclip.train.trainer import Trainer
from tests.test_cli import PRETRAIN, tiny_pretraining


def test_a_sweep_gives_each_run_a_folder_under_the_sweeps(catclip, received, tmp_path):
    code, _, _ = catclip(*PRETRAIN, "-m", "optim.lr=0.1,0.2", "run.batch=4,8", "hydra.sweep.dir=sweep")
    assert code == 0
    folders = [Path(config.run.out).resolve() for config in received]
    assert len(set(folders)) == 4
    assert all((tmp_path / "sweep") in folder.parents for folder in folders)
    assert [(config.optim.lr, config.run.batch) for config in received] == [(0.1, 4), (0.1, 8), (0.2, 4), (0.2, 8)]
    assert all(f"optim.lr={config.optim.lr}" in folder.name for folder, config in zip(folders, received, strict=True))


def test_a_sweep_names_runs_by_what_is_swept_alone(catclip, received, tmp_path):
    """A file name has 255 characters; that many a user's fixed settings have easily."""
    fixed = ["data.vocabulary=" + "/".join(["deep"] * 40), "run.name=" + "long" * 50, "backbone=vit_s_16"]
    code, _, err = catclip(*PRETRAIN, *fixed, "-m", "run.seed=1,2", "objective=categorical,contrastive",
                           "hydra.sweep.dir=sweep")  # fmt: skip
    assert (code, err) == (0, "")
    assert [Path(config.run.out).name for config in received] == [
        f"objective={objective},run.seed={seed}" for seed in (1, 2) for objective in ("categorical", "contrastive")
    ]


def test_a_sweep_of_nothing_has_a_folder_too(catclip, received, tmp_path):
    assert catclip(*PRETRAIN, "-m", "hydra.sweep.dir=sweep")[0] == 0
    assert Path(received[0].run.out).resolve() == tmp_path / "sweep" / "0"


def test_a_sweep_goes_on_after_a_run_that_fails(catclip, monkeypatch):
    ran = []

    def sometimes(config) -> None:
        ran.append(config.optim.lr)
        if config.optim.lr == 0.2:
            raise UserError("the loss is nan")

    monkeypatch.setattr("catclip.verbs.pretrain.run", sometimes)
    code, _, err = catclip(*PRETRAIN, "-m", "optim.lr=0.1,0.2,0.3", "hydra.sweep.dir=sweep")
    assert code == 2
    assert ran == [0.1, 0.2, 0.3]
    assert "catclip: the loss is nan" in err
    assert "optim.lr=0.2" in err  # which of them it was
    assert "Traceback" not in err


def test_a_sweep_skips_what_is_done(catclip, glyphs, tmp_path):
    sweep = tiny_pretraining(glyphs, "run.steps=2", "-m", "run.seed=0,1", "hydra.sweep.dir=sweep")
    code, out, err = catclip(*sweep)
    assert (code, err) == (0, "")
    summaries = sorted((tmp_path / "sweep").rglob("summary.json"))
    assert len(summaries) == 2
    assert out.count("Done:") == 2
    summaries[0].unlink()
    kept = summaries[1].stat().st_mtime_ns
    code, out, err = catclip(*sweep)
    assert (code, err) == (0, "")
    assert out.count("is done already") == 1
    assert out.count("Done:") == 1
    assert summaries[1].stat().st_mtime_ns == kept
    assert summaries[0].exists()


def quick_vocab(tmp_path: Path, *more: str) -> list[str]:
    """A sweep of a verb that starts quickly: two vocabularies, and one that cannot be."""
    (tmp_path / "captions.txt").write_text("a dog on a sofa\ntwo dogs\n")
    settings = [f"data.sources={tmp_path}/captions.txt", "top_k=1,-1,2", f"out='{tmp_path}/${{top_k}}.tsv'", "tau=1"]
    return ["vocab", "-m", *settings, f"hydra.sweep.dir={tmp_path}/sweep", *more]


def test_a_configuration_that_cannot_be_resolved_stops_no_other_run(catclip, received):
    code, _, err = catclip("pretrain", "run.steps=1", "-m", "data.sources='???',x.tar", "hydra.sweep.dir=sweep")
    assert code == 2
    assert [config.data.sources for config in received] == ["x.tar"]
    assert "data.sources is required" in err
    assert "hydra.sweep.dir=sweep" in err


def test_the_same_command_goes_on_after_a_kill(catclip, glyphs, tmp_path, monkeypatch):
    """A kill in the second of three runs: the first is left as it is, the second goes on, the third begins."""

    class Killed(BaseException):
        pass

    steps: list[int] = []
    original = Trainer.step

    def step(self, batch):
        if len(steps) == 7:
            raise Killed
        steps.append(self.step_number)
        return original(self, batch)

    sweep = tiny_pretraining(glyphs, "run.steps=4", "run.checkpoint_every=2", "-m", "run.seed=0,1,2",
                             "hydra.sweep.dir=sweep")  # fmt: skip
    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(Killed):
        catclip(*sweep)
    assert steps == [0, 1, 2, 3, 0, 1, 2]
    done = tmp_path / "sweep" / "run.seed=0" / "summary.json"
    before = done.stat().st_mtime_ns
    monkeypatch.setattr(Trainer, "step", lambda self, batch: steps.append(self.step_number) or original(self, batch))
    steps.clear()
    assert catclip(*sweep)[0] == 0
    assert steps == [2, 3, 0, 1, 2, 3]
    assert done.stat().st_mtime_ns == before


def test_a_signal_ends_the_sweep_and_says_how_it_goes_on(catclip, monkeypatch):
    ran = []

    def stopped(config) -> None:
        ran.append(config.run.seed)
        sys.exit(75)

    monkeypatch.setattr("catclip.verbs.pretrain.run", stopped)
    code, _, err = catclip(*PRETRAIN, "-m", "run.seed=0,1", "hydra.sweep.dir=sweep")
    assert code == 75
    assert ran == [0]
    assert "The same command goes on with hydra.sweep.dir=sweep" in err


def test_runs_are_compared_without_training(catclip, tmp_path, monkeypatch):
    from tests.compare.test_sweep import write_run

    for seed in (0, 1):
        write_run(tmp_path / "sweep" / f"optim.lr=0.1,run.seed={seed}", [0.1, 0.5 + seed / 10], run__seed=seed)
    write_run(tmp_path / "sweep" / "optim.lr=0.2,run.seed=0", [0.1, 0.9], optim__lr=0.2, finished=False)
    for out in (tmp_path / "report", tmp_path / "report", None):
        code, said, err = catclip("compare", "runs=sweep/*", *([f"run.out={out}"] if out else []))
        assert (code, err) == (0, "")
        assert "0.550 ±0.071*" in said
        assert max(map(len, said.splitlines()[:-2])) <= 80
    assert json.loads((tmp_path / "report" / "compare.json").read_text())["best.probe_accuracy"] == "lr=0.1"
    assert len(list(tmp_path.glob("runs/compare/*-runs/compare.png"))) == 1
    assert catclip("compare", "runs=sweep/optim.lr=0.2,run.seed=0")[0] == 0  # a run's name as it is
    code, _, err = catclip("compare", "runs=sweep/*", "run.out=sweep")
    assert code == 2
    assert "holds more than a comparison" in err


# ---------------------------------------------------------------- launchers and the search


def needs(plugin: str) -> None:
    if not find_spec(f"hydra_plugins.{plugin}"):
        pytest.skip(f"the package of {plugin} is not installed")


@pytest.mark.parametrize(
    ("launcher", "plugin"),
    [
        ("parallel", "hydra_joblib_launcher"),
        pytest.param("slurm_local", "hydra_submitit_launcher", marks=pytest.mark.slow),
    ],
)
def test_launchers_run_all_and_tell_of_the_one_that_failed(tmp_path, launcher, plugin):
    needs(plugin)
    sweep = quick_vocab(tmp_path, f"hydra/launcher={launcher}")
    ended = subprocess.run(
        [sys.executable, "-c", "from catclip.cli import main; main()", *sweep],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[1])},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    assert (tmp_path / "1.tsv").is_file()
    assert (tmp_path / "2.tsv").is_file()
    assert ended.stderr.rstrip().splitlines()[-1].startswith("catclip: top_k=-1")
    assert "Traceback" not in ended.stderr


def test_what_a_sweep_has_begun_ends_with_it():
    worker = "from catclip import cli; cli._end_with_sweep(); print('begun', flush=True); import time; time.sleep(60)"
    sweep = (
        "import os, subprocess, sys; os.environ['CATCLIP_SWEEP'] = str(os.getpid()); "
        "subprocess.run([sys.executable, '-c', sys.argv[1]])"
    )
    begun = subprocess.Popen(
        [sys.executable, "-c", sweep, worker + "; print('to its end')"],
        env=os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[1])}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert begun.stdout
    assert begun.stdout.readline() == "begun\n"
    begun.kill()
    begun.wait()
    assert begun.stdout.read() == ""  # which the worker holds open as long as it lives


def test_a_launchers_way_to_start_processes_is_not_the_runs(monkeypatch):
    usual = multiprocessing.get_all_start_methods()[0]
    monkeypatch.setattr(cli, "_run", lambda *_: multiprocessing.get_start_method())
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    launched = SimpleNamespace(
        launcher=SimpleNamespace(_target_="JoblibLauncher"), sweeper=SimpleNamespace(_target_=""),
        sweep=SimpleNamespace(dir="sweep"),
    )  # fmt: skip
    multiprocessing.set_start_method("spawn", force=True)
    try:
        assert cli._one_of_a_sweep("compare", None, launched) == usual
    finally:
        multiprocessing.set_start_method(usual, force=True)


def test_slurm_composes(catclip):
    """That it submits cannot be seen without a cluster: that it is what the plugin takes can."""
    needs("hydra_submitit_launcher")
    code, out, err = catclip(*PRETRAIN, "hydra/launcher=slurm", "hydra.launcher.partition=gpu", "--cfg", "hydra",
                             "--package", "hydra.launcher")  # fmt: skip
    assert (code, err) == (0, "")
    assert "SlurmLauncher" in out
    assert "max_num_timeout: 20" in out
    assert "partition: gpu" in out


def test_a_search_finds_the_best_and_repeats_exactly(catclip, monkeypatch, tmp_path):
    needs("hydra_optuna_sweeper")
    asked: list[float] = []

    def run(config) -> float | None:
        asked.append(config.optim.lr)
        if len(asked) == 3:
            raise UserError("the loss is nan")
        return -((config.optim.lr - 0.3) ** 2)

    monkeypatch.setattr("catclip.verbs.pretrain.run", run)
    search = [*PRETRAIN, "-m", "hydra/sweeper=search", "optim.lr=interval(0.0,1.0)", "hydra.sweeper.n_trials=12",
              "hydra.sweep.dir=sweep"]  # fmt: skip
    code, _, err = catclip(*search)
    assert code == 0, err
    assert "the loss is nan" in err
    assert len(asked) == 12
    best = min(asked[:2] + asked[3:], key=lambda lr: abs(lr - 0.3))
    assert f"optim.lr: {best}" in (tmp_path / "sweep" / "optimization_results.yaml").read_text()
    first, asked[:] = list(asked), []
    assert catclip(*search)[0] == 0
    assert asked == first


def test_a_search_without_a_figure_says_what_to_give(catclip, received):
    needs("hydra_optuna_sweeper")
    code, _, err = catclip(*PRETRAIN, "-m", "hydra/sweeper=search", "optim.lr=interval(0.0,1.0)",
                           "hydra.sweeper.n_trials=2", "hydra.sweep.dir=sweep")  # fmt: skip
    assert code == 2
    assert "There is no figure to maximise: give data.val or data.probe" in err
    assert err.rstrip().endswith("Every trial of the search failed, as said above.")


@pytest.mark.parametrize("choice", list(cli.PLUGINS))
def test_a_plugin_that_is_not_here_is_named(catclip, monkeypatch, choice):
    monkeypatch.setattr(cli, "find_spec", lambda _: None)
    code, _, err = catclip(*PRETRAIN, "-m", choice, "run.seed=0,1")
    assert code == 2
    assert (
        err == f"catclip: {choice} needs a package that is not here: pip install 'catclip[{cli.PLUGINS[choice][0]}]'.\n"
    )


def test_what_pretraining_returns_is_its_score_also_when_it_is_done(glyphs, tmp_path):
    from catclip.verbs.pretrain import run
    from tests import tiny

    config = tiny.config(
        "categorical",
        glyphs,
        data={"val": str(glyphs / "val-*.tar")},
        steps=1,
        evaluate_every=1,
        out=str(tmp_path / "r"),
    )
    value = run(config)
    assert value == json.loads((tmp_path / "r" / "summary.json").read_text())["map"]
    assert run(config) == value

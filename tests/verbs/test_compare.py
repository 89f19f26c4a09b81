"""A comparison gives every objective the same start and the same batches, and each the result it has alone."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

import catclip.verbs.compare as module
from catclip.config import CompareConfig, MeasureConfig
from catclip.errors import UserError
from catclip.train import run as run_module
from catclip.train.checkpoint import list_checkpoints
from catclip.train.track import read_metrics
from catclip.train.trainer import Trainer
from catclip.verbs.compare import compare, single
from catclip.verbs.training import train
from tests import tiny
from tests.tiny import OBJECTIVES, assert_same

STEPS = 6
COSTS = {
    "categorical": {"flops_per_image": 1e9, "peak_memory_bytes": 1e8},
    "contrastive": {"flops_per_image": 2e9, "peak_memory_bytes": 3e8},
}


def config_for(glyphs: Path, out: Path, *objectives: str, **changes) -> CompareConfig:
    one = tiny.config("categorical", glyphs, data={"probe": str(glyphs / "probe"), "val": str(glyphs / "val-*.tar")},
                      options={"proj_drop_rate": 0.2}, steps=STEPS, evaluate_every="50%",
                      checkpoint_every=2)  # fmt: skip
    named = {name: tiny.objective_config(name, glyphs) for name in objectives or OBJECTIVES}
    run = replace(one.run, out=str(out), **changes)
    return CompareConfig(one.data, one.backbone, named, one.optim, one.track, run, one.evaluators)


def quiet() -> Console:
    return Console(file=io.StringIO(), width=80)


def test_costs_are_measured_of_every_objective(glyphs, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "peak_memory_bytes", lambda config, device: config.run.batch)
    config = config_for(glyphs, tmp_path)
    costs = module.measure_costs({name: single(config, name) for name in OBJECTIVES})
    assert [costs[name]["peak_memory_bytes"] for name in OBJECTIVES] == [8, 8]
    assert 0 < costs["categorical"]["flops_per_image"] < costs["contrastive"]["flops_per_image"]


@pytest.fixture
def cheap(monkeypatch):
    """Costs are measured elsewhere; a process of its own for each takes seconds."""
    monkeypatch.setattr(module, "measure_costs", lambda _: COSTS)


@pytest.fixture(scope="module")
def done(glyphs, tmp_path_factory):
    """A finished comparison: its folder, what it returned and said. Do not write into it."""
    out = tmp_path_factory.mktemp("compare") / "run"
    console = quiet()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "measure_costs", lambda _: COSTS)
        results = compare(config_for(glyphs, out), console)
    module.show(results, out, console)
    return out, results, console.file.getvalue()


def losses(folder: Path) -> list[tuple[int, float, float]]:
    return [(row["step"], row["loss"], row["grad_norm"]) for row in read_metrics(folder / "metrics.jsonl")
            if "loss" in row]  # fmt: skip


def test_what_a_comparison_leaves(done):
    out, results, said = done
    files = {"compare.json", "compare.png", "compare.html", "summary.json"}
    assert files | {*OBJECTIVES} == {path.name for path in out.iterdir() if not path.name.startswith("compare-")}
    plots = {path.stem for path in out.glob("compare-*.png")}
    assert {"compare-probe-accuracy-seconds", "compare-probe-accuracy-flops", "compare-memory"} <= plots
    written = json.loads((out / "compare.json").read_text())
    assert written.pop("environment")["versions"]["torch"]
    assert written.pop("environments").keys() == {"learning"}
    assert written == json.loads(json.dumps(results))
    assert not any(isinstance(value, dict) for value in written.values())
    for name in OBJECTIVES:
        for figure in ("flops_per_image", "peak_memory_bytes", "parameters", "seconds"):
            assert results[f"{name}.{figure}"] > 0
        assert 0 <= results[f"{name}.probe_accuracy"] <= 1
        assert len(results[f"{name}.curve_probe_accuracy"]) == 3
        assert (out / name / "summary.json").exists()
    assert results["categorical.map"] > 0
    assert "contrastive.map" not in results
    assert results["ratio.flops_per_image"] == 2
    assert results["categorical.curve_probe_accuracy"][0] == results["contrastive.curve_probe_accuracy"][0]
    with Image.open(out / "compare.png") as picture:
        picture.verify()
    assert "probe accuracy" in said


def test_all_start_from_the_same_backbone_and_see_the_same_pictures(glyphs, tmp_path, monkeypatch, cheap):
    starts: dict[str, dict] = {}
    seen: dict[str, list] = {}
    original = Trainer.step

    def spied(self, batch):
        name = type(self.objective).__name__
        if name not in starts:
            starts[name] = {key: value.clone() for key, value in self.objective.backbone.state_dict().items()}
        seen.setdefault(name, []).append((batch["keys"], batch["images"].clone()))
        return original(self, batch)

    monkeypatch.setattr(Trainer, "step", spied)
    compare(config_for(glyphs, tmp_path / "run"), quiet())
    assert_same(starts["Categorical"], starts["Contrastive"])
    assert len(seen["Categorical"]) == STEPS
    assert_same(seen["Categorical"], seen["Contrastive"])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_in_company_an_objective_trains_as_it_does_alone(glyphs, tmp_path, done, name):
    """Dropout included: neither draws from the other's random numbers."""
    alone = single(config_for(glyphs, tmp_path / "unused"), name)
    train({name: alone}, {name: tmp_path / name}, "training")
    assert losses(tmp_path / name) == losses(done[0] / name)
    last = "checkpoints/step-6/last.safetensors"
    assert_same(load_file(tmp_path / name / last), load_file(done[0] / name / last))


def test_every_seed_has_a_pair_of_runs_and_more_can_be_asked_for(glyphs, tmp_path, done, cheap, monkeypatch):
    config = config_for(glyphs, tmp_path / "run")
    config = replace(config, compare=MeasureConfig(seeds=[0]))
    compare(config, quiet())
    trained = []
    monkeypatch.setattr(
        module, "train", lambda configs, *args, **more: trained.append(configs) or train(configs, *args, **more)
    )
    results = compare(replace(config, compare=MeasureConfig(seeds=[0, 3])), quiet())
    assert [each["categorical"].run.seed for each in trained] == [3]
    assert results["seeds"] == [0, 3]
    for name in OBJECTIVES:
        assert losses(tmp_path / "run" / "seed-0" / name) == losses(done[0] / name)
        assert losses(tmp_path / "run" / "seed-3" / name) != losses(done[0] / name)
        ends = [json.loads((tmp_path / "run" / f"seed-{seed}" / name / "summary.json").read_text()) for seed in (0, 3)]
        assert results[f"{name}.seconds"] == pytest.approx(sum(end["seconds"] for end in ends) / 2)
    text = (tmp_path / "run" / "compare.html").read_text()
    assert "2 seeds" in text


@pytest.mark.parametrize("seeds", [[], [-1], [1, 1]])
def test_seeds_that_are_none_are_refused(glyphs, tmp_path, seeds):
    config = replace(config_for(glyphs, tmp_path / "run"), compare=MeasureConfig(seeds=seeds))
    with pytest.raises(UserError, match=r"compare\.seeds="):
        compare(config, quiet())


def test_a_comparison_of_one_is_a_run(glyphs, tmp_path, done, cheap):
    results = compare(config_for(glyphs, tmp_path / "run", "contrastive"), quiet())
    assert results["objectives"] == ["contrastive"]
    assert losses(tmp_path / "run" / "contrastive") == losses(done[0] / "contrastive")


class Killed(BaseException):
    pass


@pytest.mark.parametrize(("save", "keep"), [(1, 1), (3, 1), (3, 2), (4, 1)])
def test_a_kill_between_the_saves_of_the_two_loses_nothing(glyphs, tmp_path, done, cheap, save, keep):
    """Save number 3 is the first objective's second: the other one is a checkpoint behind."""
    config = config_for(glyphs, tmp_path / "run", keep=keep)
    original, saves = run_module.save_checkpoint, [0]

    def killed_after(*arguments):
        written = original(*arguments)
        saves[0] += 1
        if saves[0] == save:
            raise Killed
        return written

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "save_checkpoint", killed_after)
        with pytest.raises(Killed):
            compare(config, quiet())
    steps: list[int] = []
    original_step = Trainer.step

    def counted(self, batch):
        steps.append(self.step_number)
        return original_step(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", counted)
        compare(config, quiet())
    assert min(steps) == 2 * (save // 2)  # from the last step that both had saved
    for name in OBJECTIVES:
        assert losses(tmp_path / "run" / name) == losses(done[0] / name)
        last = "checkpoints/step-6/ema.safetensors"
        assert_same(load_file(tmp_path / "run" / name / last), load_file(done[0] / name / last))
        assert len(list_checkpoints(tmp_path / "run" / name / "checkpoints")) == keep


def test_a_kill_before_the_report_leaves_only_the_report_to_do(glyphs, tmp_path, cheap, monkeypatch):
    config = config_for(glyphs, tmp_path / "run")

    def killed(*_: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "plot", killed)
        with pytest.raises(Killed):
            compare(config, quiet())
    assert not (tmp_path / "run" / "summary.json").exists()
    monkeypatch.setattr(Trainer, "step", lambda *_: pytest.fail("nothing is left to train"))
    results = compare(config, quiet())
    assert "contrastive.probe_accuracy" in results
    assert (tmp_path / "run" / "summary.json").exists()


def test_what_is_done_is_only_shown(glyphs, done, monkeypatch):
    out, results, _ = done
    monkeypatch.setattr(module, "train", lambda *_: pytest.fail("it is done"))
    monkeypatch.setattr(module, "measure_costs", lambda *_: pytest.fail("it is done"))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    console = quiet()
    again = compare(config_for(glyphs, out), console)
    assert again["ratio.flops_per_image"] == results["ratio.flops_per_image"]
    assert "is done already" in console.file.getvalue()
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_what_was_configured_otherwise_is_refused(glyphs, done):
    config = config_for(glyphs, done[0])
    with pytest.raises(UserError, match=r"configured otherwise: optim\.lr was 0\.001, is now 0\.5"):
        compare(replace(config, optim=replace(config.optim, lr=0.5)), quiet())


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("other", ["fewer", "more", "renamed"])
def test_other_objectives_are_refused_and_nothing_is_touched(glyphs, tmp_path, done, complete, other):
    out = tmp_path / "run"
    shutil.copytree(done[0], out)
    if not complete:
        (out / "summary.json").unlink()
    config = config_for(glyphs, out)
    if other == "fewer":
        del config.objectives["contrastive"]
    else:
        config.objectives["third"] = config.objectives["contrastive"]
    if other == "renamed":
        del config.objectives["contrastive"]
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(UserError, match="holds a comparison of other objectives: it was categorical, contrastive"):
        compare(config, quiet())
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_start_that_was_killed_between_the_two_folders_goes_on(glyphs, tmp_path, done, cheap):
    out = tmp_path / "run"
    config = config_for(glyphs, out)
    (out / "categorical").mkdir(parents=True)
    shutil.copy(done[0] / "categorical" / "config.yaml", out / "categorical")
    (out / "contrastive").mkdir()
    compare(config, quiet())
    assert losses(out / "contrastive") == losses(done[0] / "contrastive")


def test_a_folder_of_something_else_is_refused(glyphs, tmp_path):
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(UserError, match="is not empty and holds no comparison"):
        compare(config_for(glyphs, tmp_path), quiet())
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_settings_are_checked_before_anything_is_measured(glyphs, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "measure_costs", lambda *_: pytest.fail("too late"))
    console = quiet()
    with pytest.raises(UserError, match=r"run\.keep=0"):
        compare(config_for(glyphs, tmp_path / "run", keep=0), console)
    assert console.file.getvalue() == ""
    assert not (tmp_path / "run").exists()

"""Runs of a sweep by hand: which are one configuration, what differs, means, spreads, the best, the curves."""

import io
import json
import statistics
from pathlib import Path

import pytest
import yaml
from PIL import Image
from rich.console import Console

from catclip.compare.sweep import configurations, find_runs, flat_results, swept_keys
from catclip.compare.sweep_report import plot, tables
from catclip.errors import UserError


def write_run(folder: Path, curve: list[float], finished: bool = True, **settings) -> None:
    """A run folder with an evaluation every 10 steps, at 2 seconds a step."""
    config: dict = {"backbone": {"name": "vit"}, "objective": {"_target_": "a.b.Categorical", "bias": "prior"},
                    "optim": {"lr": 0.1}, "run": {"seed": 0, "out": str(folder), "device": "cpu"}}  # fmt: skip
    for key, value in settings.items():
        group, _, name = key.partition("__")
        config[group] = value if not name else {**config[group], name: value}
    (folder / "wandb" / "files").mkdir(parents=True)
    (folder / "wandb" / "files" / "config.yaml").write_text("not: ours")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    rows = [{"step": 10 * i, "samples": 80 * i, "seconds": 20.0 * i, "probe_accuracy": a} for i, a in enumerate(curve)]
    rows.append({"step": 10 * len(curve), "samples": 1, "seconds": 1.0, "loss": 3.0})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 9')
    if finished:
        (folder / "summary.json").write_text(json.dumps({"probe_accuracy": curve[-1], "loss": 2.5, "seconds": 99.0}))


@pytest.fixture
def sweep(tmp_path):
    """Two learning rates of the categorical objective over seeds, one run of a contrastive one that is not done."""
    for seed, last in enumerate([0.5, 0.7]):
        write_run(tmp_path / f"lr=0.1,seed={seed}", [0.1, last], run__seed=seed)
    write_run(tmp_path / "lr=0.2,seed=0", [0.1, 0.3], optim__lr=0.2)
    write_run(tmp_path / "lr=0.2,seed=1", [0.1, 0.9], optim__lr=0.2, run__seed=1, finished=False)
    contrastive = {"_target_": "a.b.Contrastive", "embed": 512, "layers": 12}
    write_run(tmp_path / "deeper" / "c", [0.1, 0.95], objective=contrastive, finished=False)
    (tmp_path / "multirun.yaml").write_text("hydra: {}")
    (tmp_path / ".submitit").mkdir()
    (tmp_path / ".submitit" / "config.yaml").write_text("not: ours")
    return tmp_path


def test_by_hand(sweep):
    made = configurations(find_runs(f"{sweep}/*"))
    found = {each.name: each for each in made}
    assert set(found) == {
        "objective=categorical,lr=0.1",
        "objective=categorical,lr=0.2",
        "objective=contrastive,lr=0.1",
    }
    assert [len(each.finished) for each in made] == [0, 2, 1]
    assert [len(each.runs) for each in made] == [1, 2, 2]
    results = flat_results(made)
    best = "objective=categorical,lr=0.1"
    assert results[f"{best}.probe_accuracy"] == pytest.approx(0.6)
    assert results[f"{best}.probe_accuracy.spread"] == pytest.approx(statistics.stdev([0.5, 0.7]))
    assert results[f"{best}.curve_seconds"] == [0.0, 20.0]
    assert results[f"{best}.curve_probe_accuracy"] == [0.1, pytest.approx(0.6)]
    assert results[f"{best}.curve_probe_accuracy.spread"] == [0.0, pytest.approx(statistics.stdev([0.5, 0.7]))]
    # What is not done does not count, however good, nor beside what is done of the same configuration.
    assert results["best.probe_accuracy"] == best
    assert results["objective=categorical,lr=0.2.probe_accuracy"] == 0.3
    assert results["objective=categorical,lr=0.2.probe_accuracy.spread"] is None
    assert results["objective=contrastive,lr=0.1.probe_accuracy"] == 0.95
    assert results["objective=contrastive,lr=0.1.unfinished_runs"] == 1
    assert results["objective=contrastive,lr=0.1.step"] == 20
    assert not any(isinstance(value, dict) for value in results.values())
    json.dumps(results)


def rendered(made) -> str:
    console = Console(file=io.StringIO(), width=80)
    for grid in tables(made):
        console.print(grid)
    return console.file.getvalue()


def test_tables_fit_in_80_columns(sweep):
    text = rendered(configurations(find_runs(f"{sweep}/*")))
    assert max(map(len, text.splitlines())) <= 80
    assert "0.600 ±0.141*" in text
    assert "0/1 at 20" in text
    assert "1/2" in text
    assert "…" not in text


def test_many_keys_and_figures_make_several_tables(tmp_path):
    for index in range(3):
        options = {"name": f"vit_{'long' * 12}_{index}", "drop": index, "size": [index]}
        write_run(tmp_path / str(index), [0.1, 0.2], backbone=options, optim__lr=10.0**-index)
        figures = {"map": 0.5, "precision_at_1": 0.5, "image_to_text_recall_at_10": 0.5, "images_per_second": 1e5}
        (tmp_path / str(index) / "summary.json").write_text(json.dumps(figures | {"loss": float("nan")}))
    made = configurations(find_runs(str(tmp_path)))
    text = rendered(made)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert text.count("runs") >= 1
    for title in ("probe", "mAP", "P@1", "i→t R@10", "images/s"):
        assert text.count(title) == 1


def test_keys_that_differ():
    first = {"a": 1, "b": 1, "same": 0, "only": 1, "run.seed": 0}
    assert swept_keys([first, {"a": 2, "b": 5, "same": 0, "run.seed": 1}]) == ["a"]  # b goes with a
    assert swept_keys([first, {"same": 0, "a": 1, "b": 1}]) == ["only"]  # nothing else tells them apart
    assert swept_keys([first]) == []
    bce = {"objective._target_": "Categorical", "objective.bias": "prior", "objective.loss": "bce"}
    assert swept_keys([bce, bce | {"objective.bias": "zero", "objective.loss": "softmax"}]) == ["objective.loss"]


def test_plots(sweep, tmp_path):
    made = configurations(find_runs([f"{sweep}/lr*", f"{sweep}/deeper/c"]))
    plot(made, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(10**6)) > 50
    write_run(tmp_path / "bare", [], finished=False)
    plot(configurations(find_runs(str(tmp_path / "bare"))), tmp_path / "b.png")
    assert (tmp_path / "b.png").is_file()


def test_no_runs_are_refused(tmp_path):
    with pytest.raises(UserError, match="there is no run folder"):
        find_runs(f"{tmp_path}/*")

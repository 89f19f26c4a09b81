import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torchmetrics.classification import MultilabelAveragePrecision

from catclip import cli
from catclip.config import LabelledConfig, ProbeConfig, SgdProbeConfig
from catclip.errors import UserError
from catclip.verbs import probe
from catclip.verbs.training import train
from tests import tiny
from tests.data.making import write_shard


@pytest.fixture(scope="module")
def trained(glyphs, tmp_path_factory) -> tuple[Path, float]:
    """A run, and what its own probe found at its end."""
    out = tmp_path_factory.mktemp("probe") / "run"
    data = {"probe": str(glyphs / "probe")}
    (run,) = train(
        {"r": tiny.config("contrastive", glyphs, data=data, steps=2, evaluate_every="100%")}, {"r": out}, "training"
    )
    return out, run.last["probe_accuracy"]


def config(model: Path, glyphs: Path, **changes) -> ProbeConfig:
    return ProbeConfig(
        **({"model": str(model), "data": str(glyphs / "probe"), "device": "cpu", "workers": 0} | changes)
    )


def test_probe_finds_what_the_run_found(glyphs, trained, tmp_path, capsys):
    model, accuracy = trained
    probe.run(config(model, glyphs, out=str(tmp_path / "deep" / "probe.json")))
    written = json.loads((tmp_path / "deep" / "probe.json").read_text())
    assert written["accuracy"] == accuracy
    assert {"model", "data", "weights", "validation_accuracy", "strength", "classes"} <= written.keys()
    assert written["train_images"] == 2 * written["test_images"]
    assert f"Linear probe: {accuracy:.3f}" in capsys.readouterr().out
    assert not (model / "probe.json").exists()


def test_probe_writes_beside_the_run_unless_told_otherwise(glyphs, trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / "run")
    probe.run(config(tmp_path / "run", glyphs, weights="last"))
    assert json.loads((tmp_path / "run" / "probe.json").read_text())["weights"] == "last"


def pack(folder: Path, path: Path) -> None:
    """The pictures of class folders as a shard with the names of their classes."""
    pictures = sorted(folder.glob("*/*.jpg"))
    write_shard(
        path, *([(f"{i}.jpg", p.read_bytes()), (f"{i}.cls", p.parent.name.encode())] for i, p in enumerate(pictures))
    )


def test_shards_give_what_their_folders_give(glyphs, trained, tmp_path):
    model, accuracy = trained
    for split in ("train", "test"):
        pack(glyphs / "probe" / split, tmp_path / f"{split}-0.tar")
    data = LabelledConfig(train=str(tmp_path / "train-*.tar"), test=[str(tmp_path / "test-0.tar")])
    probe.run(config(model, glyphs, data=data, out=str(tmp_path / "probe.json")))
    written = json.loads((tmp_path / "probe.json").read_text())
    assert written["accuracy"] == accuracy
    assert written["data.train"] == data.train
    assert written["data.test"] == data.test
    assert "data.classes" not in written
    assert "data" not in written


def test_pictures_of_any_number_of_classes(trained, glyphs, shared, tmp_path, capsys):
    coco = shared / "data" / "coco-mini" / "annotations"
    data = LabelledConfig(train=str(coco / "instances_train2017.json"), test=str(coco / "instances_val2017.json"))
    probe.run(config(trained[0], glyphs, data=data, out=str(tmp_path / "probe.json")))
    written = json.loads((tmp_path / "probe.json").read_text())
    assert (written["classes"], written["train_images"], written["test_images"]) == (80, 80, 79)
    assert 0 < written["map"] < 1
    assert (
        f"mAP {written['map']:.3f} on 79 test pictures ({written['classes_evaluated']} of 80" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data=nowhere"], "No folder nowhere/train."),
        ([], "Give labelled pictures as data=FOLDER"),
        (["data.train=a-{0..1}.tar"], "Give labelled pictures as data=FOLDER"),
        (["data.train=a-{0..1}.tar", "data.test=[b.csv]"], "No file matches a-"),
        (["data.trian=a"], "There is no key 'data.trian'."),
        (["data.folder=x", "data.delimiter=','"], "No folder x/train."),
    ],
)
def test_sources_on_the_command_line(trained, monkeypatch, tmp_path, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["catclip", "probe", f"model={trained[0]}", "device=cpu", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_wrong_input(glyphs, trained, tmp_path):
    for changes, said in (
        ({"model": str(tmp_path)}, "is not a run folder"),
        ({"model": str(trained[0].parent)}, "Runs in it: run"),
        ({"data": str(tmp_path)}, "No folder"),
        ({"device": "gpu"}, "device=gpu is no device"),
        ({"workers": -1}, "workers=-1 must be at least 0"),
        ({"weights": "best"}, "weights=best is not one of ema, last"),
        ({"method": "lbfg"}, "method=lbfg is not one of lbfgs, sgd"),
        ({"shots": [0]}, "shots=.* give numbers"),
        ({"neighbours": 0}, "neighbours=0 must be at least 1"),
        ({"sgd": SgdProbeConfig(lr=0.0)}, "sgd.lr=0.0 must be above 0"),
    ):
        with pytest.raises(UserError, match=said):
            probe.run(replace(config(trained[0], glyphs), **changes))


@pytest.mark.parametrize("method", ["sgd", "knn"])
def test_other_methods_on_the_same_features(glyphs, trained, tmp_path, capsys, method):
    shutil.copytree(trained[0], tmp_path / "run", ignore=shutil.ignore_patterns("features"))
    probe.run(config(tmp_path / "run", glyphs, method=method))
    written = json.loads((tmp_path / "run" / f"probe_{method}.json").read_text())
    assert written["method"] == method
    assert 0 <= written["accuracy"] <= written["top_5"] <= 1
    assert f"{written['accuracy']:.3f} of 131 test pictures right" in capsys.readouterr().out
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run" / "features").iterdir()}
    assert len(kept) == 2
    probe.run(config(tmp_path / "run", glyphs))
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run" / "features").iterdir()} == kept


def test_a_folder_that_is_not_ones_own_is_said_before_the_work(glyphs, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda folder, mode: False)
    with pytest.raises(UserError, match=r"probe\.json cannot be written: .* another out="):
        probe.run(config(trained[0], glyphs, out=str(tmp_path / "probe.json")))
    assert not list(tmp_path.iterdir())


def test_another_measurement_is_not_written_over(glyphs, trained, tmp_path):
    out = tmp_path / "probe.json"
    same = config(trained[0], glyphs, method="few_shot", draws=1, out=str(out))
    probe.run(same)
    before = out.read_text()
    probe.run(same)
    assert out.read_text() == before
    for changes, said in (
        ({"method": "knn"}, r"method was 'few_shot', is now 'knn'.*Give another out="),
        ({"shots": [1]}, r"shots was \[1, 2\], is now \[1\]"),
        ({"data": LabelledConfig(folder=str(glyphs / "probe"))}, r"data was .* data\.folder was None"),
    ):
        with pytest.raises(UserError, match=said):
            probe.run(replace(same, **changes))
    out.write_text("[1, 2]")
    with pytest.raises(UserError, match=r"is no measurement of this kind\. Give another out="):
        probe.run(same)
    assert out.read_text() == "[1, 2]"


@pytest.mark.parametrize("method", probe.METHODS)
def test_one_class_is_nothing_to_tell_apart(glyphs, trained, tmp_path, method):
    for split in ("train", "test"):
        shutil.copytree(next((glyphs / "probe" / split).iterdir()), tmp_path / split / "dog")
    with pytest.raises(UserError, match="has one class only: nothing to tell apart"):
        probe.run(config(trained[0], glyphs, data=str(tmp_path), method=method, out=str(tmp_path / "probe.json")))


def test_few_shot_has_means_and_spreads_of_what_there_are_pictures_for(glyphs, trained, tmp_path, capsys):
    probe.run(config(trained[0], glyphs, method="few_shot", draws=2, out=str(tmp_path / "few.json")))
    written = json.loads((tmp_path / "few.json").read_text())
    assert written["shots"] == [1, 2]  # the probe set has two pictures a class
    assert 0 <= written["accuracy_2"] <= 1
    assert written["accuracy_2.spread"] == 0  # there is but one choice of two
    assert "accuracy_4" not in written
    said = " ".join(capsys.readouterr().out.split())
    assert f"2: {written['accuracy_2']:.3f} ±0.000" in said
    assert "shots=[4, 8, 16] are left out: a class has 2 training pictures." in said
    with pytest.raises(UserError, match="a class has 2 training pictures"):
        probe.run(config(trained[0], glyphs, method="few_shot", shots=[3]))


@pytest.mark.parametrize("method", ["sgd", "knn", "few_shot"])
def test_map_of_other_methods_is_torchmetrics(trained, glyphs, shared, tmp_path, method, monkeypatch):
    coco = shared / "data" / "coco-mini" / "annotations"
    data = LabelledConfig(train=str(coco / "instances_train2017.json"), test=str(coco / "instances_val2017.json"))
    found = []
    figures = probe.figures
    monkeypatch.setattr(probe, "figures", lambda scores, several: (found.append(scores), figures(scores, several))[1])
    out = tmp_path / "probe.json"
    probe.run(config(trained[0], glyphs, data=data, method=method, shots=[2], draws=1, out=str(out)))
    written = json.loads(out.read_text())
    (scores, truth) = found[0]
    occurring = truth.any(axis=0)
    metric = MultilabelAveragePrecision(int(occurring.sum()), average="macro", thresholds=None)
    likely = torch.from_numpy(scores[:, occurring]).double()
    expected = metric(likely if method == "knn" else likely.sigmoid(), torch.from_numpy(truth[:, occurring]).long())
    assert written["map_2" if method == "few_shot" else "map"] == pytest.approx(expected.item(), abs=1e-5)

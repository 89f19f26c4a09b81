import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from catclip.config import ProbeConfig
from catclip.errors import UserError
from catclip.verbs import probe
from catclip.verbs.training import train
from tests import tiny


@pytest.fixture(scope="module")
def trained(glyphs, tmp_path_factory) -> tuple[Path, float]:
    """A run, and what its own probe found at its end."""
    out = tmp_path_factory.mktemp("probe") / "run"
    data = {"probe": str(glyphs / "probe")}
    (run,) = train({"r": tiny.config("contrastive", glyphs, data=data, steps=2, evaluations=1)}, {"r": out}, "training")
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


def test_wrong_input(glyphs, trained, tmp_path):
    for changes, said in (
        ({"model": str(tmp_path)}, "is not a run folder"),
        ({"model": str(trained[0].parent)}, "Runs in it: run"),
        ({"data": str(tmp_path)}, "No folder"),
        ({"device": "gpu"}, "device=gpu is no device"),
        ({"workers": -1}, "workers=-1 must be at least 0"),
        ({"weights": "best"}, "weights=best is not one of ema, last"),
    ):
        with pytest.raises(UserError, match=said):
            probe.run(replace(config(trained[0], glyphs), **changes))

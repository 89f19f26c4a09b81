"""The worked example of docs/extending.md trains as it stands there."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch

from catclip import cli
from catclip.train.folder import load_objective
from catclip.train.track import read_metrics
from tests import tiny

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "extending.md").read_text()
BLOCKS = dict(re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL))


@pytest.fixture
def example(tmp_path, monkeypatch) -> Path:
    """The page's files, in a folder that is the current one and on Python's path."""
    for block in (BLOCKS["python"], BLOCKS["yaml"]):
        file = tmp_path / block.splitlines()[0].removeprefix("# ")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "rotation", raising=False)
    return tmp_path


def test_the_example_trains_by_the_pages_command(example, glyphs, monkeypatch, capsys):
    path, verb, *arguments = shlex.split(BLOCKS["bash"])
    assert (path, verb) == ("PYTHONPATH=.", "catclip")
    arguments = [each for each in arguments if not each.startswith(("data.sources=", "run.epochs="))]
    arguments += [f"data.sources={glyphs}/train-*.tar", "data.workers=0", "run.steps=12", "run.batch=16", "run.out=run"]
    arguments += ["run.precision=fp32", "run.device=cpu", "objective.hidden=16", "track.log_every=1", "optim.lr=1e-2"]
    monkeypatch.setattr(sys, "argv", ["catclip", *arguments, *tiny.BACKBONE_ARGUMENTS])
    cli.main()
    assert "Done: 192 pictures" in capsys.readouterr().out
    logged = [row for row in read_metrics(example / "run" / "metrics.jsonl") if "loss" in row]
    assert logged[-1]["loss"] < logged[0]["loss"]
    assert 0 <= logged[-1]["accuracy"] <= 1
    summary = json.loads((example / "run" / "summary.json").read_text())
    assert summary["steps"] == 12
    objective = load_objective(example / "run")
    assert type(objective).__name__ == "Rotation"
    batch = {"images": torch.zeros(2, 3, tiny.SIZE, tiny.SIZE, dtype=torch.uint8)}
    assert objective.outputs(batch)["logits"].shape == (2, 4, 4)


def test_an_option_that_it_does_not_take_is_refused(example, glyphs, monkeypatch, capsys):
    arguments = ["pretrain", "--config-dir=conf", "objective=rotation", f"data.sources={glyphs}/train-*.tar"]
    monkeypatch.setattr(sys, "argv", ["catclip", *arguments, "run.steps=1", "+objective.hiden=3", "run.out=run"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "Rotation takes no option 'hiden'. Did you mean 'hidden'?" in capsys.readouterr().err

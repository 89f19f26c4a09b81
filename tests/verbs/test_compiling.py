"""A compiled run: what it compiles, and that it says so when it has to compile again."""

import json
from functools import partial

import pytest
import torch

from catclip.train import trainer
from catclip.train.compiling import Compiler
from catclip.verbs.training import train
from tests import tiny


@pytest.fixture(autouse=True)
def quick_compiler(monkeypatch):
    """Finds the graphs, which is what is counted, and runs them as they are."""
    monkeypatch.setattr(trainer, "Compiler", partial(Compiler, "eager"))


@pytest.mark.parametrize(("objective", "graphs"), [("categorical", 2), ("contrastive", 3)])
def test_a_run_with_sides_and_evaluations_compiles_each_side_once(glyphs, tmp_path, capsys, objective, graphs):
    data = {"sizes": [24, 32], "size_step": 8, "size_schedule": "rising", "val": str(glyphs / "val-*.tar")}
    config = tiny.config(objective, glyphs, data, optim={"ema": None}, evaluate_every=2, compile=True, steps=6)
    (run,) = train({"run": config}, {"run": tmp_path / "run"}, "training")
    assert run.trainer.compiler.graphs == graphs  # a text tower has one
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {row["recompilations"] for row in rows if "loss" in row} == {0}
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["recompilations"] == 0
    assert "again" not in capsys.readouterr().out


def test_recompilation_is_warned_of_once(glyphs, tmp_path, capsys, monkeypatch):
    config = tiny.config("categorical", glyphs, compile=True, steps=6)
    # Every graph is thrown away, as if none fitted a second time.
    before = trainer.Trainer.step
    monkeypatch.setattr(trainer.Trainer, "step", lambda *given: torch._dynamo.reset() or before(*given))
    (run,) = train({"run": config}, {"run": tmp_path / "run"}, "training")
    assert run.summary()["recompilations"] == 5
    assert capsys.readouterr().out.count("run.compile=false") == 1

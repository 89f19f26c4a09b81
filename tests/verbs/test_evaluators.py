import json
from dataclasses import replace

import pytest
import torch

from catclip.errors import UserError
from catclip.train.track import read_metrics
from catclip.verbs.evaluators import build_evaluators, check_evaluators
from catclip.verbs.training import train
from tests import tiny

CPU = torch.device("cpu")
NORM = {"_target_": "tests.verbs.test_evaluators.Norm", "every": "3 steps"}


class Norm:
    """An evaluator as a user might write one."""

    def __init__(self, config, device, *, name: str = "norm"):
        self.name = name

    def __call__(self, objective):
        assert not objective.training
        yield self.name, float(sum(parameter.norm() for parameter in objective.parameters()))


def test_each_is_due_at_its_own_interval_and_at_both_ends(glyphs, tmp_path, capsys):
    config = tiny.config("categorical", glyphs, data={"val": str(glyphs / "val-*.tar")}, evaluate_every="50%",
                         evaluators={"norm": NORM, "other": NORM | {"every": "75%", "name": "other"}})  # fmt: skip
    train({"run": config}, {"run": tmp_path / "run"}, "training")
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    steps = {name: [row["step"] for row in rows if name in row] for name in ("map", "norm", "other")}
    assert steps == {"map": [0, 4, 8], "norm": [0, 3, 6, 8], "other": [0, 6, 8]}
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["norm"] == rows[-1]["norm"]
    lines = {
        line.split("step")[1].split()[0]: line for line in capsys.readouterr().out.splitlines() if " step " in line
    }
    assert " mAP " in lines["4"]
    assert " norm " in lines["3"]


def test_without_data_or_interval_there_is_none(glyphs):
    config = tiny.config("categorical", glyphs, evaluate_every="50%")
    assert build_evaluators(config, CPU) == {}
    config = tiny.config("categorical", glyphs, data={"val": str(glyphs / "val-*.tar"), "probe": str(glyphs / "probe")})
    assert build_evaluators(config, CPU) == {}
    config = tiny.config("categorical", glyphs, evaluators={"norm": NORM, "held_out": None})
    assert list(build_evaluators(config, CPU)) == ["norm"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (NORM | {"every": 0}, r"evaluators\.mine\.every=0 must be above 0"),
        (NORM | {"every": "often"}, r"evaluators\.mine\.every=often is no duration"),
        (NORM | {"_target_": "tests.nowhere.Norm"}, r"evaluators\.mine\._target_='tests\.nowhere\.Norm' cannot be imp"),
        ({"every": 1}, r"evaluators\.mine\._target_='' cannot be imported"),
        (5, r"evaluators\.mine=5 must be null or a mapping with an interval"),
        ({"_target_": NORM["_target_"], "evry": 3}, r"evaluators\.mine=.*'evry': 3.* must be null or a mapping"),
        (NORM | {"size": 3}, r"evaluators\.mine: tests\.verbs\.test_evaluators\.Norm cannot be made .*'size'"),
    ],
)
def test_what_is_no_evaluator_is_said_before_there_is_a_folder(glyphs, tmp_path, entry, said):
    config = tiny.config("categorical", glyphs, evaluators={"mine": entry})
    with pytest.raises(UserError, match=said):
        train({"run": config}, {"run": tmp_path / "run"}, "training")
    assert not (tmp_path / "run").exists()


def test_two_that_measure_the_same_are_told_apart(glyphs, tmp_path):
    config = tiny.config("categorical", glyphs, evaluators={"one": NORM, "two": NORM})
    with pytest.raises(UserError, match=r"evaluators\.one and evaluators\.two both give norm"):
        train({"run": config}, {"run": tmp_path / "run"}, "training")


def test_the_best_of_nothing_is_refused(glyphs):
    config = tiny.config("categorical", glyphs)
    check_evaluators(config)
    with pytest.raises(UserError, match=r"run\.best=map needs evaluations"):
        check_evaluators(replace(config, run=replace(config.run, best="map")))

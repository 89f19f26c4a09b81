"""Every objective of `conf/objective` is built with what stands there, and comes back out of a run folder."""

from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from catclip.captions.words import WordVocabulary
from catclip.objectives.options import check_options
from catclip.paths import CONF
from catclip.train.folder import load_objective
from catclip.verbs.training import train
from tests import tiny

NAMES = sorted(path.stem for path in (CONF / "objective").glob("*.yaml"))


def composed(name: str) -> dict[str, Any]:
    """The YAML on top of the one that it builds on."""
    own = OmegaConf.to_container(OmegaConf.load(CONF / "objective" / f"{name}.yaml"))
    assert isinstance(own, dict)
    base = [each for each in own.pop("defaults", []) if each != "_self_"]
    return (composed(base[0]) if base else {}) | own


@pytest.mark.parametrize("name", NAMES)
def test_the_options_are_those_of_the_class(name):
    options = composed(name)
    module, _, kind = options.pop("_target_").rpartition(".")
    check_options(getattr(__import__(module, fromlist=[kind]), kind), options)


@pytest.mark.parametrize("name", ["superclass", "bag_of_words", "hybrid"])
def test_a_run_gives_the_objective_back(name, glyphs, tmp_path):
    options = composed(name)
    if name == "bag_of_words":
        WordVocabulary(["a", "the", "of"], [3, 2, 1], {}).save(tmp_path / "words.tsv")
        options["vocabulary"] = str(tmp_path / "words.tsv")
    if name == "hybrid":
        options["contrastive"] |= tiny.TEXT
    config = tiny.config("categorical", glyphs, optim={"ema": None}, steps=1)
    config.objective = options
    (run,) = train({name: config}, {name: tmp_path / "run"}, name)
    again = load_objective(tmp_path / "run")
    tiny.assert_same(dict(again.state_dict()), dict(run.trainer.objective.state_dict()))
    images = torch.zeros(1, 3, tiny.SIZE, tiny.SIZE, dtype=torch.uint8)
    run.trainer.objective.eval()
    torch.testing.assert_close(again.predict(images), run.trainer.objective.predict(images))

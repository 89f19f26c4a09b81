"""Objectives whose targets have the same names can share batches."""

from dataclasses import replace

from catclip.verbs.training import train
from tests import tiny

OTHERS = {
    "plain": {},
    "subwords": {"labels": "subword", "vocabulary": None, "loss": "softmax"},
}


def test_trained_together_each_learns_what_it_learns_alone(glyphs, tmp_path):
    # The first caption: of several, each target draws one after the other, and alone another.
    config = tiny.config("categorical", glyphs, data={"captions": "first"}, steps=2)
    configs = {name: replace(config, objective=config.objective | options) for name, options in OTHERS.items()}
    text = tiny.objective_config("contrastive", glyphs)
    configs |= {str(length): replace(config, objective=text | {"text_length": length}) for length in (16, 8)}
    together = train(configs, {name: tmp_path / "together" / name for name in configs}, "together")
    for run in together:
        (alone,) = train({run.name: configs[run.name]}, {run.name: tmp_path / "alone" / run.name}, "alone")
        tiny.assert_same(run.trainer.weights(), alone.trainer.weights())

"""Training on multi-scale batches: its length, its pictures, its resumption."""

import json
import shutil
from dataclasses import replace

import pytest
from safetensors.torch import load_file

from catclip.data.batch_sizes import BatchSizes
from catclip.data.pairs import Pairs
from catclip.errors import UserError
from catclip.verbs.batch_sizes import plan_batch_sizes
from catclip.verbs.training import train
from tests import tiny
from tests.tiny import assert_same

SIZES = {"sizes": [24, 40], "size_step": 8}


@pytest.mark.parametrize("schedule", ["random", "rising"])
def test_length_in_epochs_counts_the_batches_as_they_are(glyphs, tmp_path, schedule):
    config = tiny.config("categorical", glyphs, SIZES | {"size_schedule": schedule}, steps=None, epochs=1)
    (run,) = train({"run": config}, {"run": tmp_path / "run"}, "training")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [row["step"] for row in rows if "loss" in row]
    sizes = plan_batch_sizes(config, 1)(len(steps))
    assert [row["samples"] for row in rows if "loss" in row] == [sizes.before(step) for step in steps]
    # 32² × 8 pixels are 14, 8 or 5 pictures: whole batches come within half of the largest.
    pairs = Pairs(config.data.sources, config.data)
    assert abs(run.total.samples - pairs.order(0, 1).epoch_length) <= 7


@pytest.mark.parametrize("schedule", ["random", "rising"])
def test_a_resumed_run_ends_with_the_same_weights(glyphs, tmp_path, schedule):
    config = tiny.config("categorical", glyphs, SIZES | {"size_schedule": schedule}, steps=6, checkpoint_every=3)
    weights = []
    for name, killed in (("whole", False), ("resumed", True)):
        folder = tmp_path / name
        train({"run": config}, {"run": folder}, "training")
        if killed:  # back to the middle
            shutil.rmtree(folder / "checkpoints" / "step-6")
            (folder / "summary.json").unlink()
            train({"run": config}, {"run": folder}, "training")
        weights.append(load_file(folder / "checkpoints" / "step-6" / "last.safetensors"))
    assert_same(*weights)


def test_a_run_of_one_size_asks_for_nothing(glyphs):
    assert plan_batch_sizes(tiny.config("categorical", glyphs), 1) is None


def test_a_backbone_of_one_size_is_refused_before_there_is_a_folder(glyphs, tmp_path):
    config = tiny.config("categorical", glyphs, SIZES)
    backbone = replace(config.backbone, name="cait_xxs24_224", options={"depth": 1})
    with pytest.raises(UserError, match=r"one side only: give data\.sizes=null"):
        train({"run": replace(config, backbone=backbone)}, {"run": tmp_path / "run"}, "training")
    assert not (tmp_path / "run").exists()


def test_ranks_share_each_batch(glyphs):
    sizes = plan_batch_sizes(tiny.config("categorical", glyphs, SIZES), 4)(8)
    assert isinstance(sizes, BatchSizes)
    assert all((sizes.before(t + 1) - sizes.before(t)) % 4 == 0 for t in range(8))

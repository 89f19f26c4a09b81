"""A step in stages is the trainer's step, and its stages add up."""

import copy
import time
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from catclip.compare.stages import STAGES, ByteCounter, staged_bytes, staged_operations, staged_step
from catclip.train.flops import StepFlops
from catclip.train.trainer import Trainer
from tests import tiny

CPU = torch.device("cpu")


def made(name, glyphs):
    config = tiny.config(name, glyphs)
    objective = tiny.build(config)
    return config, objective, tiny.batches(config, objective, 1)[0]


def trainer(objective, config):
    return Trainer(objective, replace(config.optim, warmup=0, cooldown=0), 1000, CPU, "fp32")


@pytest.mark.parametrize("name", tiny.OBJECTIVES)
def test_a_staged_step_trains_as_the_trainer_does(glyphs, name):
    config, objective, batch = made(name, glyphs)
    whole, staged = (trainer(copy.deepcopy(objective), config) for _ in range(2))
    for group in staged.optimizer.param_groups:  # the trainer's schedule sets it with each step
        group["lr"] = config.optim.lr * group["lr_scale"]
    whole.step(batch)
    start = time.perf_counter()
    spent = staged_step(staged, batch, time.perf_counter)
    took = time.perf_counter() - start
    for mine, other in zip(whole.objective.parameters(), staged.objective.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-6)
    for mine, other in zip(whole.average.parameters(), staged.average.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-6)
    assert set(spent) == set(STAGES)
    assert 0.5 * took < sum(spent.values()) <= took
    assert (spent["text_tower"] > 0) == (name == "contrastive")
    assert not staged.objective.backbone._forward_hooks


@pytest.mark.parametrize("name", tiny.OBJECTIVES)
def test_operations_by_stage_are_those_of_the_step(glyphs, name):
    _, objective, batch = made(name, glyphs)
    before = copy.deepcopy(objective.state_dict())
    found = staged_operations(objective, batch)
    rest = StepFlops(objective)(batch)
    size, width = len(batch["images"]), objective.backbone.width
    if name == "categorical":
        assert found["loss"] == 0
        assert found["head"] == 2 * size * width * objective.head.out_features
        assert sum(found.values()) == rest
    else:
        embed = objective.projection.out_features
        assert found["head"] == 2 * size * width * embed
        assert found["loss"] == 2 * (2 * size * size * embed)  # two matrices of logits
        assert sum(found.values()) == rest + 3 * found["loss"]
    tiny.assert_same(dict(before), dict(objective.state_dict()))
    assert all(each.grad is None for each in objective.parameters())


def test_bytes_are_counted_by_hand():
    x, y = torch.ones(10, 4), torch.ones(4, 3)
    with ByteCounter() as counter:
        x @ y
        assert counter.total == 4 * (40 + 12 + 30)
        x.t().view(4, 10)  # moves nothing
        torch.empty(1000)
        assert counter.total == 4 * 82
        x.add_(1)  # read and written
        assert counter.total == 4 * (82 + 80)


@pytest.mark.parametrize("pick", [lambda table, ids: F.embedding(ids, table), lambda table, ids: table[ids]])
def test_of_a_table_the_rows_picked_are_read(pick):
    table, ids = torch.ones(1000, 4), torch.tensor([3, 5])
    with ByteCounter() as counter:
        pick(table, ids)
        assert counter.total == 2 * 4 * 8 + 2 * 8  # two rows read and written, two indices read
    with ByteCounter() as counter:
        table[ids] = torch.ones(2, 4)
        assert 3 * 4 * 8 <= counter.total < 4 * 100  # of the table two rows, of the values all


def test_bytes_by_stage(glyphs):
    config, objective, batch = made("categorical", glyphs)
    one = trainer(objective, config)
    one.step(batch)
    found = staged_bytes(one, batch)
    parameters = 4 * sum(each.numel() for each in objective.parameters())
    # AdamW reads weights, gradients and two moments, and writes three of them; the norm and the clipping come on top.
    assert found["optimizer"] > 7 * parameters
    assert found["optimizer"] < 14 * parameters
    assert found["text_tower"] == 0
    assert found["backward"] > found["image_tower"] > batch["images"].numel()

"""The sides of `catclip bench step` do the same work: from the same weights they come to the same weights."""

import copy
from dataclasses import replace

import pytest
import torch

from catclip.compare import full_step
from catclip.compare.full_step import (
    PARTS,
    Setting,
    bare_loop,
    build_categorical,
    dense_targets,
    make_sides,
    open_clip_step,
    parts_of,
    random_batch,
    step_figures,
    timm_step,
)
from catclip.compare.label_loss import _dense, _inputs, _ragged
from catclip.models.backbone import build_backbone
from catclip.objectives.contrastive import Contrastive
from catclip.train.trainer import Trainer
from tests import tiny

SETTING = Setting(torch.device("cpu"), "fp32", False, steps=1, rounds=2)
LABELS = 50


@pytest.fixture
def sides():
    backbone = build_backbone("vit_tiny_patch16_224", tiny.SIZE, tiny.OPTIONS, 0)
    categorical = build_categorical(backbone, LABELS)
    contrastive = Contrastive(copy.deepcopy(backbone), None, **tiny.TEXT)
    return categorical, contrastive, random_batch(4, tiny.SIZE, LABELS, 16, 49_405, SETTING.device)


def test_one_step_of_each_comes_to_the_same_weights(sides):
    categorical, contrastive, batch = sides
    # lerp's momentum and timm's warm-up of its average differ from ours by design; weights do not.
    for objective, optim, others in [
        (categorical, full_step.OPTIM, [bare_loop, timm_step]),
        (contrastive, replace(full_step.OPTIM, ema=None), [open_clip_step]),
    ]:
        start = copy.deepcopy(objective)
        ours = full_step._trainer(copy.deepcopy(objective), optim, SETTING)
        for _ in range(2):
            ours.step(batch)
        for other in others:
            theirs = copy.deepcopy(start)
            step = other(theirs, batch, SETTING)
            step()
            step()
            mine = dict(ours.objective.backbone.named_parameters())
            for name, weights in theirs.backbone.named_parameters():
                assert not torch.equal(weights, dict(start.backbone.named_parameters())[name]), name
                # Adam's first steps are lr · sign of the gradient: rounding turns a few around.
                same = (weights - mine[name]).abs() < 3e-4
                assert same.float().mean() > 0.97, (other.__name__, name)


def test_the_parts_are_the_step(sides):
    categorical, _, batch = sides
    whole, parted = (full_step._trainer(copy.deepcopy(categorical), full_step.OPTIM, SETTING) for _ in range(2))
    whole.step(batch)
    figures = parts_of(parted, batch, SETTING)
    assert figures["parts"] == pytest.approx(sum(figures[f"part.{name}"] for name in PARTS))
    lr = full_step.OPTIM.lr
    for one, other in zip(whole.objective.parameters(), parted.objective.parameters(), strict=True):
        assert (one - other).abs().max() < 0.01 * lr
    tiny.assert_same(whole.average.n_averaged, parted.average.n_averaged)


def test_figures_are_medians_over_rounds_that_count(sides, monkeypatch):
    categorical, contrastive, batch = sides
    turns: dict[str, int] = {}

    def made(name: str, factor: float):
        def side() -> dict[str, float]:
            turns[name] = turns.get(name, 0) + 1
            return {name: factor * (1000 if turns[name] == 1 else turns[name])}

        return side

    factors = {"step": 1.0, "parts": 2.0, "bare_loop": 0.5, "timm": 4.0, "contrastive_step": 1.0, "open_clip": 1.0}
    monkeypatch.setattr(full_step, "make_sides", lambda *_: {name: made(name, each) for name, each in factors.items()})
    results = step_figures(categorical, contrastive, batch, SETTING)
    assert results["ratio.step_to_bare_loop"] == 2
    assert results["ratio.step_to_timm"] == 0.25
    assert results["step.milliseconds"] == 2500  # rounds 2 and 3
    assert results["step.milliseconds.spread"] == pytest.approx(0.4)
    assert set(turns.values()) == {3}


def test_all_sides_run(sides):
    categorical, contrastive, batch = sides
    for name, side in make_sides(categorical, contrastive, batch, SETTING).items():
        taken = side()
        assert taken[name] > 0
        assert all(seconds > 0 for seconds in taken.values())


def test_dense_targets_and_losses_by_hand():
    batch = {"label_ids": torch.tensor([1, 2, 0]), "label_offsets": torch.tensor([0, 2, 2, 3])}
    dense = dense_targets(batch, 3, torch.device("cpu"))
    assert dense.tolist() == [[0, 1, 1], [0, 0, 0], [1, 0, 0]]
    logits, made = _inputs(6, 40, torch.device("cpu"))
    losses = [loss(logits, made) for loss in (_ragged, _dense)]
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in losses]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
    assert torch.allclose(*gradients, atol=1e-7)


def test_the_trainer_is_the_one_that_trains(sides):
    categorical, _, batch = sides
    assert isinstance(full_step._trainer(categorical, full_step.OPTIM, SETTING), Trainer)
    assert batch["images"].dtype == torch.uint8
    assert batch["label_offsets"].tolist() == [0, 4, 8, 12, 16]

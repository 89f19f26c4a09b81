import copy
import math

import pytest
import torch

from catclip.config import OptimConfig
from catclip.errors import UserError
from catclip.train.trainer import Trainer
from tests import tiny
from tests.tiny import OBJECTIVES, assert_same

CPU = torch.device("cpu")
STEPS = 5
# The reference's own schedule: a warm-up of two steps, then a cosine over three.
RATES = [0.5e-3, 1e-3, *(1e-5 + 0.5 * (1e-3 - 1e-5) * (1 + math.cos(math.pi * t)) for t in (0, 0.5, 1))]
OPTIM = {"lr": 1e-3, "min_lr": 1e-5, "warmup": 2, "weight_decay": 0.1, "clip": 0.5, "ema": 0.1}


def prepared(objective: str, glyphs, **changes):
    config = tiny.config(objective, glyphs, optim=OPTIM | changes, steps=STEPS)
    model = tiny.build(config)
    return model, config, tiny.batches(config, model, STEPS)


def by_hand(model, batches, clip: float | None):
    """AdamW as one would write it in a notebook; returns the weights after each step, and the losses."""
    no_decay = ("bias", "norm", "pos_embed", "positional_embedding", "token_embedding", "ln_", "log_scale")
    groups = [
        {"params": [p for n, p in model.named_parameters() if not any(part in n for part in no_decay)]},
        {"params": [p for n, p in model.named_parameters() if any(part in n for part in no_decay)], "weight_decay": 0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.999), weight_decay=0.1, fused=True)
    history, losses = [], []
    for rate, batch in zip(RATES, batches, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss = model(batch)["loss"]
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        history.append({name: value.detach().clone() for name, value in model.state_dict().items()})
        losses.append(loss.item())
    return history, losses


@pytest.mark.parametrize("clip", [0.5, None])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_training_equals_a_hand_written_loop_to_the_bit(glyphs, objective, clip):
    model, config, batches = prepared(objective, glyphs, clip=clip)
    history, losses = by_hand(copy.deepcopy(model).train(), batches, clip)
    trainer = Trainer(model, config.optim, STEPS, CPU, "fp32")
    for step, batch in enumerate(batches):
        logged = trainer.step(batch)
        assert logged["lr"].item() == pytest.approx(RATES[step], rel=1e-6)
        assert logged["loss"].item() == losses[step]
        assert_same(trainer.weights()["last"], history[step])
    assert trainer.step_number == STEPS


def test_averaged_weights_equal_a_slow_average(glyphs):
    model, config, batches = prepared("categorical", glyphs)
    trainer = Trainer(model, config.optim, STEPS, CPU, "fp32")
    slow: dict[str, list[float]] = {}
    watched = ("head.bias", "backbone.trunk.fc_norm.weight")
    for step, batch in enumerate(batches):
        trainer.step(batch)
        # The first average is the weights themselves; then the momentum falls as 9 / (10 + steps) to the configured.
        share = max(0.1, 9 / (10 + step)) if step else 1.0
        for name in watched:
            now = trainer.objective.state_dict()[name].tolist()
            before = slow.get(name, now)
            slow[name] = [old + share * (new - old) for old, new in zip(before, now, strict=True)]
    for name in watched:
        assert trainer.weights()["ema"][name].tolist() == pytest.approx(slow[name], rel=1e-5, abs=1e-7)
        assert not torch.equal(trainer.weights()["ema"][name], trainer.weights()["last"][name])


def test_late_in_training_the_average_has_the_configured_momentum(glyphs):
    model, config, batches = prepared("categorical", glyphs, ema=0.02)
    trainer = Trainer(model, config.optim, 1000, CPU, "fp32")
    trainer.step(batches[0])
    assert trainer.average is not None
    trainer.average.n_averaged.fill_(100_000)
    before = trainer.weights()["ema"]["head.bias"].double()
    trainer.step(batches[1])
    expected = before + 0.02 * (trainer.weights()["last"]["head.bias"].double() - before)
    assert torch.allclose(trainer.weights()["ema"]["head.bias"].double(), expected, rtol=1e-6, atol=1e-9)


def test_without_an_average_the_last_weights_are_released(glyphs):
    model, config, batches = prepared("categorical", glyphs, ema=None)
    trainer = Trainer(model, config.optim, STEPS, CPU, "fp32")
    trainer.step(batches[0])
    assert set(trainer.weights()) == {"last"}
    assert trainer.evaluated() is model


def test_released_weights_are_the_average_in_evaluation_mode(glyphs):
    model, config, batches = prepared("categorical", glyphs)
    trainer = Trainer(model, config.optim, STEPS, CPU, "fp32")
    trainer.step(batches[0])
    trainer.step(batches[1])
    released = trainer.evaluated()
    assert released is not model
    assert not released.training
    assert_same(dict(released.state_dict()), trainer.weights()["ema"])
    trainer.step(batches[2])
    assert model.training


def test_clipping_bounds_the_step_but_logs_the_norm_before_it(glyphs):
    class Plain(torch.optim.SGD):
        """Shows the gradient: the weights move by it."""

    norms = {}
    for clip in (None, 1e-3):
        model, config, batches = prepared("categorical", glyphs, clip=clip, ema=None)
        trainer = Trainer(model, config.optim, STEPS, CPU, "fp32")
        trainer.optimizer = Plain([{"params": model.parameters(), "lr_scale": 1.0}], lr=1.0)
        before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
        logged = trainer.step(batches[0])
        moved = torch.cat([p.detach().flatten() for p in model.parameters()]) - before
        norms[clip] = (logged["grad_norm"].item(), moved.norm().item() / RATES[0])
    assert norms[None][0] == norms[1e-3][0] > 0.1
    assert norms[None][1] == pytest.approx(norms[None][0], rel=1e-3)
    assert norms[1e-3][1] == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_bf16_trains_fp32_weights_and_learns(glyphs, objective):
    model, config, batches = prepared(objective, glyphs, lr=1e-2)
    trainer = Trainer(model, config.optim, 40, CPU, "bf16")
    seen = []
    model.backbone.trunk.blocks[0].attn.qkv.register_forward_hook(lambda *call: seen.append(call[-1].dtype))
    losses = [trainer.step(batches[0])["loss"].item() for _ in range(12)]
    assert losses[-1] < 0.9 * losses[0]
    assert all(value.dtype == torch.float32 for value in trainer.weights()["last"].values())
    assert set(seen) == {torch.bfloat16}


def test_dropout_depends_on_seed_and_step_alone(glyphs):
    config = tiny.config("categorical", glyphs, options={"proj_drop_rate": 0.5})
    losses = []
    for seed, disturb in ((0, False), (0, True), (1, False)):
        model = tiny.build(config)
        trainer = Trainer(model, config.optim, STEPS, CPU, "fp32", seed=seed)
        run = []
        for batch in tiny.batches(config, model, 3):
            if disturb:
                torch.rand(7)  # as an evaluation, a new loader or another run beside it would
            run.append(trainer.step(batch)["loss"].item())
        losses.append(run)
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]
    # Different steps drop different units: the same batch gives another loss at another step, with no learning.
    model = tiny.build(config)
    trainer = Trainer(model, OptimConfig(lr=0.0, min_lr=0.0, warmup=0), 10, CPU, "fp32")
    batch = tiny.batches(config, model, 1)[0]
    assert trainer.step(batch)["loss"] != trainer.step(batch)["loss"]


@pytest.mark.parametrize("tf32", [False, True])
def test_tf32_is_for_matrices_and_convolutions(glyphs, tf32):
    model, config, _ = prepared("categorical", glyphs)
    Trainer(model, config.optim, STEPS, CPU, "fp32", tf32=tf32)
    assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")
    assert torch.backends.cudnn.allow_tf32 is tf32


def test_unknown_choices_are_refused(glyphs):
    model, config, _ = prepared("categorical", glyphs)
    with pytest.raises(UserError, match=r"run\.precision=fp8 is not one of auto, bf16, fp16, fp32"):
        Trainer(model, config.optim, STEPS, CPU, "fp8")
    with pytest.raises(UserError, match=r"run\.sharding=zero is not one of ddp, fsdp"):
        Trainer(model, config.optim, STEPS, CPU, "fp32", sharding="zero")
    with pytest.raises(UserError, match=r"give run\.precision=bf16, or run\.sharding=ddp"):
        Trainer(model, config.optim, STEPS, CPU, "fp16", sharding="fsdp")


def test_weights_of_another_model_are_refused(glyphs):
    model, config, batches = prepared("categorical", glyphs)
    trainer = Trainer(model, config.optim, STEPS, CPU, "fp32")
    trainer.step(batches[0])
    other = prepared("contrastive", glyphs)[0]
    with pytest.raises(UserError, match="does not fit this configuration"):
        Trainer(other, config.optim, STEPS, CPU).load(trainer.weights(), trainer.training_state(), 1)


def test_a_state_of_another_version_is_refused(glyphs):
    model, config, _ = prepared("categorical", glyphs)
    trainer = Trainer(model, config.optim, STEPS, CPU, "fp32")
    state = trainer.training_state()
    groups = state["optimizer"]["param_groups"]
    for other in ({"optimizer": state["optimizer"]}, {"overflows": 0}):
        with pytest.raises(UserError, match="another version of catclip"):
            trainer.load(trainer.weights(), {"averaged_steps": 0, **other}, 1)
    state["optimizer"]["param_groups"] = groups[:-1]
    with pytest.raises(UserError, match="another version of catclip"):
        trainer.load(trainer.weights(), state, 1)


def test_compiled_backbone_keeps_the_names_of_its_weights(glyphs):
    """Compilation itself takes half a minute; here only that a checkpoint reads the same with and without it."""
    model, config, _ = prepared("categorical", glyphs)
    names = set(model.state_dict())
    trainer = Trainer(model, config.optim, STEPS, CPU, "fp32", compile=True)
    assert set(trainer.weights()["last"]) == set(trainer.weights()["ema"]) == names


def test_fp16_leaves_out_steps_that_overflow_and_goes_on(glyphs):
    model, config, batches = prepared("categorical", glyphs, lr=1e-2)
    trainer = Trainer(model, config.optim, 40, CPU, "fp16")
    trainer.scaler.scale(torch.ones(()))
    trainer.scaler.update(2.0**40)  # a scale that no gradient bears
    before = copy.deepcopy(trainer.weights())
    logged = trainer.step(batches[0])
    assert logged["loss"].isfinite()
    assert "grad_norm" not in logged
    assert logged["overflows"] == trainer.overflows == 1
    assert_same(trainer.weights(), before)
    losses = []
    for _ in range(35):
        logged = trainer.step(batches[0])
        losses.append(logged["loss"].item())
    assert trainer.overflows < 30
    assert logged["grad_norm"].isfinite()
    assert losses[-1] < 0.95 * losses[0]
    other = Trainer(prepared("categorical", glyphs)[0], config.optim, 40, CPU, "fp16")
    other.load(trainer.weights(), trainer.training_state(), trainer.step_number)
    assert other.scaler.get_scale() == trainer.scaler.get_scale()
    assert other.overflows == trainer.overflows


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_training_in_parts_is_training_on_the_whole(glyphs, objective):
    runs = []
    for micro in (None, 3):
        model, config, batches = prepared(objective, glyphs)
        trainer = Trainer(model, config.optim, STEPS, CPU, "fp32", micro_batch=micro)
        logged = [trainer.step(batch) for batch in batches]
        runs.append([[each[name].item() for name in ("loss", "grad_norm", "lr")] for each in logged])
    assert runs[1] == [pytest.approx(each, rel=1e-4) for each in runs[0]]


@pytest.mark.parametrize(("side", "sizes"), [(32, [4, 4]), (64, [1] * 8), (16, [8])])
def test_parts_have_the_pixels_of_so_many_pictures_of_the_backbones_size(glyphs, monkeypatch, side, sizes):
    model, config, batches = prepared("contrastive", glyphs)
    trainer = Trainer(model, config.optim, STEPS, CPU, "fp32", micro_batch=4)
    batch = batches[0] | {"images": torch.zeros(8, 3, side, side, dtype=torch.uint8)}
    assert [len(part["keys"]) for part in trainer._parts(batch, [8])] == sizes

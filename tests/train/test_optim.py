import math

import pytest
import timm
from hypothesis import given
from hypothesis import strategies as st
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import nn

from catclip.config import OptimConfig
from catclip.models.text import build_text_tower
from catclip.train.optim import build_adamw, learning_rate


def decaying(model) -> set[str]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = build_adamw(model, OptimConfig(weight_decay=0.3)).param_groups
    assert {name for group in groups for name in (names[id(p)] for p in group["params"])} == set(names.values())
    assert sum(len(group["params"]) for group in groups) == len(names)
    assert {group["weight_decay"] for group in groups} == {0.3, 0.0}
    return {names[id(parameter)] for group in groups if group["weight_decay"] for parameter in group["params"]}


def test_of_a_vit_the_matrices_decay():
    options = {"depth": 2, "embed_dim": 32, "num_heads": 2, "reg_tokens": 2, "init_values": 1e-4}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=5, **options)
    blocks = {f"blocks.{i}.{part}.weight" for i in (0, 1) for part in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}
    assert decaying(model) == blocks | {"patch_embed.proj.weight", "head.weight"}


def test_what_timms_models_say_of_themselves_counts():
    options = {"depths": (1, 1), "num_heads": (1, 1), "embed_dim": 32}
    model = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, **options)
    timms = param_groups_weight_decay(model, 0.3, no_weight_decay_list=model.no_weight_decay())
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    expected = {names[id(each)] for group in timms if group["weight_decay"] for each in group["params"]}
    assert {each.removeprefix("trunk.") for each in decaying(nn.ModuleDict({"trunk": model}))} == expected


def test_of_the_text_tower_the_matrices_decay():
    tower = build_text_tower({"context_length": 8, "width": 16, "layers": 1, "heads": 2}, embed=4)
    block = "transformer.resblocks.0"
    matrices = {f"{block}.attn.in_proj_weight", f"{block}.attn.out_proj.weight", "text_projection"}
    assert decaying(tower) == matrices | {f"{block}.mlp.c_fc.weight", f"{block}.mlp.c_proj.weight"}


def test_frozen_parameters_are_left_out():
    model = timm.create_model("vit_tiny_patch16_224", num_classes=5, depth=1, embed_dim=32, num_heads=2)
    model.patch_embed.requires_grad_(False)
    groups = build_adamw(model, OptimConfig()).param_groups
    held = {id(parameter) for group in groups for parameter in group["params"]}
    assert not held & {id(parameter) for parameter in model.patch_embed.parameters()}


def test_adamw_gets_what_was_configured():
    tower = build_text_tower({"context_length": 8, "width": 16, "layers": 1, "heads": 2}, embed=4)
    optimizer = build_adamw(tower, OptimConfig(lr=3e-4, betas=[0.8, 0.95]))
    assert {group["betas"] for group in optimizer.param_groups} == {(0.8, 0.95)}
    assert {group["lr"] for group in optimizer.param_groups} == {3e-4}


def test_learning_rate_by_hand():
    config = OptimConfig(lr=1.0, min_lr=0.2, warmup=4)
    rates = [learning_rate(step, 10, config) for step in range(10)]
    # Four steps up, then five intervals of a half cosine down: cos of 0, 36, 72, 108, 144 and 180 degrees.
    cosine = [1.0, 0.8090169943749475, 0.3090169943749474, -0.3090169943749474, -0.8090169943749475, -1.0]
    expected = [0.25, 0.5, 0.75, 1.0, *(0.2 + 0.4 * (1 + value) for value in cosine)]
    assert rates == pytest.approx(expected, abs=1e-12)


def test_learning_rate_without_warmup_starts_at_its_peak():
    config = OptimConfig(lr=2.0, min_lr=0.5, warmup=0)
    assert learning_rate(0, 5, config) == 2.0
    assert learning_rate(2, 5, config) == pytest.approx(1.25)
    assert learning_rate(4, 5, config) == pytest.approx(0.5)


def test_learning_rate_of_a_single_step():
    assert learning_rate(0, 1, OptimConfig(lr=1.0, warmup=0)) == 1.0


def test_learning_rate_that_only_warms_up():
    assert [learning_rate(step, 4, OptimConfig(lr=1.0, warmup=4)) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]


@given(st.integers(1, 500), st.floats(0, 1), st.floats(0, 1))
def test_learning_rate_stays_in_bounds_rises_once_and_falls_once(steps: int, warmup: float, share: float):
    warm = round(warmup * steps)
    config = OptimConfig(lr=1e-3, min_lr=share * 1e-3, warmup=warm)
    rates = [learning_rate(step, steps, config) for step in range(steps)]
    assert all(0 <= rate <= config.lr * (1 + 1e-12) for rate in rates)
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    if steps - warm > 1:
        assert math.isclose(rates[-1], config.min_lr, rel_tol=1e-9, abs_tol=1e-15)


def test_learning_rate_linear_by_hand():
    config = OptimConfig(lr=1.0, min_lr=0.2, warmup=2, schedule="linear")
    rates = [learning_rate(step, 7, config) for step in range(7)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2], abs=1e-12)


def test_learning_rate_constant_cools_down_at_the_end():
    config = OptimConfig(lr=1.0, min_lr=0.2, warmup=2, schedule="constant", cooldown=4)
    rates = [learning_rate(step, 10, config) for step in range(10)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2], abs=1e-12)
    config = OptimConfig(lr=1.0, min_lr=0.2, warmup=0, schedule="constant", cooldown=0)
    assert [learning_rate(step, 3, config) for step in range(3)] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("options", [{}, {"reg_tokens": 2, "init_values": 1e-4, "global_pool": "avg"}])
def test_layer_decay_is_timms(options):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.head = nn.Module(), nn.Linear(32, 3)
            self.backbone.trunk = timm.create_model(
                "vit_tiny_patch16_224", num_classes=0, depth=3, embed_dim=32, num_heads=2, **options
            )

    model = Model()
    trunk = model.backbone.trunk
    no_decay = ["pos_embed", "cls_token", "reg_token"]
    expected = {}
    for group in param_groups_layer_decay(trunk, 0.3, no_weight_decay_list=no_decay, layer_decay=0.65):
        for parameter in group["params"]:
            expected[id(parameter)] = (group["lr_scale"], group["weight_decay"])
    expected |= {id(model.head.weight): (1.0, 0.3), id(model.head.bias): (1.0, 0.0)}
    found = {}
    for group in build_adamw(model, OptimConfig(weight_decay=0.3, layer_decay=0.65)).param_groups:
        for parameter in group["params"]:
            found[id(parameter)] = (group["lr_scale"], group["weight_decay"])
    assert found == {parameter: pytest.approx(values) for parameter, values in expected.items()}
    assert len({scale for scale, _ in found.values()}) > 3

import copy

import pytest
import torch
from torch import nn

from catclip.train.flops import StepFlops, Utilization, flops_per_image, peak_rate
from tests import tiny
from tests.tiny import assert_same


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(48, 20), nn.Linear(20, 7)

    def outputs(self, batch):
        return {"features": self.second(self.first(batch["images"].flatten(1).float()))}


def test_flops_of_linear_layers():
    """Forward 2·in·out a layer; backward the same for the weights, and for the inputs of all but the first."""
    batch = {"images": torch.zeros(5, 3, 4, 4, dtype=torch.uint8), "keys": ["x"] * 5}
    forward = 2 * 48 * 20 + 2 * 20 * 7
    assert flops_per_image(TwoLayers(), batch) == 2 * forward + 2 * 20 * 7


def test_flops_of_a_vit(glyphs):
    config = tiny.config("categorical", glyphs)
    objective = tiny.build(config)
    labels = objective.head.out_features
    tokens, width, hidden = 16, 32, 128  # 32 pixels in patches of 8; the blocks' MLP is 4 × as wide
    patches = 2 * tokens * (3 * 8 * 8) * width
    qkv_and_projection = 2 * tokens * width * (3 * width) + 2 * tokens * width * width
    attention = 2 * (2 * tokens * tokens * width)  # q·k, and attention · v, over all heads
    mlp = 2 * (2 * tokens * width * hidden)
    head = 2 * width * labels
    # Backward costs twice the forward pass, but nobody asks for the gradient of the pictures.
    expected = 3 * (patches + qkv_and_projection + attention + mlp + head) - patches
    assert flops_per_image(objective, tiny.batches(config, objective, 1)[0]) == expected


@pytest.mark.parametrize("objective", tiny.OBJECTIVES)
def test_flops_counted_on_shapes_are_those_of_the_real_step(glyphs, objective):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    config = tiny.config(objective, glyphs)
    model = tiny.build(config)
    batch = tiny.batches(config, model, 1)[0]
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        copy.deepcopy(model)(batch)["loss"].backward()
    # All but the similarities of the pairs, both ways, forward and backward.
    loss = 2 * 3 * 2 * config.run.batch * tiny.TEXT["embed"] if objective == "contrastive" else 0
    assert flops_per_image(model, batch) == counter.get_total_flops() / config.run.batch - loss > 0


def test_counting_leaves_the_objective_as_it_was(glyphs):
    config = tiny.config("contrastive", glyphs)
    model = tiny.build(config)
    before = copy.deepcopy(model.state_dict())
    flops_per_image(model, tiny.batches(config, model, 1)[0])
    assert_same(dict(model.state_dict()), dict(before))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}


def test_dropped_patches_are_not_counted_and_larger_pictures_are(glyphs):
    options = {"dynamic_img_size": True}
    whole, half = (
        StepFlops(tiny.build(tiny.config("categorical", glyphs, options=options | {"patch_drop_rate": rate})))
        for rate in (0.0, 0.5)
    )
    config = tiny.config("categorical", glyphs)
    batch = tiny.batches(config, tiny.build(config), 1)[0]
    assert 0.4 < half(batch) / whole(batch) < 0.7
    larger = batch | {"images": batch["images"].repeat(1, 1, 2, 2)}  # four times as many patches
    assert whole(larger) > 3.5 * whole(batch)
    fewer = {"images": batch["images"][:4]}
    assert whole(fewer) == whole(batch) / 2


def test_work_done_twice_by_checkpointing_counts_once(glyphs):
    config = tiny.config("categorical", glyphs)
    plain, checkpointed = tiny.build(config), tiny.build(config)
    checkpointed.backbone.trunk.set_grad_checkpointing(True)
    batch = tiny.batches(config, plain, 1)[0]
    assert flops_per_image(plain, batch) == flops_per_image(checkpointed, batch)
    assert checkpointed.backbone.trunk.grad_checkpointing


# ---------------------------------------------------------------- the share of the peak


@pytest.mark.parametrize(
    ("name", "precision", "tf32", "rate"),
    [
        ("NVIDIA A100-SXM4-80GB", "bf16", False, 312e12),
        ("NVIDIA A100-SXM4-80GB", "fp32", False, 19.5e12),
        ("NVIDIA A100-SXM4-80GB", "fp32", True, 156e12),
        ("NVIDIA H100 80GB HBM3", "bf16", False, 989.4e12),
        ("NVIDIA H100 PCIe", "bf16", False, 756e12),
        ("NVIDIA H200", "fp16", False, 989.4e12),
        ("NVIDIA A10", "bf16", False, 125e12),
        ("NVIDIA A10G", "bf16", False, 70e12),
        ("NVIDIA L4", "bf16", False, 121e12),
        ("NVIDIA GeForce RTX 4090", "bf16", False, 165.2e12),
        ("Tesla T4", "fp16", False, 65e12),
        ("Tesla V100-SXM2-16GB", "fp32", True, 15.7e12),  # it has no TF32
        ("Tesla V100-SXM2-16GB", "bf16", False, None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "bf16", False, None),
        ("NVIDIA GeForce RTX 4090 D", "bf16", False, None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "bf16", False, None),
        ("NVIDIA H100 80GB HBM3 MIG 3g.40gb", "bf16", False, None),
        ("Some GPU", "bf16", False, None),
    ],
)
def test_peak_rates(name, precision, tf32, rate):
    assert peak_rate(name, precision, tf32) == rate


def test_a_cpu_has_no_share(glyphs):
    config = tiny.config("categorical", glyphs)
    model = tiny.build(config)
    utilization = Utilization(model, torch.device("cpu"), "bf16", False)
    assert utilization.flops(tiny.batches(config, model, 1)[0]) == 0
    assert utilization.share(1e12, 1.0) == {}


def test_of_a_known_device_the_share_is_flops_by_seconds_and_peak(glyphs, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100-SXM4-80GB")
    config = tiny.config("categorical", glyphs)
    model = tiny.build(config)
    batch = tiny.batches(config, model, 1)[0]
    utilization = Utilization(model, torch.device("cuda"), "bf16", False)
    assert utilization.flops(batch) == 8 * flops_per_image(model, batch)
    assert utilization.share(312e12, 4.0) == {"mfu": 0.25}

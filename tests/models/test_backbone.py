"""The backbone is the bare timm model on normalised pictures, and its weights depend on the seed alone."""

import pytest
import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import resample_abs_pos_embed
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import v2

from catclip.errors import UserError
from catclip.models.backbone import Backbone, build_backbone
from tests.tiny import OPTIONS, assert_same

NAME = "vit_tiny_patch16_224"


def build(seed: int = 0, **options) -> Backbone:
    return build_backbone(NAME, 32, OPTIONS | options, seed)


def images(count: int = 3, size: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


# ---- weights --------------------------------------------------------------------------------------------------------


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = build(7).state_dict()
    torch.manual_seed(2)
    torch.rand(1000)
    build(8)
    assert_same(dict(build(7).state_dict()), dict(first))
    assert any(not torch.equal(value, first[key]) for key, value in build(8).state_dict().items())


def test_building_leaves_the_random_state_alone():
    torch.manual_seed(1)
    expected = torch.rand(5)
    torch.manual_seed(1)
    build(7)
    assert torch.equal(torch.rand(5), expected)


def test_weights_are_timms_own():
    torch.manual_seed(7)
    expected = timm.create_model(NAME, num_classes=0, img_size=32, **OPTIONS)
    assert_same(dict(build(7).trunk.state_dict()), dict(expected.state_dict()))


def test_normalisation_is_no_weight():
    assert all(key.startswith("trunk.") for key in build().state_dict())


# ---- forward --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        (NAME, 32, OPTIONS),
        (NAME, 48, {"depth": 1, "embed_dim": 32, "num_heads": 2}),
        ("vit_base_patch16_siglip_224", 32, {"depth": 1, "embed_dim": 32, "num_heads": 2}),
        ("vit_base_patch16_clip_224", 32, {"depth": 1, "embed_dim": 32, "num_heads": 2}),
        (
            "swin_tiny_patch4_window7_224",
            64,
            {"depths": (1, 1), "embed_dim": 24, "num_heads": (1, 1), "window_size": 4},
        ),
    ],
    ids=["pooled", "class token", "attention pooling", "clip", "swin"],
)
def test_forward_is_the_bare_model_on_torchvisions_normalised_floats(name, size, options):
    backbone = build_backbone(name, size, options, 0).eval()
    cfg = backbone.trunk.pretrained_cfg
    transform = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(cfg["mean"], cfg["std"])])
    batch = images(size=size)
    with torch.no_grad():
        made = backbone(batch)
        expected = backbone.trunk(transform(batch))
    assert made.shape == (3, backbone.width)
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)
    assert (made[0] - made[1]).abs().max() > 1e-3  # the comparison would see a difference between pictures


def test_normalisation_is_the_models_own():
    inception, openai = (Backbone(name, 32, {"depth": 1}) for name in (NAME, "vit_base_patch16_clip_224"))
    torch.testing.assert_close(inception.mean.flatten() / 255, torch.tensor([0.5, 0.5, 0.5]))
    assert not torch.allclose(openai.mean.flatten() / 255, torch.tensor([0.5, 0.5, 0.5]), atol=0.01)
    deit = Backbone("deit_tiny_patch16_224", 32, {"depth": 1})
    torch.testing.assert_close(deit.mean.flatten() / 255, torch.tensor(IMAGENET_DEFAULT_MEAN))
    torch.testing.assert_close(deit.std.flatten() / 255, torch.tensor(IMAGENET_DEFAULT_STD))


# ---- other sides ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [16, 24, 40, 64])
def test_other_sides_have_positions_resampled_as_timm_does(side):
    backbone = build().eval()
    other = timm.create_model(NAME, num_classes=0, img_size=side, **OPTIONS).eval()
    weights = dict(backbone.trunk.state_dict())
    weights["pos_embed"] = resample_abs_pos_embed(weights["pos_embed"], [side // 8, side // 8], num_prefix_tokens=0)
    other.load_state_dict(weights)
    batch = images(size=side)
    with torch.no_grad():
        torch.testing.assert_close(backbone(batch), other((batch - backbone.mean) / backbone.std))


@pytest.mark.parametrize(
    ("name", "options", "patch", "any_side"),
    [
        (NAME, {"depth": 1}, 16, True),
        (NAME, OPTIONS, 8, True),
        ("vit_tiny_r_s16_p8_224", {"patch_size": 3, "depth": 1}, 12, True),
        ("beit_base_patch16_224", {"depth": 1, "embed_dim": 24, "num_heads": 1}, 16, False),
    ],
)
def test_patch_and_sides_are_known(name, options, patch, any_side):
    backbone = Backbone(name, 48, options)
    assert (backbone.patch, backbone.any_side) == (patch, any_side)
    assert backbone(images(size=48)).shape == (3, backbone.width)
    if any_side:
        assert backbone(images(size=48 + 2 * patch)).shape == (3, backbone.width)


def test_weights_of_a_model_of_one_side_are_timms_own_too():
    options = {"depth": 1, "embed_dim": 24, "num_heads": 1}
    torch.manual_seed(7)
    expected = timm.create_model("beit_base_patch16_224", num_classes=0, img_size=32, **options)
    made = build_backbone("beit_base_patch16_224", 32, options, 7)
    assert_same(dict(made.trunk.state_dict()), dict(expected.state_dict()))


# ---- what is left out, computed again, laid out otherwise -----------------------------------------------------------


def gradients(backbone: Backbone, batch: torch.Tensor) -> dict[str, torch.Tensor]:
    torch.manual_seed(4)
    backbone(batch).square().sum().backward()
    return {name: parameter.grad for name, parameter in backbone.named_parameters()}


def test_dropped_patches_are_not_computed_in_training_and_all_are_in_evaluation():
    plain, dropping = build(), build_backbone(NAME, 32, OPTIONS, 0, patch_dropout=0.75)
    assert_same(dict(plain.state_dict()), dict(dropping.state_dict()))
    seen = []
    dropping.trunk.blocks[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    batch = images()
    dropping.train()(batch)
    with torch.no_grad():
        assert torch.equal(dropping.eval()(batch), plain.eval()(batch))
    assert seen == [4, 16]


def test_dropped_patches_are_not_among_the_operations():
    counts = []
    for share in (0.0, 0.5):
        backbone = build_backbone(NAME, 32, OPTIONS, 0, patch_dropout=share).to("meta").train()
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            backbone(images().to("meta")).sum().backward()
        counts.append(counter.get_flop_counts())
    block = "Backbone.trunk.blocks"
    whole, half = (sum(each[block].values()) for each in counts)
    tokens, width, hidden = 16, 32, 128
    layers, attention = 2 * width * (4 * width + 2 * hidden), 4 * width  # a token; a pair of tokens
    assert whole == 3 * 3 * (tokens * layers + tokens**2 * attention)
    assert half == 3 * 3 * (tokens // 2 * layers + (tokens // 2) ** 2 * attention)


@pytest.mark.parametrize("options", [{}, {"drop_path_rate": 0.4, "proj_drop_rate": 0.2}], ids=["plain", "random"])
def test_activations_computed_again_give_the_same_gradients_to_the_bit(options):
    settings = OPTIONS | {"depth": 3} | options
    plain = build_backbone(NAME, 32, settings, 0, patch_dropout=0.5).train()
    again = build_backbone(NAME, 32, settings, 0, patch_dropout=0.5, checkpoint_activations=True).train()
    calls = []
    again.trunk.blocks[1].register_forward_pre_hook(lambda *_: calls.append(1))
    assert_same(gradients(again, images()), gradients(plain, images()))
    assert len(calls) == 2  # forward, and again in the backward pass


@pytest.mark.parametrize("name", [NAME, "vit_tiny_r_s16_p8_224"])
def test_channels_last_computes_the_same(name):
    options = OPTIONS if name == NAME else {"patch_size": 2, "depth": 1, "embed_dim": 24, "num_heads": 1}
    plain = build_backbone(name, 32, options, 0).train()
    laid = build_backbone(name, 32, options, 0, channels_last=True).train()
    given = []
    laid.trunk.register_forward_hook(lambda _, inputs, __: given.append(inputs[0]))
    made, expected = gradients(laid, images()), gradients(plain, images())
    assert given[0].is_contiguous(memory_format=torch.channels_last)
    for key, value in expected.items():
        torch.testing.assert_close(made[key], value, rtol=1e-3, atol=1e-4)


def test_attention_is_torchs_fused_one(monkeypatch):
    calls = []
    fused = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional, "scaled_dot_product_attention", lambda *a, **k: calls.append(1) or fused(*a, **k)
    )
    build(depth=3)(images())
    assert len(calls) == 3


# ---- what the user hears --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hint"),
    [("vit_tiny_patch16_225", "vit_tiny_patch16_224"), ("vit_base_patch16_224.augreg", "vit_base_patch16_224")],
)
def test_an_unknown_model_names_the_nearest(name, hint):
    with pytest.raises(UserError) as caught:
        Backbone(name, 32)
    assert name in str(caught.value)
    assert f"Did you mean '{hint}" in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"dept": 3},
        {"depth": "six"},
        {"depth": -1},
        {"num_heads": 5},
        {"num_heads": 0},
        {"patch_size": 0},
        {"embed_dim": -32},
        {"act_layer": "bogus"},
        {"global_pool": "bogus"},
        {"num_classes": 7},
        {"weight_init": "bogus"},
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_named(options):
    with pytest.raises(UserError) as caught:
        Backbone(NAME, 32, options)
    assert NAME in str(caught.value)
    assert str(options) in str(caught.value)
    assert not str(caught.value).endswith(": ")


def test_a_model_without_img_size_gives_timms_features():
    torch.manual_seed(0)
    backbone = Backbone("resnet18", 32).eval()
    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=0).eval()
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(backbone(images), model((images - backbone.mean) / backbone.std))
    assert not backbone.takes_size
    assert not backbone.any_side


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("pit_ti_224", 64, {"base_dims": (8, 8, 8), "depth": (1, 1, 1), "heads": (1, 1, 1)}),
        ("xcit_nano_12_p16_224", 32, {"depth": 1, "embed_dim": 32, "num_heads": 2}),
        ("pvt_v2_b0", 32, {"embed_dims": (8, 16, 40, 64)}),
        ("crossvit_tiny_240", 240, {"depth": [[1, 1, 0]]}),
        ("mobilenetv3_small_050", 32, {}),
        ("mobilenetv4_conv_small_035", 32, {}),
        ("ghostnet_050", 32, {}),
        ("hgnetv2_b0", 32, {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_models_whose_patches_or_features_are_of_another_kind_train(name, size, options):
    """As a head of the width that they say they have does on them."""
    backbone = build_backbone(name, size, options, 0).train()
    head = torch.nn.Linear(backbone.width, 2)
    optimizer = torch.optim.SGD([*backbone.parameters(), *head.parameters()], lr=1e-2)
    before = [parameter.detach().clone() for parameter in backbone.parameters()]
    head(backbone(images(size=size))).square().mean().backward()
    optimizer.step()
    assert any(not torch.equal(old, new) for old, new in zip(before, backbone.parameters(), strict=True))
    assert not backbone.any_side


@pytest.mark.parametrize("size", [0, -16, 8])
def test_an_impossible_image_size_is_said(size):
    with pytest.raises(UserError, match=f"image_size={size}"):
        Backbone(NAME, size, {"depth": 1})


def test_features_must_be_pooled():
    with pytest.raises(UserError, match="global_pool"):
        build(global_pool="")


def test_an_image_size_between_patches_names_those_that_fit():
    with pytest.raises(UserError, match=r"image_size=100 .* patch of 16 pixels: give 96 or 112"):
        Backbone(NAME, 100, {"depth": 1})


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_an_impossible_patch_dropout_is_said(share):
    with pytest.raises(UserError, match=r"backbone\.patch_dropout"):
        Backbone(NAME, 32, OPTIONS, patch_dropout=share)


def test_patch_dropout_is_given_once():
    with pytest.raises(UserError, match=r"patch_drop_rate are the same: give backbone\.patch_dropout alone"):
        build_backbone(NAME, 32, OPTIONS | {"patch_drop_rate": 0.25}, 0, patch_dropout=0.5)


def test_a_model_without_patch_dropout_is_named():
    with pytest.raises(UserError, match=r"swin_tiny_patch4_window7_224 has no dropout of patches"):
        Backbone("swin_tiny_patch4_window7_224", 64, {"depths": (1, 1)}, patch_dropout=0.5)

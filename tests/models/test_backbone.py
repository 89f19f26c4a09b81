"""The backbone is the bare timm model on normalised pictures, and its weights depend on the seed alone."""

import pytest
import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
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


def test_a_model_without_img_size_is_refused():
    with pytest.raises(UserError, match="img_size"):
        Backbone("resnet18", 32)


@pytest.mark.parametrize("size", [0, -16, 8])
def test_an_impossible_image_size_is_said(size):
    with pytest.raises(UserError, match=f"image_size={size}"):
        Backbone(NAME, size, {"depth": 1})


def test_features_must_be_pooled():
    with pytest.raises(UserError, match="global_pool"):
        build(global_pool="")

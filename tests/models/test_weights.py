"""Checkpoints of others as a backbone's start: the features are those that their own models give."""

from pathlib import Path

import open_clip
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.model import CLIPVisionCfg, _build_vision_tower
from safetensors.torch import save_file
from torch import nn

from catclip.errors import UserError
from catclip.models.backbone import Backbone, build_backbone
from catclip.models.weights import load_weights
from catclip.objectives.build import build_objective
from tests import tiny

NAME = "vit_tiny_patch16_224"
OPTIONS = {"patch_size": 8, "depth": 2, "embed_dim": 32, "num_heads": 2}


def build(size: int = 32, name: str = NAME, **options) -> Backbone:
    return build_backbone(name, size, OPTIONS | options, 7).eval()


def theirs(size: int = 32, classes: int = 5) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(NAME, num_classes=classes, img_size=size, **OPTIONS).eval()


def pictures(size: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def features_of(model: nn.Module, backbone: Backbone, size: int = 32) -> torch.Tensor:
    seen = (pictures(size) - backbone.mean) / backbone.std
    return model.forward_head(model.forward_features(seen), pre_logits=True)


# ---------------------------------------------------------------- timm


@pytest.mark.parametrize("layout", ["plain.safetensors", "plain.pth", "training.pth", "average.pth"])
def test_a_checkpoint_of_timm_gives_its_features(tmp_path, layout):
    model, backbone = theirs(), build()
    state = model.state_dict()
    file = tmp_path / layout
    if layout == "plain.safetensors":
        save_file(state, file)
    elif layout == "plain.pth":
        torch.save(state, file)
    elif layout == "training.pth":  # under DistributedDataParallel
        torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, file)
    else:
        others = {key: torch.zeros_like(value) for key, value in state.items()}
        torch.save({"state_dict": others, "state_dict_ema": state}, file)
    load_weights(backbone, file)
    assert torch.equal(backbone(pictures()), features_of(model, backbone))


def test_positions_are_resampled_as_timm_does_it(tmp_path):
    model, backbone = theirs(32), build(64)
    torch.save(model.state_dict(), tmp_path / "small.pth")
    load_weights(backbone, tmp_path / "small.pth")
    model.set_input_size(64)
    torch.testing.assert_close(backbone(pictures(64)), features_of(model, backbone, 64), atol=1e-5, rtol=1e-5)


def test_a_run_of_ours_gives_its_averaged_weights_of_the_last_step(tmp_path):
    for step in (9, 10):
        (tmp_path / "checkpoints" / f"step-{step}").mkdir(parents=True)
    states = {}
    for number, (step, name) in enumerate([(9, "ema"), (10, "last"), (10, "ema")]):
        trunk = build_backbone(NAME, 32, OPTIONS, number).trunk
        states[step, name] = {f"backbone.trunk.{key}": value for key, value in trunk.state_dict().items()}
        states[step, name]["head.weight"] = torch.zeros(3, 32)
        save_file(states[step, name], tmp_path / "checkpoints" / f"step-{step}" / f"{name}.safetensors")
    backbone = build()
    load_weights(backbone, tmp_path)
    expected = {
        key.removeprefix("backbone.trunk."): each for key, each in states[10, "ema"].items() if "head" not in key
    }
    tiny.assert_same(dict(backbone.trunk.state_dict()), expected)


# ---------------------------------------------------------------- open_clip


def test_a_checkpoint_of_open_clip_with_a_tower_of_timms(tmp_path):
    model = theirs()
    state = {f"visual.trunk.{key}": each for key, each in model.state_dict().items() if "head" not in key}
    state |= {"visual.head.proj.weight": torch.zeros(16, 32), "text.positional_embedding": torch.zeros(4, 4)}
    torch.save(state, tmp_path / "open_clip.pt")
    backbone = build()
    load_weights(backbone, tmp_path / "open_clip.pt")
    assert torch.equal(backbone(pictures()), features_of(model, backbone))


def test_a_checkpoint_of_open_clips_own_vit(tmp_path):
    torch.manual_seed(1)
    shape = CLIPVisionCfg(layers=2, width=32, head_width=16, patch_size=8, image_size=32)
    tower = _build_vision_tower(16, shape).eval()
    state = {f"visual.{key}": value for key, value in tower.state_dict().items()}
    torch.save(state | {"positional_embedding": torch.zeros(4, 4)}, tmp_path / "clip.pt")
    backbone = build(name="vit_base_patch16_clip_224")
    load_weights(backbone, tmp_path / "clip.pt")
    seen = (pictures() - backbone.mean) / backbone.std
    torch.testing.assert_close(backbone(pictures()) @ tower.proj, tower(seen), atol=1e-5, rtol=1e-5)
    assert tuple(backbone.trunk.pretrained_cfg["mean"]) == open_clip.OPENAI_DATASET_MEAN
    with pytest.raises(UserError, match="vit_base_patch16_clip_224"):
        load_weights(build(), tmp_path / "clip.pt")


# ---------------------------------------------------------------- CatLIP


class Convolution(nn.Module):
    def __init__(self, inside: int, outside: int, size: int, last: bool):
        super().__init__()
        self.block = nn.Sequential()
        self.block.add_module("conv", nn.Conv2d(inside, outside, size, size, bias=last))
        if not last:
            self.block.add_module("norm", nn.BatchNorm2d(outside))
            self.block.add_module("act", nn.GELU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.qkv_proj, self.out_proj_attn = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads = heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = (each.unflatten(-1, (self.heads, -1)) for each in self.qkv_proj(x).chunk(3, dim=-1))
        weights = torch.einsum("bqhd,bkhd->bhqk", query, key).div(query.shape[-1] ** 0.5).softmax(dim=-1)
        return self.out_proj_attn(torch.einsum("bhqk,bkhd->bqhd", weights, value).flatten(2))


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.pre_norm_mha = nn.Sequential(nn.LayerNorm(width, 1e-6), Attention(width, heads), nn.Dropout(0))
        self.pre_norm_ffn = nn.Sequential(
            nn.LayerNorm(width, 1e-6),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(0),
            nn.Linear(4 * width, width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.pre_norm_mha(x)
        return x + self.pre_norm_ffn(x)


class Published(nn.Module):
    """What CatLIP's code says of its ViT, with the names of its layers; small."""

    def __init__(self, width: int, heads: int, positions: int):
        super().__init__()
        stem = [(3, width // 4, 4, False), (width // 4, width // 4, 2, False), (width // 4, width, 2, True)]
        self.patch_emb = nn.Sequential(*(Convolution(*each) for each in stem))
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.pos_embed = nn.Module()
        self.pos_embed.pos_embed = nn.Module()
        self.pos_embed.pos_embed.pos_embed = nn.Parameter(torch.randn(1, 1, positions, width))
        self.transformer = nn.Sequential(*(Block(width, heads) for _ in range(2)))
        self.post_transformer_norm = nn.LayerNorm(width, 1e-6)
        self.classifier = nn.Linear(width, 9)
        self.neural_augmentor = nn.Linear(1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch_emb(x).flatten(2).transpose(1, 2) + self.pos_embed.pos_embed.pos_embed[0]
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        return self.post_transformer_norm(self.transformer(x))[:, 0]


@pytest.mark.parametrize(("name", "width", "heads"), [("vit_base_mci_224", 768, 12), ("vit_large_mci_224", 64, 2)])
def test_a_checkpoint_of_catlips_layout(tmp_path, name, width, heads):
    torch.manual_seed(2)
    model = Published(width, heads, positions=16).eval()
    for each in model.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.running_mean.normal_()
            each.running_var.uniform_(0.5, 2)
    torch.save(model.state_dict(), tmp_path / "vit.pt")
    backbone = build_backbone(name, 64, {"depth": 2, "embed_dim": width, "num_heads": heads}, 0).eval()
    assert backbone.any_side
    load_weights(backbone, tmp_path / "vit.pt")
    with torch.no_grad():
        expected = model(pictures(64) / 255)
        torch.testing.assert_close(backbone(pictures(64)), expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(UserError, match="backbone=catlip_b_16"):
        load_weights(build_backbone(NAME, 64, {}, 0), tmp_path / "vit.pt")


# ---------------------------------------------------------------- what is refused


def test_another_backbone_is_one_clear_message(tmp_path):
    torch.save(theirs().state_dict(), tmp_path / "vit.pth")
    for backbone, why in [
        (build(embed_dim=64), r"cls_token is \[1, 1, 32\] there and \[1, 1, 64\] here"),
        (build(depth=3), r"it lacks blocks\.2\..* and \d+ more"),
        (build(depth=1), r"it also has blocks\.1\."),
        (build(class_token=False, global_pool="avg"), "holds another backbone"),
    ]:
        before = {key: value.clone() for key, value in backbone.trunk.state_dict().items()}
        with pytest.raises(UserError, match=why):
            load_weights(backbone, tmp_path / "vit.pth")
        tiny.assert_same(dict(backbone.trunk.state_dict()), before)


def test_the_difference_is_named_where_positions_fail_first(tmp_path):
    torch.save(build(class_token=False, global_pool="avg").trunk.state_dict(), tmp_path / "vit.pth")
    with pytest.raises(UserError, match=r"patch_embed.proj.bias is \[32\] there and \[64\] here"):
        load_weights(build(embed_dim=64), tmp_path / "vit.pth")


def test_code_in_a_file_is_not_run_and_nobody_is_told_to(tmp_path):
    torch.save({"state_dict": theirs().state_dict(), "config": Path(".")}, tmp_path / "vit.pth")
    with pytest.raises(UserError, match="save its state_dict alone") as refusal:
        load_weights(build(), tmp_path / "vit.pth")
    assert "weights_only" not in str(refusal.value)


@pytest.mark.parametrize("name", ["vit.safetensors", "vit.pth"])
@settings(max_examples=10, deadline=None)
@given(share=st.floats(0, 0.99))
def test_a_checkpoint_cut_short(tmp_path_factory, name, share):
    file = tmp_path_factory.mktemp("cut") / name
    state = theirs().state_dict()
    save_file(state, file) if file.suffix == ".safetensors" else torch.save(state, file)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"cut short\?"):
        load_weights(build(), file)


class Evil:
    def __reduce__(self):
        return (print, ("run",))


def test_what_is_no_checkpoint(tmp_path, capsys):
    torch.save({"state_dict": {"a": Evil()}}, tmp_path / "evil.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "epoch.pth")
    (tmp_path / "folder").mkdir()
    for name, why in [
        ("evil.pth", "cannot be read"),
        ("list.pth", "cannot be read"),
        ("epoch.pth", "no weights in it"),
        ("folder", "without a checkpoint"),
        ("absent", "does not exist"),
    ]:
        with pytest.raises(UserError, match=why):
            load_weights(build(), tmp_path / name)
    assert "run" not in capsys.readouterr().out.split()


def test_a_run_starts_there_and_does_not_need_it_again(tmp_path, glyphs):
    config = tiny.config("categorical", glyphs, options={"depth": 1})
    source = build_backbone(NAME, tiny.SIZE, config.backbone.options, 42)
    save_file(source.trunk.state_dict(), tmp_path / "vit.safetensors")
    config.backbone.weights = str(tmp_path / "vit.safetensors")
    tiny.assert_same(dict(tiny.build(config).backbone.trunk.state_dict()), dict(source.trunk.state_dict()))
    (tmp_path / "vit.safetensors").unlink()
    build_objective(config.objective, config.backbone, None, 0)
    with pytest.raises(UserError, match="does not exist"):
        tiny.build(config)

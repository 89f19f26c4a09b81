"""The label head starts at the labels' log-odds, and the text tower is open_clip's."""

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transformer import TextTransformer

from catclip.errors import UserError
from catclip.models.heads import LabelHead
from catclip.models.text import build_text_tower, build_tokenizer, text_settings


def test_a_label_head_is_linear():
    head = LabelHead(8, 5)
    features = torch.randn(3, 8)
    torch.testing.assert_close(head(features), features @ head.weight.T + head.bias)
    assert not head.bias.any()
    assert head.weight.shape == (5, 8)


def test_weights_are_small():
    torch.manual_seed(0)
    weight = LabelHead(200, 200).weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert weight.mean().item() == pytest.approx(0, abs=5e-4)


def test_with_a_prior_the_head_starts_by_predicting_it():
    prior = torch.tensor([0.5, 0.01, 1e-5, 0.999])
    head = LabelHead(8, 4, prior)
    torch.testing.assert_close(head(torch.zeros(1, 8)).sigmoid()[0], prior)
    expected = np.log(prior.double() / (1 - prior.double())).float()
    torch.testing.assert_close(head.bias.detach(), expected, rtol=1e-4, atol=1e-5)
    assert head.bias.requires_grad


def test_the_text_tower_is_open_clips():
    torch.manual_seed(3)
    ours = build_text_tower({"context_length": 16, "width": 32, "layers": 2, "heads": 2}, 24)
    torch.manual_seed(3)
    theirs = TextTransformer(context_length=16, width=32, heads=2, layers=2, output_dim=24)
    tokens = open_clip.tokenize(["a dog", "two cats on a table", ""], context_length=16)
    assert torch.equal(ours(tokens), theirs(tokens))
    assert ours(tokens).shape == (3, 24)


@pytest.mark.parametrize("model", ["ViT-S-32-alt", "MobileCLIP-S1"])
def test_a_text_tower_by_name_is_that_of_open_clips_model(model):
    settings, embed, quick_gelu = text_settings(model, layers=1)
    config = open_clip.get_model_config(model)
    assert embed == config["embed_dim"]
    torch.manual_seed(3)
    ours = build_text_tower(settings, embed, quick_gelu)
    torch.manual_seed(3)
    theirs = TextTransformer(**config["text_cfg"] | {"layers": 1}, output_dim=embed)
    tokens = build_tokenizer(model, settings["context_length"])(["a dog", "two cats on a table"])
    assert torch.equal(tokens, open_clip.get_tokenizer(model)(["a dog", "two cats on a table"]))
    assert torch.equal(ours(tokens), theirs(tokens))


def test_sizes_that_are_given_come_before_the_models():
    settings, embed, quick_gelu = text_settings("ViT-L-14-quickgelu", width=64, heads=None, embed_dim=48)
    assert (settings["width"], settings["heads"], settings["layers"], settings["context_length"]) == (64, 12, 12, 77)
    assert (embed, quick_gelu) == (48, True)
    assert text_settings("ViT-L-14")[1:] == (768, False)


def test_quick_gelu_is_clips():
    settings = {"context_length": 8, "width": 32, "layers": 1, "heads": 2}
    names = {type(module).__name__ for module in build_text_tower(settings, 24, quick_gelu=True).modules()}
    assert "QuickGELU" in names


@pytest.mark.parametrize(
    ("model", "changes", "said"),
    [("ViT-B-61", {}, "ViT-B-16"), ("roberta-ViT-B-32", {}, "roberta-base"), ("ViT-B-16", {"width": 30}, "text_heads")],
)
def test_a_text_tower_that_cannot_be_had_is_said(model, changes, said):
    with pytest.raises(UserError, match=said):
        build_text_tower(*text_settings(model, **changes))


def test_a_tokenizer_that_is_not_here_is_said():
    with pytest.raises(UserError, match=r"timm/ViT-B-16-SigLIP.*ViT-B-16"):
        build_tokenizer("ViT-B-16-SigLIP", 64)


def test_the_text_tower_of_vit_b_has_clips_size():
    settings, embed, _ = text_settings("ViT-B-16")
    tower = build_text_tower(settings, embed)
    clip = 12 * (4 * 512**2 + 8 * 512**2 + 13 * 512) + (49_408 + 77 + 512) * 512 + 2 * 512
    assert sum(parameter.numel() for parameter in tower.parameters()) == clip


def test_the_text_tower_is_causal_and_reads_the_end_of_text():
    tower = build_text_tower({"context_length": 16, "width": 32, "layers": 2, "heads": 2}, 24).eval()
    tokens = open_clip.tokenize(["a dog"], context_length=16)
    padded = tokens.clone()
    padded[0, 8:] = 5  # after the end of text: nothing of it may enter
    assert not torch.equal(tokens, padded)
    torch.testing.assert_close(tower(tokens), tower(padded))
    changed = tokens.clone()
    changed[0, 1] = 5
    assert (tower(tokens) - tower(changed)).abs().max() > 1e-4

"""The label head starts at the labels' log-odds, and the text tower is open_clip's."""

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transformer import TextTransformer

from catclip.models.heads import LabelHead
from catclip.models.text import VOCABULARY, build_text_tower


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
    ours = build_text_tower(length=16, width=32, layers=2, heads=2, embed=24)
    torch.manual_seed(3)
    theirs = TextTransformer(context_length=16, width=32, heads=2, layers=2, output_dim=24)
    tokens = open_clip.tokenize(["a dog", "two cats on a table", ""], context_length=16)
    assert torch.equal(ours(tokens), theirs(tokens))
    assert ours(tokens).shape == (3, 24)


def test_the_text_tower_of_vit_b_has_clips_size():
    tower = build_text_tower(length=77, width=512, layers=12, heads=8, embed=512)
    clip = 12 * (4 * 512**2 + 8 * 512**2 + 13 * 512) + (VOCABULARY + 77 + 512) * 512 + 2 * 512
    assert sum(parameter.numel() for parameter in tower.parameters()) == clip


def test_the_text_tower_is_causal_and_reads_the_end_of_text():
    tower = build_text_tower(length=16, width=32, layers=2, heads=2, embed=24).eval()
    tokens = open_clip.tokenize(["a dog"], context_length=16)
    padded = tokens.clone()
    padded[0, 8:] = 5  # after the end of text: nothing of it may enter
    assert not torch.equal(tokens, padded)
    torch.testing.assert_close(tower(tokens), tower(padded))
    changed = tokens.clone()
    changed[0, 1] = 5
    assert (tower(tokens) - tower(changed)).abs().max() > 1e-4

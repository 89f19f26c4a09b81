"""Initialised heads predict what their rows say, and are what a plain loop computes."""

import pytest
import torch
from torch import nn

from catclip.errors import UserError
from catclip.transfer.head import init_sigmoid_head, init_softmax_head, row_directions

ROWS = [(0,), (2, 3), (), (4,)]


def pretrained(seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    head = nn.Linear(6, 5)
    with torch.no_grad():  # frequent labels: long rows and high biases
        head.weight.mul_(torch.tensor([1.0, 5.0, 2.0, 0.5, 3.0])[:, None])
        head.bias.copy_(torch.tensor([-1.0, 3.0, -5.0, -8.0, -2.0]))
    return head


def test_rows_have_one_length_and_their_directions():
    weight = pretrained().weight.detach()
    rows = row_directions(weight)
    assert rows.norm(dim=1).tolist() == pytest.approx([float(weight.norm(dim=1).mean())] * 5)
    assert torch.cosine_similarity(rows, weight).tolist() == pytest.approx([1.0] * 5)
    assert torch.isfinite(row_directions(torch.zeros(3, 2))).all()


def test_softmax_head_is_the_mean_of_rows_without_bias():
    head = pretrained()
    layer, rows = init_softmax_head(head, ROWS), row_directions(head.weight)
    assert torch.allclose(layer.weight[0], rows[0])
    assert torch.allclose(layer.weight[1], (rows[2] + rows[3]) / 2)
    assert torch.allclose(layer.weight[3], rows[4])
    assert (layer.bias == 0).all()
    known = layer.weight[[0, 1, 3]].mean(0)
    assert 0 < (layer.weight[2] - known).norm() < 0.5


@torch.no_grad()
def test_with_features_logits_have_one_mean_and_spread():
    features = torch.randn(200, 6) * torch.tensor([1.0, 2, 3, 4, 5, 6]) + 3
    logits = init_softmax_head(pretrained(), [(0,), (2, 3), (4,), (1,)], features)(features)
    assert logits.mean(0).tolist() == pytest.approx([0] * 4, abs=1e-4)
    plain = init_softmax_head(pretrained(), [(0,), (2, 3), (4,), (1,)])(features)
    assert logits.std(0).tolist() == pytest.approx([float(plain.std(0).mean())] * 4, rel=1e-4)


def test_the_untrained_head_predicts_where_copied_biases_would_not():
    """A rare and a frequent label; pictures of each, balanced."""
    torch.manual_seed(1)
    head = nn.Linear(8, 2)
    directions = torch.randn(2, 8)
    with torch.no_grad():
        head.weight.copy_(directions)
        head.bias.copy_(torch.tensor([2.0, -9.0]))
    labels = torch.arange(400) % 2
    features = directions[labels] + 0.5 * torch.randn(400, 8)
    accuracy = {
        name: (layer(features).argmax(1) == labels).float().mean().item()
        for name, layer in {
            "copied": head,
            "ours": init_softmax_head(head, [(0,), (1,)]),
            "with features": init_softmax_head(head, [(0,), (1,)], features),
        }.items()
    }
    assert accuracy["ours"] > 0.9 > 0.8 > accuracy["copied"]
    assert accuracy["with features"] > 0.9


def test_a_class_without_rows_is_hardly_ever_the_likeliest():
    features = torch.randn(500, 6) + 2
    for given in (None, features):
        logits = init_softmax_head(pretrained(), [(0,), (2,), (), (4,)], given)(features)
        assert (logits.argmax(1) == 2).float().mean() < 0.05


@torch.no_grad()
def test_sigmoid_head_copies_rows_and_biases():
    head = pretrained()
    layer = init_sigmoid_head(head, ROWS)
    features = torch.randn(9, 6)
    expected, found = head(features), layer(features)
    assert torch.allclose(found[:, 0], expected[:, 0], atol=1e-5)
    assert torch.allclose(found[:, 1], expected[:, [2, 3]].mean(1), atol=1e-5)
    assert float(layer.bias[2]) == pytest.approx(float(layer.bias[[0, 1, 3]].mean()))


@pytest.mark.parametrize("init", [init_softmax_head, init_sigmoid_head])
def test_seeds_and_broken_weights(init):
    one, same, other = (init(pretrained(), ROWS, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.weight, same.weight)
    assert [torch.equal(one.weight[c], other.weight[c]) for c in range(4)] == [True, True, False, True]
    assert one.weight.requires_grad
    head = pretrained()
    with torch.no_grad():
        head.weight[0, 0] = torch.nan
    with pytest.raises(UserError, match="not finite"):
        init(head, ROWS)

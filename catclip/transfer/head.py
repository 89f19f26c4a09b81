"""Rows of the pretraining head → the head of a new task, which predicts before it is trained."""

from collections.abc import Sequence

import torch
from torch import nn

from catclip.errors import UserError

_STD = 0.02  # of weights that start at random, as the pretraining head's


def row_directions(weight: torch.Tensor) -> torch.Tensor:
    """Rows [V, D] at their mean length, float32.

    A frequent label has a longer row. Together with its bias, which holds its frequency in the pretraining captions,
    that would decide for the frequent classes; without both, logits say how well a picture fits. docs/transfer.md has
    what that is worth.
    """
    weight = weight.detach().float()
    lengths = weight.norm(dim=1, keepdim=True)
    return weight * (lengths.mean() / lengths.clamp_min(torch.finfo(torch.float32).tiny))


def init_softmax_head(
    head: nn.Linear, rows: Sequence[Sequence[int]], features: torch.Tensor | None = None, seed: int = 0
) -> nn.Linear:
    """The start of a classifier of pictures that show one class each.

    A class starts at the mean of its rows (CatLIP, arXiv 2404.15653, section 5), taken at their mean length and without
    bias. With features of training pictures, whose classes are not asked for, each class's logit is shifted and scaled
    so that on them it has mean 0 and the classes' mean standard deviation.

    Args:
        head: the pretraining head, [V, D].
        rows: of each of the C classes the rows in it. A class without any starts at the mean of the other classes with
            a little noise: as likely as they on average, so that it is hardly ever the likeliest.
        features: float [N, D], N ≥ 2, on any device.
        seed: of that noise.

    Returns:
        A float32 layer [C, D] on the head's device.
    """
    weight, bias = _means(row_directions(head.weight), rows), torch.zeros(len(rows), device=head.weight.device)
    if features is not None:
        assert len(features) > 1, "one picture has no spread"
        logits = features.to(weight.device).float() @ weight.T
        spread = logits.std(dim=0)
        # A constant logit, as of a class without rows, tells nothing: it stays as it is.
        scale = torch.where(spread > 0, spread[spread > 0].mean() / spread, 1.0)
        weight, bias = weight * scale[:, None], -logits.mean(dim=0) * scale
    return _layer(weight, bias, rows, seed)


def init_sigmoid_head(head: nn.Linear, rows: Sequence[Sequence[int]], seed: int = 0) -> nn.Linear:
    """The start of a classifier of pictures that show any number of classes.

    Each row says by itself whether its label is there, and so does the class's: rows and biases are copied as they are,
    or averaged. Arguments and result as in `init_softmax_head`.
    """
    weight, bias = head.weight.detach().float(), head.bias.detach().float()
    return _layer(_means(weight, rows), _means(bias[:, None], rows)[:, 0], rows, seed)


def _means(values: torch.Tensor, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """The mean of each class's rows of [V, K], [C, K]; zeros where there is none."""
    owners = torch.tensor([owner for owner, some in enumerate(rows) for _ in some], device=values.device)
    flat = torch.tensor([row for some in rows for row in some], device=values.device)
    counts = torch.tensor([max(1, len(some)) for some in rows], device=values.device)
    sums = torch.zeros(len(rows), values.shape[1], device=values.device).index_add_(0, owners, values[flat])
    return sums / counts[:, None]


def _layer(weight: torch.Tensor, bias: torch.Tensor, rows: Sequence[Sequence[int]], seed: int) -> nn.Linear:
    known = torch.tensor([bool(some) for some in rows], device=weight.device)
    assert known.any(), "no class has a row"
    if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
        raise UserError("The head's weights are not finite numbers: they are lost, take an earlier checkpoint.")
    noise = _STD * torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed)).to(weight.device)
    layer = nn.Linear(weight.shape[1], len(rows), device=weight.device)
    with torch.no_grad():
        layer.weight.copy_(torch.where(known[:, None], weight, weight[known].mean(dim=0) + noise))
        layer.bias.copy_(torch.where(known, bias, bias[known].mean()))
    return layer

"""Losses of label logits against ragged targets: no dense multi-hot targets anywhere.

The labels of a batch are laid end to end, `label_ids` int64 [N], with `label_offsets` int64 [B + 1] and, where they do
not all count alike, `label_weights` float [N]: the target y of a label is its weight or 1, that of everything else 0.
A picture has each label once. Smoothing by ε makes targets y·(1 − ε) + ε / V. A batch without pictures has a loss of 0.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable


def ragged_bce(
    logits: torch.Tensor,
    label_ids: torch.Tensor,
    label_offsets: torch.Tensor,
    label_weights: torch.Tensor | None = None,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Binary cross entropy with logits, summed over all elements and divided by the batch size (CatLIP's code).

    Args:
        logits: [B, V].
        label_ids: int64 [N].
        label_offsets: int64 [B + 1].
        label_weights: float [N], from 0 to 1; without, all 1.
        smoothing: ε.

    Returns:
        A float32 scalar.
    """
    rows, targets = _rows_and_weights(label_ids, label_offsets, label_weights)
    off = smoothing / logits.shape[1]
    return _RaggedBCE.apply(logits, rows, label_ids, targets * (1 - smoothing) + off, off)


class _RaggedBCE(torch.autograd.Function):
    """Keeps the logits for the backward pass and nothing else of their size, as autograd would."""

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, rows: torch.Tensor, ids: torch.Tensor, targets: torch.Tensor, off: float
    ) -> torch.Tensor:
        ctx.save_for_backward(logits, rows, ids, targets)
        ctx.off = off
        terms = F.softplus(logits.float())
        if off:
            terms.sub_(logits, alpha=off)
        # The labels' terms replace what stands there: to subtract the label's logit from the sum would leave, of two
        # sums that are large and nearly alike, the rounding.
        at = logits[rows, ids].float()
        terms[rows, ids] = targets * F.softplus(-at) + (1 - targets) * F.softplus(at)
        return terms.sum() / max(len(logits), 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        logits, rows, ids, targets = ctx.saved_tensors
        slope = logits.float().sigmoid()
        if ctx.off:
            slope.sub_(ctx.off)
        at = logits[rows, ids].float()
        slope[rows, ids] = (1 - targets) * at.sigmoid() - targets * (-at).sigmoid()
        return slope.mul_(gradient / max(len(logits), 1)).to(logits.dtype), None, None, None, None


def ragged_softmax(
    logits: torch.Tensor,
    label_ids: torch.Tensor,
    label_offsets: torch.Tensor,
    label_weights: torch.Tensor | None = None,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Softmax cross entropy against the labels' weights divided by their sum (SuperClass, NeurIPS 2024, section 3).

    The mean is over all pictures of the batch; one without labels, or with none that has weight, adds nothing to it.

    Args:
        logits: [B, V].
        label_ids: int64 [N].
        label_offsets: int64 [B + 1].
        label_weights: float [N], at least 0; without, all 1.
        smoothing: ε, of the normalised targets.

    Returns:
        A float32 scalar.
    """
    rows, weights = _rows_and_weights(label_ids, label_offsets, label_weights)
    totals = weights.new_zeros(len(logits)).index_add_(0, rows, weights)
    shares = weights / totals[rows].clamp_min(torch.finfo(weights.dtype).tiny)
    # Relative to each row's largest, so that large logits leave no rounding behind.
    relative = logits.float() - logits.detach().amax(dim=1, keepdim=True)
    log_sums = relative.exp().sum(dim=1).log()
    loss = (shares * (log_sums[rows] - relative[rows, label_ids])).sum()
    if smoothing:
        spread = (log_sums - relative.mean(dim=1))[totals > 0].sum()
        loss = (1 - smoothing) * loss + smoothing * spread
    return loss / max(len(logits), 1)


def ragged_asymmetric(
    logits: torch.Tensor,
    label_ids: torch.Tensor,
    label_offsets: torch.Tensor,
    label_weights: torch.Tensor | None = None,
    smoothing: float = 0.0,
    gamma_positive: float = 0.0,
    gamma_negative: float = 4.0,
    clip: float = 0.05,
) -> torch.Tensor:
    """Asymmetric loss (Ridnik et al., ICCV 2021, section 2), summed over all elements, divided by the batch size.

    With p = sigmoid(x) and q = max(p − clip, 0), the loss of an element is
    −y · (1 − p)^gamma_positive · log p − (1 − y) · q^gamma_negative · log(1 − q). The weights have gradients too.

    Args:
        logits: [B, V].
        label_ids: int64 [N].
        label_offsets: int64 [B + 1].
        label_weights: float [N], from 0 to 1; without, all 1.
        smoothing: ε.
        gamma_positive: γ+, 0 or at least 1.
        gamma_negative: γ−, 0 or at least 1.
        clip: m, from 0 to below 1: the probability below which a label's absence costs nothing.

    Returns:
        A float32 scalar.
    """
    rows, targets = _rows_and_weights(label_ids, label_offsets, label_weights)
    off = smoothing / logits.shape[1]
    targets = targets * (1 - smoothing) + off

    # By way of the logarithm, whose gradient is exact where the sigmoid is nearly 1 too.
    def present(x: torch.Tensor) -> torch.Tensor:
        return (gamma_positive * F.logsigmoid(-x)).exp() * F.softplus(-x)

    def absent(x: torch.Tensor) -> torch.Tensor:
        if not clip:
            return (gamma_negative * F.logsigmoid(x)).exp() * F.softplus(x)
        shifted = (F.logsigmoid(x).exp() - clip).clamp_min(0)
        return -(shifted**gamma_negative) * (-shifted).log1p()

    logits = logits.float()
    terms = absent(logits)
    if off:
        terms = (1 - off) * terms + off * present(logits)
    at = logits[rows, label_ids]
    terms = terms.index_put((rows, label_ids), targets * present(at) + (1 - targets) * absent(at))
    return terms.sum() / max(len(logits), 1)


def _rows_and_weights(
    label_ids: torch.Tensor, label_offsets: torch.Tensor, label_weights: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The picture of each label, int64 [N], and its weight, float32 [N]."""
    rows = torch.repeat_interleave(label_offsets.diff(), output_size=len(label_ids))
    if label_weights is None:
        return rows, torch.ones(len(label_ids), device=label_ids.device)
    return rows, label_weights.float()

"""The classifier over the label vocabulary."""

import torch
from torch import nn


class LabelHead(nn.Linear):
    """Features [B, D] → logits [B, V]; row v of `weight` is the embedding of label v.

    Args:
        width: D.
        labels: V.
        prior: float [V], the share of pictures that carry each label. The biases start at its log-odds, so that
            training need not first learn that nearly every label is nearly always absent. Without: zero, as in CatLIP.
    """

    def __init__(self, width: int, labels: int, prior: torch.Tensor | None = None):
        super().__init__(width, labels)
        nn.init.trunc_normal_(self.weight, std=0.02)
        nn.init.zeros_(self.bias)
        if prior is not None:
            with torch.no_grad():
                self.bias.copy_(torch.logit(prior))

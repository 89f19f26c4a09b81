"""AdamW, which parameters decay, and the learning-rate schedule."""

import math

import torch
from torch import nn

from catclip.config import OptimConfig

# Embeddings of positions and tokens are looked up, not multiplied by features: they do not decay either.
_NO_DECAY = ("pos_embed", "cls_token", "reg_token", "positional_embedding", "token_embedding")


def build_adamw(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW (fused), with weight decay on matrices only: not on biases, norms, scalars, positions, token embeddings."""
    decay: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            exempt = parameter.ndim < 2 or any(part in name for part in _NO_DECAY)
            (plain if exempt else decay).append(parameter)
    groups = [{"params": decay, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    beta1, beta2 = config.betas
    return torch.optim.AdamW(groups, lr=config.lr, betas=(beta1, beta2), fused=True)


def learning_rate(step: int, steps: int, config: OptimConfig) -> float:
    """Linear warm-up, then a cosine from `lr` down to `min_lr`, which the last of `steps` steps reaches.

    `config.warmup` is a number of steps here.
    """
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, steps - 1 - config.warmup)
    return config.min_lr + 0.5 * (config.lr - config.min_lr) * (1 + math.cos(math.pi * min(1.0, progress)))

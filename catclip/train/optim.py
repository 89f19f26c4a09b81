"""AdamW, which parameters decay, how fast each layer learns, and the learning-rate schedule."""

import math

import torch
from timm.models import group_parameters
from torch import nn

from catclip.config import OptimConfig

# Embeddings of positions and tokens are looked up, not multiplied by features: they do not decay either. Nor does what
# a model of timm's says of itself, as Swin's tables of relative positions.
_NO_DECAY = ("pos_embed", "cls_token", "reg_token", "positional_embedding", "token_embedding", "cls_emb")


def build_adamw(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW (fused), with weight decay on matrices only: not on biases, norms, scalars, positions, token embeddings.

    Groups carry `lr_scale`, by which `config.layer_decay` slows down the layers of a timm model at `backbone.trunk`:
    the last by that factor, each before it by another (BEiT, arXiv 2106.08254, appendix). Everything else learns at
    full speed.
    """
    scales, spared = layer_scales(model, config.layer_decay), _spared(model)
    groups: dict[tuple[bool, bool, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim >= 2 and name not in spared and not any(part in name for part in _NO_DECAY)
            # Scalars apart: FSDP does not divide them among ranks, and a group is divided or it is not.
            groups.setdefault((decays, parameter.ndim == 0, scales.get(name, 1.0)), []).append(parameter)
    beta1, beta2 = config.betas
    return torch.optim.AdamW(
        [
            {"params": parameters, "weight_decay": config.weight_decay if decays else 0.0, "lr_scale": scale}
            for (decays, _, scale), parameters in groups.items()
        ],
        lr=config.lr,
        betas=(beta1, beta2),
        fused=True,
    )


def _spared(model: nn.Module) -> set[str]:
    """The parameters that timm's models, and their parts, say must not decay."""
    told = {prefix: part.no_weight_decay for prefix, part in model.named_modules() if hasattr(part, "no_weight_decay")}
    return {f"{prefix}.{name}".removeprefix(".") for prefix, names in told.items() for name in names()}


def layer_scales(model: nn.Module, decay: float | None) -> dict[str, float]:
    """By which a timm model's layers learn more slowly than what stands on them, by the names of their parameters."""
    prefix = "backbone.trunk"
    if decay is None:
        return {}
    trunk = model.get_submodule(prefix)
    # timm's own groups: 0 the patches' embedding, then a block each, then what comes behind the last.
    layers = group_parameters(trunk, trunk.group_matcher(coarse=False), reverse=True)  # type: ignore[operator]
    top = max(layers.values())
    return {f"{prefix}.{name}": decay ** (top - layer) for name, layer in layers.items()}


def learning_rate(step: int, steps: int, config: OptimConfig) -> float:
    """The learning rate of a step, from 0: linear warm-up, then by `config.schedule` from `lr` to `min_lr`.

    `cosine` and `linear` fall all the way; `constant` (arXiv 2405.18392, section 3) stays and falls linearly over the
    last `config.cooldown` steps. The last of `steps` steps has `min_lr`.

    Args:
        step, steps: of the run.
        config: its durations are numbers of steps.
    """
    warmup = config.warmup
    if step < warmup:
        return config.lr * (step + 1) / warmup
    first = max(warmup, steps - config.cooldown - 1) if config.schedule == "constant" else warmup
    progress = min(1.0, max(0, step - first) / max(1, steps - 1 - first))
    if config.schedule == "constant" and config.cooldown == 0:
        progress = 0.0
    share = 0.5 * (1 + math.cos(math.pi * progress)) if config.schedule == "cosine" else 1 - progress
    return config.min_lr + (config.lr - config.min_lr) * share

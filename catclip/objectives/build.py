"""Configuration → backbone → objective."""

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any

import torch

from catclip.config import BackboneConfig
from catclip.data.pairs import Pairs
from catclip.errors import UserError, nearest
from catclip.models.backbone import build_backbone
from catclip.objectives.base import Objective


def build_objective(
    objective: Mapping[str, Any], backbone: BackboneConfig, pairs: Pairs | None, seed: int
) -> Objective:
    """Build an objective on a fresh backbone. Same seed and backbone, same initial backbone weights.

    Args:
        objective: `_target_`, the dotted name of an `Objective`, and its options.
        backbone: which backbone.
        pairs: the training pairs; None when weights are about to be loaded.
        seed: of all initial weights.

    Raises:
        UserError: `_target_` names no class, or the class does not take an option.
    """
    options = dict(objective)
    target = options.pop("_target_", "")
    module, _, name = target.rpartition(".")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"objective._target_={target!r} cannot be imported: {error}") from error
    known = [key for key in signature(kind).parameters if key not in ("backbone", "pairs")]
    for key in options:
        if key not in known:
            raise UserError(f"{name} takes no option '{key}'.{nearest(key, known)} It takes {', '.join(known)}.")
    trunk = build_backbone(backbone.name, backbone.image_size, backbone.options, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        return kind(trunk, pairs, **options)

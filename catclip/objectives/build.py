"""Configuration → backbone → objective."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch

from catclip.config import BackboneConfig
from catclip.data.pairs import Pairs
from catclip.errors import UserError
from catclip.models.backbone import build_backbone
from catclip.models.weights import load_weights
from catclip.objectives.base import Objective
from catclip.objectives.options import check_options


def build_objective(
    objective: Mapping[str, Any], backbone: BackboneConfig, pairs: Pairs | None, seed: int
) -> Objective:
    """Build an objective. Same seed and backbone, same initial backbone weights, unless a checkpoint has them.

    Args:
        objective: `_target_`, the dotted name of an `Objective`, and its options.
        backbone: which backbone.
        pairs: the training pairs; None when weights are about to be loaded.
        seed: of all initial weights.

    Raises:
        UserError: `_target_` names no objective, or it does not take an option, or lacks one; the backbone's initial
            weights are not those of such a backbone.
    """
    if "_target_" not in objective:
        raise UserError(
            "The objective has no objective._target_: give the dotted name of its class, as docs/extending.md."
        )
    options = dict(objective)
    target = str(options.pop("_target_", ""))
    module, _, name = target.rpartition(".")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(f"objective._target_={target!r} cannot be imported: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, Objective)):
        raise UserError(f"objective._target_={target!r} is no subclass of {Objective.__module__}.{Objective.__name__}.")
    check_options(kind, options)
    trunk = build_backbone(
        backbone.name,
        backbone.image_size,
        backbone.options,
        seed,
        patch_dropout=backbone.patch_dropout,
        checkpoint_activations=backbone.checkpoint_activations,
        channels_last=backbone.channels_last,
    )
    if backbone.weights is not None and pairs is not None:
        load_weights(trunk, backbone.weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        return kind(trunk, pairs, **options)

"""Tiny run folders to export, as a run leaves them, but with weights drawn at random."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from catclip.config import BackboneConfig
from catclip.train.folder import RunFolder
from tests import tiny

_NETS = {"resnet": "resnet18", "mobilenet": "mobilenetv3_small_050"}


def make_run(out: Path, kind: str, glyphs: Path) -> Path:
    """A run folder.

    Args:
        out: the folder.
        kind: an objective, `siglip`, `finetuned`; `usual`: a hybrid on a backbone as its name says; `resnet`,
            categorical, or `mobilenet`, a hybrid.
        glyphs: the tiny data set.
    """
    config = tiny.config("categorical", glyphs, steps=2)
    hybrid: dict[str, Any] = {
        "_target_": "catclip.objectives.hybrid.Hybrid",
        "vocabulary": str(tiny.vocabulary_file(glyphs)),
        "contrastive": tiny.TEXT,
    }
    contrastive = tiny.objective_config("contrastive", glyphs)
    finetuned = {"_target_": "catclip.transfer.finetune.Classification", "classes": ["cat", "dog"], "multilabel": False}
    siglip = contrastive | {"loss": "siglip"}
    others = {"hybrid": hybrid, "usual": hybrid, "siglip": siglip, "finetuned": finetuned, "mobilenet": hybrid}
    config.objective = others.get(kind, config.objective)
    if kind in _NETS:
        config.backbone = BackboneConfig(_NETS[kind], tiny.SIZE)
    if kind == "usual":
        config.backbone.options, config.backbone.image_size = {"drop_path_rate": 0.1}, 224
    objective, folder = tiny.build(config), RunFolder(out, config)
    checkpoint = folder.checkpoints / "step-2"
    checkpoint.mkdir(parents=True)
    torch.manual_seed(0)
    for name in ("last", "ema"):
        state = {key: each + 0.1 * torch.randn_like(each) if each.is_floating_point() else each
                 for key, each in objective.state_dict().items()}  # fmt: skip
        save_file(state, checkpoint / f"{name}.safetensors")
    (checkpoint / "state.json").write_text(json.dumps({"step": 2, "last": {"loss": 1.5}}))
    return out

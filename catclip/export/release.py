"""What a run has to release: its weights, its labels, and what is known of them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from catclip.errors import UserError
from catclip.files import usual_mode
from catclip.models.heads import LabelHead
from catclip.objectives.base import Objective
from catclip.train.checkpoint import list_checkpoints
from catclip.train.folder import load_objective, read_config

# Of a backbone's options, those that say how it is trained, not what it computes.
_TRAINING = ("drop_rate", "drop_path_rate", "patch_drop_rate", "pos_drop_rate", "proj_drop_rate", "attn_drop_rate")


@dataclass(frozen=True)
class Label:
    wnid: str  # "" for what is no synset
    name: str


@dataclass(frozen=True)
class Release:
    """A run's objective, on the CPU and in evaluation mode, and what its folder says of it.

    Attributes:
        path: the run folder.
        config: as the run has it.
        weights: which they are: `ema` or `last`.
        labels: of the head's rows; empty where there is no head.
        measured: `step`, and the latest of everything that was measured up to the checkpoint.
    """

    path: Path
    config: dict[str, Any]
    weights: str
    objective: Objective
    labels: list[Label]
    measured: dict[str, Any]

    @property
    def head(self) -> LabelHead | None:
        return getattr(self.objective, "head", None)

    @property
    def pair(self) -> Any:
        """The `Contrastive` in the objective, which has the projection and the text tower; None without."""
        part = getattr(self.objective, "contrastive", self.objective)
        return part if hasattr(part, "projection") else None

    @property
    def image_size(self) -> int:
        return self.objective.backbone.image_size

    @property
    def mean(self) -> list[float]:
        """Of red, green and blue, from 0 to 1."""
        return list(self.objective.backbone.trunk.pretrained_cfg["mean"])

    @property
    def std(self) -> list[float]:
        return list(self.objective.backbone.trunk.pretrained_cfg["std"])

    @property
    def timm_name(self) -> str:
        return self.objective.backbone.name

    @property
    def timm_arguments(self) -> dict[str, Any]:
        """What `timm.create_model` needs beside the name; {} for a model as its name says."""
        options = {key: each for key, each in self.config["backbone"]["options"].items() if key not in _TRAINING}
        backbone = self.objective.backbone
        usual = not backbone.takes_size or self.image_size == backbone.trunk.pretrained_cfg["input_size"][-1]
        return options | ({} if usual else {"img_size": self.image_size})


def open_release(path: Path, weights: str = "ema") -> Release:
    """What a run folder has to release, of its last checkpoint.

    Args:
        path: a run folder.
        weights: `ema`, the averaged weights (where the run kept none, its last), or `last`.

    Raises:
        UserError: no run, no checkpoint, or a damaged one.
    """
    objective, config = load_objective(path, weights), read_config(path)
    if config["backbone"].get("checkpoint_activations"):  # of no use without training, and no graph can have it
        objective.backbone.trunk.set_grad_checkpointing(False)
    objective.backbone.to(memory_format=torch.contiguous_format).channels_last = False
    file = list_checkpoints(path / "checkpoints")[-1] / "state.json"
    try:
        state = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    measured = {"step": state["step"], **state.get("last", {})}
    kept = "last" if config["optim"]["ema"] is None else weights
    return Release(path, config, kept, objective, _labels(objective), measured)


def _labels(objective: Objective) -> list[Label]:
    classes: Any = getattr(objective, "classes", None)  # of a fine-tuned run
    if classes is not None:
        return [Label("", name) for name in classes]
    vocabulary: Any = getattr(objective, "vocabulary", None)  # of synsets, words or subwords
    if vocabulary is None or not hasattr(objective, "head"):
        return []
    wnids = getattr(vocabulary, "wnids", [""] * len(vocabulary))
    return [Label(wnid, name) for wnid, name in zip(wnids, vocabulary.names, strict=True)]


def write_labels(release: Release, folder: Path) -> None:
    """`labels.tsv`: index, wnid and name of each row of the head, where there is one."""
    if release.labels:
        rows = [f"{index}\t{label.wnid}\t{label.name}\n" for index, label in enumerate(release.labels)]
        (folder / "labels.tsv").write_text("index\twnid\tname\n" + "".join(rows), encoding="utf-8")


def write_weights(state: dict[str, torch.Tensor] | nn.Module, file: Path) -> None:
    """A `.safetensors` file of a state dict, or of a module's."""
    tensors = state.state_dict() if isinstance(state, nn.Module) else state
    with usual_mode(file):
        save_file({key: each.detach().contiguous() for key, each in tensors.items()}, file, {"format": "pt"})

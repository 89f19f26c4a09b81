"""Checkpoints: written aside, forced to disk, then renamed, so that one that is there is whole.

`checkpoints/step-N/` holds `last.safetensors`, `ema.safetensors`, `training.pt` (optimiser state) and
`state.json`.
"""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from catclip.errors import UserError
from catclip.files import sync_folder, usual_mode, write_atomically
from catclip.train.distributed import on_first, rank
from catclip.train.trainer import Trainer

_NAME = re.compile(r"step-\d+")


def save_checkpoint(folder: Path, trainer: Trainer, progress: dict[str, Any]) -> Path:
    """Write `folder/step-N`, and remove what a kill left of others half-written or half-removed.

    Args:
        folder: the run's `checkpoints` folder.
        trainer: what to save.
        progress: what else the run must remember, as JSON (seconds trained, samples seen).

    On several ranks all must call it, and rank 0 writes. How many there were, and how they shared the model, leaves no
    trace: what was divided is gathered.

    Raises:
        UserError: the disk is full or cannot be written; earlier checkpoints are untouched.
    """
    weights, state = trainer.weights(), trainer.training_state()
    return on_first(lambda: _write(folder, trainer.step_number, weights, state, progress))


def _write(
    folder: Path,
    step: int,
    weights: dict[str, dict[str, torch.Tensor]],
    state: dict[str, Any],
    progress: dict[str, Any],
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    target, aside = folder / f"step-{step}", folder / f".step-{step}.partial"
    try:
        for leftover in folder.glob(".step-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        aside.mkdir()
        for name, tensors in weights.items():
            file = aside / f"{name}.safetensors"
            with usual_mode(file):
                save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, file)
        torch.save(state, aside / "training.pt")
        write_atomically(aside / "state.json", json.dumps({"step": step, **progress}, indent=1))
        for file in aside.iterdir():
            with open(file, "rb") as handle:
                os.fsync(handle.fileno())
        sync_folder(aside)
        if target.exists():  # a run that resumed from an earlier checkpoint comes by here again
            _remove(target)
        os.rename(aside, target)
        sync_folder(folder)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have their own for a full disk
        shutil.rmtree(aside, ignore_errors=True)
        raise UserError(
            f"The checkpoint of step {step} could not be written to {folder}: {error}. "
            "Earlier checkpoints are intact: make room and run the same command to resume."
        ) from error
    return target


def prune_checkpoints(folder: Path, step: int, keep: int, best: int | None = None) -> None:
    """Remove the checkpoints up to `step` but for the last `keep` of them, and that of the step `best`.

    Later ones, of a run that resumed from an earlier checkpoint, do not count: they may be of no use to the runs
    beside it.
    """
    if rank() > 0:
        return
    until = [path for path in list_checkpoints(folder) if step_of(path) <= step]
    for old in until[:-keep]:
        if step_of(old) != best:
            _remove(old)


def _remove(checkpoint: Path) -> None:
    """Out of sight in one move, and then removed: a kill in between leaves nothing that looks whole."""
    aside = checkpoint.with_name(f".{checkpoint.name}.removed")
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(checkpoint, aside)
    shutil.rmtree(aside, ignore_errors=True)


def step_of(checkpoint: Path) -> int:
    """N of a checkpoint's folder `step-N`."""
    return int(checkpoint.name.removeprefix("step-"))


def list_checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints in `folder`, oldest first."""
    return sorted((path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)), key=step_of)


def load_checkpoint(checkpoint: Path, trainer: Trainer) -> dict[str, Any]:
    """Bring a trainer to the state of a checkpoint and return what `state.json` says.

    Raises:
        UserError: a file is missing or damaged, or the weights are of another model.
    """
    progress = read_state(checkpoint)
    try:
        weights = {path.stem: load_file(path) for path in checkpoint.glob("*.safetensors")}
        state = torch.load(checkpoint / "training.pt", weights_only=True, map_location="cpu")
    except Exception as error:  # safetensors and torch raise types of their own for damaged files
        raise UserError(f"{checkpoint} cannot be read ({error}). Remove it to resume from an earlier one.") from error
    trainer.load(weights, state, progress["step"])
    return progress


def read_state(checkpoint: Path) -> dict[str, Any]:
    """`state.json` of a checkpoint."""
    try:
        return json.loads((checkpoint / "state.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{checkpoint} cannot be read ({error}). Remove it to resume from an earlier one.") from error

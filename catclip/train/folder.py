"""The run folder: what a run was asked for, where it ran, what it left, and how an objective comes back out."""

import filecmp
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from safetensors import SafetensorError
from safetensors.torch import load_file
from yaml import YAMLError

from catclip.config import BackboneConfig, PretrainConfig
from catclip.environment import environment
from catclip.errors import UserError, check_choice
from catclip.files import write_atomically
from catclip.objectives.base import Objective
from catclip.objectives.build import build_objective
from catclip.train.checkpoint import list_checkpoints

# These may differ between the start of a run and its resumption: they do not change what is computed.
_FREE = (
    "run.out", "run.name", "run.device", "run.keep", "run.best", "run.checkpoint_every", "run.skip_nonfinite",
    "run.micro_batch", "run.sharding", "backbone.checkpoint_activations", "data.workers", "data.cache", "track.",
)  # fmt: skip
# So may these. They do not change what is trained, but runs are told apart by them: how fast, and what is measured.
_MEASURED = ("run.compile", "run.evaluate_every", "data.max_bad", "data.val", "data.probe", "evaluators.")
_SHOWN = 8  # of what differs
_WRITTEN_FIRST = ("vocabulary.tsv", "environment.json")  # before config.yaml, whose presence means begun


class RunFolder:
    """A run's folder, fresh or to be resumed.

    Args:
        path: made if it does not exist.
        config: the run's configuration.

    Raises:
        UserError: the folder holds something else, or a run that was configured otherwise.
    """

    def __init__(self, path: Path, config: PretrainConfig):
        self.path, self.config = path, config
        self.checkpoints = path / "checkpoints"
        if (path / "config.yaml").exists():
            self._check_same()
        elif path.is_dir() and any(_is_foreign(child.name) for child in path.iterdir()):
            raise UserError(f"{path} is not empty and holds no run: choose another run.out.")
        else:
            self._start()

    def _start(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"run.out={self.path} cannot be made: {error}") from error
        vocabulary = self.config.objective.get("vocabulary")
        if vocabulary and Path(vocabulary).is_file():  # so that the folder alone says what the outputs mean
            shutil.copyfile(vocabulary, self.path / "vocabulary.tsv")
        write_atomically(self.path / "environment.json", json.dumps(environment(), indent=1))
        write_atomically(self.path / "config.yaml", OmegaConf.to_yaml(OmegaConf.structured(self.config)))

    def _check_same(self) -> None:
        before, now = flat(read_config(self.path)), flat(asdict(self.config))
        differing = [
            f"{key} was {before.get(key)!r}, is now {now.get(key)!r}"
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key) and not key.startswith((*_FREE, *_MEASURED))
        ]
        if not differing and not self._same_vocabulary():
            differing = [f"{self.config.objective['vocabulary']} has changed since"]
        if differing:
            more = len(differing) - _SHOWN
            if more > 0:
                differing[_SHOWN:] = [f"and {more} keys more"]
            raise UserError(
                f"{self.path} holds a run that was configured otherwise: {'; '.join(differing)}. "
                "Resume it with its own configuration, or choose another run.out."
            )

    def _same_vocabulary(self) -> bool:
        """Whether the vocabulary file still says what it said at the start: which label is which output."""
        now, kept = self.config.objective.get("vocabulary"), self.path / "vocabulary.tsv"
        return not (now and Path(now).is_file() and kept.is_file()) or filecmp.cmp(now, kept, shallow=False)

    @property
    def done(self) -> bool:
        return (self.path / "summary.json").exists()

    @property
    def out(self) -> str:
        """The `run.out` that leads back here: a comparison's folder holds those of its runs."""
        return self.config.run.out or str(self.path)

    def write_summary(self, summary: dict[str, Any]) -> None:
        write_atomically(self.path / "summary.json", json.dumps(summary, indent=1))


def read_config(path: Path) -> dict[str, Any]:
    """`config.yaml` of a run folder, as plain containers.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    file = path / "config.yaml"
    if not file.is_file():
        inside, beside = _runs_in(path), _runs_in(path.parent)
        hint = f" Runs beside it: {', '.join(beside[:8])}." if beside else ""
        hint = f" Runs in it: {', '.join(inside[:8])}." if inside else hint
        raise UserError(f"{path} is not a run folder: it has no config.yaml.{hint}")
    try:
        config = OmegaConf.to_container(OmegaConf.load(file))
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    if not isinstance(config, dict) or not {"backbone", "objective", "optim", "run"} <= config.keys():
        raise UserError(f"{file} is not the configuration of a run.")
    return {str(key): value for key, value in config.items()}


def _runs_in(folder: Path) -> list[str]:
    return sorted(file.parent.name for file in folder.glob("*/config.yaml")) if folder.is_dir() else []


def _is_foreign(name: str) -> bool:
    """Whether a file is none of those that a start leaves which was killed before `config.yaml` was there."""
    return name not in _WRITTEN_FIRST and not (name.startswith(".") and name.endswith(".partial"))


def load_objective(path: str | Path, weights: str = "ema", device: torch.device | str = "cpu") -> Objective:
    """The objective that a run trained, from its last checkpoint, in evaluation mode.

    Args:
        path: a run folder.
        weights: `ema`, the averaged weights (what a run releases; where it kept none, its last), or `last`.
        device: where to put it.

    Raises:
        UserError: no run, no checkpoint, or a damaged one; or a run of another version of catclip.
    """
    check_choice("weights", weights, ["ema", "last"])
    path = Path(path)
    config = read_config(path)
    found = list_checkpoints(path / "checkpoints")
    if not found:
        raise UserError(f"{path} has no checkpoint yet.")
    if (path / "vocabulary.tsv").is_file():
        config["objective"]["vocabulary"] = str(path / "vocabulary.tsv")
    with same_version(path / "config.yaml"):
        backbone, seed = BackboneConfig(**config["backbone"]), config["run"]["seed"]
        weights = "last" if config["optim"]["ema"] is None else weights
    objective = build_objective(config["objective"], backbone, None, seed)
    file = found[-1] / f"{weights}.safetensors"
    try:
        state = load_file(file)
        _check_shapes(state, objective, file)
        objective.load_state_dict(state)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{file} cannot be loaded: {' '.join(str(error).split())}") from error
    return objective.to(device).eval()


@contextmanager
def same_version(file: Path) -> Iterator[None]:
    """Around what reads a file of a run folder's into our own types.

    Raises:
        UserError: it has other keys than this version of catclip gives it.
    """
    try:
        yield
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{file} is of another version of catclip ({error}). The run's environment.json says which: use that one."
        ) from error


def _check_shapes(state: dict[str, torch.Tensor], objective: Objective, file: Path) -> None:
    for key, own in objective.state_dict().items():
        if key in state and state[key].shape != own.shape:
            raise UserError(
                f"{file}: {key} is {list(state[key].shape)} there, and {list(own.shape)} by the run's config.yaml and "
                "vocabulary.tsv. One of them has changed since."
            )


def is_free(key: str) -> bool:
    """Whether a dotted key of a configuration changes nothing that is computed."""
    return key.startswith(_FREE)


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration by its dotted keys."""
    keys: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            keys |= flat(value, f"{prefix}{key}.")
        else:
            keys[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return keys

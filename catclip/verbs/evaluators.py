"""What is measured while training: the entries of `evaluators` → evaluators and their intervals."""

from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import signature
from typing import Any

import torch

from catclip.config import PretrainConfig
from catclip.errors import UserError
from catclip.train.durations import Duration, parse_interval
from catclip.train.run import Evaluator


def check_evaluators(config: PretrainConfig) -> None:
    """Raise `UserError` for entries that are none, before anything is read."""
    for name, entry in _wanted(config).items():
        parse_interval(entry["every"], f"evaluators.{name}.every")
        _kind(name, entry)
    if config.run.best is not None and not _wanted(config):
        raise UserError(f"run.best={config.run.best} needs evaluations: give data.val or data.probe.")


def build_evaluators(config: PretrainConfig, device: torch.device) -> dict[str, tuple[Evaluator, Duration]]:
    """Each entry's evaluator, made as `_target_(config, device, **options)`, and its interval.

    Raises:
        UserError: `_target_` takes other options; what it raises.
    """
    evaluators = {}
    for name, entry in _wanted(config).items():
        kind = _kind(name, entry)
        options = {key: value for key, value in entry.items() if key not in ("_target_", "every")}
        try:
            signature(kind).bind(config, device, **options)
        except TypeError as error:
            raise UserError(f"evaluators.{name}: {entry['_target_']} cannot be made of its options: {error}.") from None
        interval = parse_interval(entry["every"], f"evaluators.{name}.every")
        evaluators[name] = kind(config, device, **options), interval
    return evaluators


def _wanted(config: PretrainConfig) -> dict[str, Mapping[str, Any]]:
    """The entries that say when and, where they name data, on what.

    Raises:
        UserError: one is no mapping, or does not have the key `every` at all: misspelt, it would never be measured.
    """
    for name, entry in config.evaluators.items():
        if entry is not None and not (isinstance(entry, Mapping) and "every" in entry):
            raise UserError(
                f"evaluators.{name}={entry} must be null or a mapping with an interval: '{{_target_: …, every: 2 "
                "epochs}'; with every: null it is left out."
            )
    return {
        name: entry
        for name, entry in config.evaluators.items()
        if entry is not None and entry.get("every") is not None and entry.get("data", "") is not None
    }


def _kind(name: str, entry: Mapping[str, Any]) -> Callable[..., Evaluator]:
    target = str(entry.get("_target_", ""))
    module, _, attribute = target.rpartition(".")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"evaluators.{name}._target_={target!r} cannot be imported: {error}") from error

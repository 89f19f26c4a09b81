"""The sections of `catclip compare` that train nothing to its end: step, batch, scaling, sensitivity."""

import gc
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from catclip.compare.best_batch import batch_figures
from catclip.compare.parts import step_figures
from catclip.compare.peers import labeller_figures
from catclip.compare.scaling import scaling_figures
from catclip.compare.sensitivity import sensitivity_figures
from catclip.config import CompareConfig, MeasureConfig, PretrainConfig
from catclip.data.cache.sizes import parse_size
from catclip.data.pairs import Pairs
from catclip.environment import environment
from catclip.errors import UserError, check_choice
from catclip.files import write_atomically
from catclip.train.folder import flat
from catclip.train.memory import is_out_of_memory
from catclip.train.precision import PRECISIONS, pick_precision
from catclip.verbs.training import pick_device

Section = Callable[[Mapping[str, PretrainConfig], torch.device, MeasureConfig], dict[str, Any]]
_SHOWN = 4  # of what differs
SECTIONS = ("step", "batch", "scaling", "learning", "sensitivity")


def check_sections(config: CompareConfig) -> None:
    """Raise `UserError` for sections and settings that there are not, before anything is measured."""
    wanted = config.compare
    if not wanted.sections:
        raise UserError(f"compare.sections is empty: give some of {', '.join(SECTIONS)}.")
    for name in wanted.sections:
        check_choice("compare.sections", name, SECTIONS)
    for precision in wanted.sensitivity.precision:
        check_choice("compare.sensitivity.precision", precision, PRECISIONS)
    for key, value in (("rounds", wanted.rounds), ("steps", wanted.steps)):
        if value < 1:
            raise UserError(f"compare.{key}={value} must be at least 1.")
    each = wanted.sensitivity
    lists = [
        ("text_length", each.text_length, 1), ("vocabulary", each.vocabulary, 1),
        ("resolution", each.resolution or [], 1), ("workers", each.workers, 0),
    ]  # fmt: skip
    for key, values, lowest in lists:
        if min(values, default=lowest) < lowest:
            raise UserError(f"compare.sensitivity.{key}={values} must be numbers of at least {lowest}.")
    if wanted.memory is not None:
        parse_size(wanted.memory, "compare.memory")
    if len(wanted.ranks) < 2 or wanted.ranks != sorted({1, *wanted.ranks}) or wanted.ranks[0] < 1:
        raise UserError(f"compare.ranks={wanted.ranks} must begin with 1 and rise, as [1,2] or [1,2,4].")
    if "scaling" in wanted.sections and pick_device(config.run.device).type == "cuda":
        gpus = torch.cuda.device_count()
        if gpus < 2:
            raise UserError(
                "Scaling is measured on one rank and on several, a GPU each, and this machine has one GPU: leave "
                "scaling out of compare.sections, or measure what ranks send on the CPU with run.device=cpu."
            )
        if wanted.ranks[-1] > gpus:
            raise UserError(
                f"compare.ranks={wanted.ranks} asks for {wanted.ranks[-1]} GPUs, one a rank; this machine has {gpus}. "
                "Give fewer, or leave scaling out of compare.sections."
            )
    if wanted.bandwidth <= 0:
        raise UserError(f"compare.bandwidth={wanted.bandwidth} must be above 0: bytes a second.")
    if config.data.sizes is not None and {"step", "batch", "scaling", "sensitivity"} & set(wanted.sections):
        raise UserError(
            "compare.sections step, batch, scaling and sensitivity measure pictures of one size: give data.sizes=null "
            "and backbone.image_size, or compare.sections=[learning]."
        )


def measure_sections(
    config: CompareConfig, configs: Mapping[str, PretrainConfig], out: Path, console: Console
) -> dict[str, Any]:
    """Measure those of `compare.sections` that are this module's; what has been measured is read from `out`.

    Args:
        config: of the comparison.
        configs: by the objective's name.
        out: the comparison's folder, which keeps `compare.<section>.json`.
        console: where to say what is going on.

    Raises:
        UserError: a section was measured with another configuration; what measuring raises.
    """
    sections: dict[str, Section] = {
        "step": _step, "batch": batch_figures, "scaling": scaling_figures, "sensitivity": sensitivity_figures,
    }  # fmt: skip
    device = pick_device(config.run.device)
    precision = pick_precision(config.run.precision, device)
    configs = {name: replace(each, run=replace(each.run, precision=precision)) for name, each in configs.items()}
    results: dict[str, Any] = {}
    for name in config.compare.sections:
        if name not in sections:
            continue
        file, made_with = out / f"compare.{name}.json", _settings(config)
        if file.exists():
            stored = json.loads(file.read_text())
            if differing := _differing(*(flat(_concerning(name, each)) for each in (stored["settings"], made_with))):
                raise UserError(f"{file} was measured with another configuration: {differing}. Choose another run.out.")
        else:
            with console.status(f"measuring: {name}"), _room_for_section(name, config.run.batch):
                stored = {"settings": made_with, "figures": sections[name](configs, device, config.compare)}
            _release(device)
            out.mkdir(parents=True, exist_ok=True)
            write_atomically(file, json.dumps(stored | {"environment": environment()}, indent=1))
        results |= stored["figures"]
    return results


@contextmanager
def _room_for_section(section: str, batch: int) -> Iterator[None]:
    """Say what would take less, where memory runs out.

    Raises:
        UserError: in place of torch's error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not (is_out_of_memory(error) or isinstance(error, BrokenProcessPool)):
            raise
        whole = "" if section == "batch" else f", whose batches are whole, without run.micro_batch: {batch:,} pictures"
        raise UserError(
            f"Out of memory in the section {section}{whole}. Give a smaller run.batch or backbone, or leave the "
            "section out of compare.sections."
        ) from error


def _release(device: torch.device) -> None:
    """Give back what a section held: others measure how much of the device's memory is free."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _step(configs: Mapping[str, PretrainConfig], device: torch.device, measure: MeasureConfig) -> dict[str, Any]:
    figures = step_figures(configs, device, measure)
    data = next(iter(configs.values())).data
    return figures | (labeller_figures(Pairs(data.sources, data), measure.rounds) if measure.peers else {})


# What one section alone reads of `compare`.
_READ_BY = {
    "peers": "step",
    "memory": "batch",
    "ranks": "scaling",
    "bandwidth": "scaling",
    "sensitivity": "sensitivity",
}


# What changes no step.
_NO_STEPS = ("val", "probe", "cache")


def _concerning(section: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without those that other sections alone read."""
    measure = {key: value for key, value in settings["compare"].items() if _READ_BY.get(key, section) == section}
    data = {key: value for key, value in settings["data"].items() if key not in _NO_STEPS}
    return settings | {"data": data, "compare": measure}


def _differing(before: dict[str, Any], now: dict[str, Any]) -> str:
    """What is not the same, in words; empty where all is."""
    keys = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    said = [f"{key} was {before.get(key)!r}, is now {now.get(key)!r}" for key in keys[:_SHOWN]]
    return "; ".join(said) + (f"; and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else "")


def _settings(config: CompareConfig) -> dict[str, Any]:
    """What the figures depend on, as JSON has it."""
    measure = {key: value for key, value in asdict(config.compare).items() if key not in ("sections", "seeds")}
    run = {key: getattr(config.run, key) for key in ("batch", "tf32", "micro_batch", "compile")}
    device = pick_device(config.run.device)
    run["precision"] = pick_precision(config.run.precision, device)
    run["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    groups = {key: asdict(getattr(config, key)) for key in ("data", "backbone", "optim")}
    return json.loads(json.dumps({**groups, "objectives": config.objectives, "run": run, "compare": measure}))

"""`catclip probe`: how good are a run's frozen features?"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from catclip.config import LabelledConfig, ProbeConfig
from catclip.data.labelled import open_splits
from catclip.errors import UserError
from catclip.files import write_atomically
from catclip.train.folder import load_objective
from catclip.transfer.multilabel_probe import MultilabelProbeResult, probe_multilabel
from catclip.transfer.probe import ProbeResult, probe
from catclip.verbs.training import pick_device


def run(config: ProbeConfig) -> None:
    """Probe a run and write `probe.json`."""
    console, device = Console(), pick_device(config.device, "device")
    if config.workers < 0:
        raise UserError(f"workers={config.workers} must be at least 0.")
    objective = load_objective(Path(config.model), config.weights, device)
    with console.status("reading labels"):
        splits = open_splits(config.data)
    result: ProbeResult | MultilabelProbeResult
    with console.status("extracting features"):
        fit = probe_multilabel if splits.train.multilabel else probe
        result = fit(objective, splits, device, workers=config.workers)
    out = Path(config.out) if config.out else Path(config.model) / "probe.json"
    settings = {"model": config.model, **_data_keys(config.data), "weights": config.weights}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, json.dumps(settings | asdict(result), indent=1))
    console.print(f"Linear probe: {_describe(result)} {out}", highlight=False)


def _data_keys(data: str | LabelledConfig) -> dict[str, Any]:
    """What was given of `data`, in flat keys."""
    if isinstance(data, str):
        return {"data": data}
    return {f"data.{key}": value for key, value in asdict(data).items() if value is not None}


def _describe(result: ProbeResult | MultilabelProbeResult) -> str:
    learned = f"{result.train_images:,} training pictures, C = {result.strength:g}"
    if isinstance(result, ProbeResult):
        return (
            f"[bold]{result.accuracy:.3f}[/] of {result.test_images:,} test pictures right "
            f"({result.classes} classes, {learned})."
        )
    return (
        f"mAP [bold]{result.map:.3f}[/] on {result.test_images:,} test pictures "
        f"({result.classes_evaluated} of {result.classes} classes occur there, {learned})."
    )

"""`catclip probe`: how good are a run's frozen features?"""

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from catclip.config import ProbeConfig
from catclip.errors import UserError
from catclip.files import write_atomically
from catclip.train.folder import load_objective
from catclip.transfer.probe import probe
from catclip.verbs.training import pick_device


def run(config: ProbeConfig) -> None:
    """Probe a run and write `probe.json`."""
    console, device = Console(), pick_device(config.device, "device")
    if config.workers < 0:
        raise UserError(f"workers={config.workers} must be at least 0.")
    objective = load_objective(Path(config.model), config.weights, device)
    with console.status("extracting features"):
        result = probe(objective, config.data, device, workers=config.workers)
    out = Path(config.out) if config.out else Path(config.model) / "probe.json"
    settings = {"model": config.model, "data": config.data, "weights": config.weights}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, json.dumps(settings | asdict(result), indent=1))
    console.print(
        f"Linear probe: [bold]{result.accuracy:.3f}[/] of {result.test_images:,} test pictures right "
        f"({result.classes} classes, {result.train_images:,} training pictures, C = {result.strength:g}). {out}",
        highlight=False,
    )

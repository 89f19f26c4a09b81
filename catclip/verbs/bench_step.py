"""`catclip bench step`: our training step beside the sum of its parts, a bare loop, timm's step and open_clip's."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from catclip.compare.full_step import LIMITS, PARTS, Setting, build_categorical, random_batch, step_figures
from catclip.compare.label_loss import label_loss_figures
from catclip.environment import environment
from catclip.errors import UserError, check_choice
from catclip.files import write_atomically
from catclip.models.backbone import build_backbone
from catclip.objectives.contrastive import Contrastive
from catclip.train.compiling import wants_compile
from catclip.train.flops import flops_per_image, peak_rate
from catclip.train.precision import pick_precision
from catclip.verbs.training import pick_device

if TYPE_CHECKING:
    from catclip.config import BenchStepConfig

# Text towers by where they run: CLIP's for ViT-B, or one that two cores can train.
_TEXT_ON_GPU: dict[str, Any] = {"text": "ViT-B-16"}
_TEXT_ON_CPU: dict[str, Any] = {
    "embed": 128, "text_length": 32, "text_width": 128, "text_layers": 4, "text_heads": 2
}  # fmt: skip
_LARGEST_TOKEN = 49_405  # of CLIP's, below its two special ones


def run(config: BenchStepConfig) -> None:
    """Measure, print the table and write `bench.json`."""
    console = Console(highlight=False)
    device = pick_device(config.device, "device")
    check_choice("precision", config.precision, ["auto", "bf16", "fp32"])
    for name in ("batch", "labels", "steps", "rounds", "bce_batch"):
        if getattr(config, name) < 1:
            raise UserError(f"{name}={getattr(config, name)}: must be at least 1.")
    folder = Path(config.out or f"runs/bench_step/{time.strftime('%Y%m%d-%H%M%S')}")
    if (folder / "bench.json").exists():
        raise UserError(f"{folder} has results already. Give another out=….")
    start = time.perf_counter()
    with console.status("measuring"):
        results = measure(config, device)
    results["seconds"] = time.perf_counter() - start
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "bench.json", json.dumps(results | {"environment": environment()}, indent=1))
    console.print(table(results))
    console.print(summary(results), markup=False, soft_wrap=True)
    console.print(f"Wrote {folder / 'bench.json'} in {results['seconds']:.0f} s.", markup=False, soft_wrap=True)


def measure(config: BenchStepConfig, device: torch.device) -> dict[str, Any]:
    """Return the figures of bench.json.

    Raises:
        UserError: what the builders of the backbone and the text tower raise.
    """
    precision = pick_precision(config.precision, device, "precision")
    setting = Setting(device, precision, wants_compile(config.compile, device), config.steps, config.rounds)
    shape = config.backbone
    backbone = build_backbone(shape.name, shape.image_size, shape.options, 0)
    categorical = build_categorical(backbone, config.labels)
    text = config.text or (_TEXT_ON_GPU if device.type == "cuda" else _TEXT_ON_CPU)
    contrastive = Contrastive(backbone, None, **text)
    tower: Any = contrastive.text
    batch = random_batch(config.batch, shape.image_size, config.labels, tower.context_length, _LARGEST_TOKEN, device)
    results: dict[str, Any] = {
        "backbone": shape.name, "image_size": shape.image_size, "batch": config.batch, "labels": config.labels,
        "precision": precision, "compile": setting.compile, "steps": config.steps, "rounds": config.rounds,
    }  # fmt: skip
    results["flops_per_image"] = flops_per_image(categorical, batch)
    results |= step_figures(categorical, contrastive, batch, setting)
    results["images_per_second"] = 1000 * config.batch / results["step.milliseconds"]
    if device.type == "cuda" and (
        peak := peak_rate(torch.cuda.get_device_name(device), precision, torch.backends.cuda.matmul.allow_tf32)
    ):
        results["mfu"] = results["flops_per_image"] * results["images_per_second"] / peak
    results |= label_loss_figures(config.bce_batch, config.labels, device, config.rounds)
    return results | {f"limit.{key}": value for key, value in LIMITS.items()}


_ROWS = [
    ("ratio.step_to_bare_loop", "the same by hand", "step", "bare_loop"),
    ("ratio.step_to_parts", "sum of its parts", "step", "parts"),
    ("ratio.step_to_timm", "timm's step", "step", "timm"),
    ("ratio.contrastive_step_to_open_clip", "open_clip's step", "contrastive_step", "open_clip"),
]


def table(results: dict[str, Any]) -> Table:
    """Return a row for each thing our step is set beside: the ratio first."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column("our step ÷")
    for title in ("ratio", "spread", "wanted", "ms ours", "ms theirs"):
        grid.add_column(title, justify="right", no_wrap=True)
    for ratio, name, ours, theirs in _ROWS:
        grid.add_row(
            name,
            f"{results[ratio]:.3f}",
            f"{results[f'{ratio}.spread']:.3f}",
            f"≤ {LIMITS[ratio]:g}",
            f"{results[f'{ours}.milliseconds']:,.1f}",
            f"{results[f'{theirs}.milliseconds']:,.1f}",
        )
    return grid


def summary(results: dict[str, Any]) -> str:
    """Say what was measured, what the parts take, and what dense targets would cost."""
    parts = ", ".join(f"{part} {results[f'part.{part}.milliseconds']:,.1f}" for part in PARTS)
    mfu = f", MFU {results['mfu']:.0%}" if "mfu" in results else ""
    dense, ragged = (int(results[f"bce.{form}_peak_memory_bytes"]) for form in ("dense", "ragged"))
    return (
        f"{results['backbone']} at {results['image_size']} pixels, batch {results['batch']:,}, "
        f"{results['labels']:,} labels, {results['precision']}{', compiled' if results['compile'] else ''}: "
        f"{results['images_per_second']:,.0f} images/s{mfu}.\n"
        f"Parts in ms: {parts}.\n"
        f"Dense targets for {results['bce.batch']:,} pictures: the loss takes "
        f"{results['ratio.bce_dense_to_ragged_milliseconds']:.2f}× the time of ragged labels, "
        f"{decimal(dense)} in place of {decimal(ragged)}."
    )

"""`catclip bench loader`: pictures a second and core from shards to batches, beside open_clip's own road."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from catclip.captions import SynsetExtractor, Vocabulary
from catclip.captions.counting.counter import count_files, make_vocabulary
from catclip.compare.loader import (
    BATCH,
    CROPS,
    LABELS,
    LIMITS,
    TARGETS,
    label_figures,
    picture_figures,
    road_figures,
    step_rate,
    undecoded_rate,
)
from catclip.config import DataConfig, PackConfig
from catclip.data.packing import pack
from catclip.data.pairs import Pairs
from catclip.data.targets import LabelTargets
from catclip.environment import environment
from catclip.errors import UserError
from catclip.files import write_atomically

if TYPE_CHECKING:
    from catclip.config import BenchLoaderConfig

_SAMPLES = 500  # that a pass should have: a folder with fewer pictures is repeated


def run(config: BenchLoaderConfig) -> None:
    """Measure, print the table and write `bench.json`."""
    console = Console(highlight=False)
    folder = Path(config.out or f"runs/bench_loader/{time.strftime('%Y%m%d-%H%M%S')}")
    if (folder / "bench.json").exists():
        raise UserError(f"{folder} has results already. Give another out=….")
    for name, value in {"size": config.size, "batch": config.batch, "rounds": config.rounds}.items():
        if value < 1:
            raise UserError(f"{name}={value}: must be at least 1.")
    if config.gpu_images_per_second is not None and config.gpu_images_per_second <= 0:
        raise UserError(f"gpu_images_per_second={config.gpu_images_per_second:g}: must be above 0.")
    start = time.perf_counter()
    with _shards(config) as data, console.status("measuring"):
        results = measure(config, data)
    results["seconds"] = time.perf_counter() - start
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "bench.json", json.dumps(results | {"environment": environment()}, indent=1))
    console.print(table(results))
    console.print(summary(results), markup=False, soft_wrap=True)
    console.print(f"Wrote {folder / 'bench.json'} in {results['seconds']:.0f} s.", markup=False, soft_wrap=True)


@contextmanager
def _shards(config: BenchLoaderConfig) -> Iterator[DataConfig]:
    """Yield `config.data` with the shards to read: the user's, or those of a folder of pictures, made for this."""
    if (config.pictures is None) == (config.data.sources is None):
        raise UserError("Give shards, data.sources='shards/*.tar', or pictures=FOLDER with their captions=FILE.")
    if config.pictures is None:
        yield config.data
        return
    with tempfile.TemporaryDirectory() as folder:
        packed = pack(PackConfig(data=config.pictures, captions=config.captions, out=f"{folder}/once"))
        for turn in range(-(-_SAMPLES // packed.samples)):
            for record in packed.shards:
                os.link(Path(folder, "once", record.shard), Path(folder, f"{turn:03d}-{record.shard}"))
        yield replace(config.data, sources=f"{folder}/*.tar")


def measure(config: BenchLoaderConfig, data: DataConfig) -> dict[str, float]:
    """Return the figures of bench.json.

    Raises:
        UserError: what `Pairs` raises; shards that are not on this machine.
    """
    pairs = Pairs(data.sources, data)
    if away := next((path for path in pairs.shards.paths if not Path(path).is_file()), None):
        raise UserError(f"{away} is not on this machine: this would measure the way to it. Copy some shards here.")
    targets = LabelTargets(_vocabulary(data))
    results: dict[str, float] = {"image_size": config.size, "batch": config.batch, "rounds": config.rounds}
    results |= picture_figures(pairs)
    results |= road_figures(pairs, data, targets, size=config.size, batch=config.batch, rounds=config.rounds)
    results |= label_figures(pairs, targets)
    results |= _feeding_figures(config, data, pairs, targets, results["crop_08.images_per_second"])
    return results | {f"target.{key}": value for key, value in (TARGETS | LIMITS).items()}


def _feeding_figures(
    config: BenchLoaderConfig, data: DataConfig, pairs: Pairs, targets: LabelTargets, rate: float
) -> dict[str, float]:
    """How many cores it takes to make as many pictures as one GPU trains on; nothing where there is none."""
    wanted = config.gpu_images_per_second
    if wanted is None and torch.cuda.is_available():
        wanted = step_rate(config.backbone, config.size, config.batch, torch.device("cuda"))
    if wanted is None:
        return {}
    undecoded = undecoded_rate(pairs, data, targets, size=config.size, batch=config.batch)
    return {
        "gpu.images_per_second": wanted,
        "undecoded.images_per_second": undecoded,
        "gpu.cores": wanted / rate,
        "gpu.cores_undecoded": wanted / undecoded,
    }


def _vocabulary(data: DataConfig) -> Vocabulary:
    """The user's, or all synsets of the captions."""
    if data.vocabulary:
        return Vocabulary.load(data.vocabulary)
    extractor = SynsetExtractor()
    corpus = count_files(data.sources, extractor, caption_key=data.caption_key, captions=data.captions)
    return make_vocabulary(corpus, extractor, 1, "the shards measured")


def table(results: dict[str, float]) -> Table:
    """Return a row for each range of crops: the ratio first."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column("one core")
    for title in ("× open_clip", "wanted", "images/s", "open_clip's", "labels' share", "wanted"):
        grid.add_column(title, justify="right", no_wrap=True)
    for name, (low, high) in CROPS.items():
        ratio, share = f"ratio.{name}_to_open_clip", f"{name}.label_share"
        grid.add_row(
            f"crop {low:g}–{high:g}",
            f"{results[ratio]:.2f}",
            f"≥ {TARGETS[ratio]:g}",
            f"{results[f'{name}.images_per_second']:,.0f}",
            f"{results[f'{name}.open_clip_images_per_second']:,.0f}",
            f"{results[share]:.1%}",
            f"< {LIMITS[share]:.0%}",
        )
    return grid


def summary(results: dict[str, float]) -> str:
    """Say what was read, and what a batch's labels weigh."""
    ragged, dense = (int(results[f"batch.{form}_label_bytes"]) for form in ("ragged", "dense"))
    return (
        f"{results['samples']:,.0f} pictures of {results['picture.median_width']:.0f} × "
        f"{results['picture.median_height']:.0f} pixels and {decimal(int(results['picture.mean_bytes']))}, "
        f"to {results['image_size']:.0f} pixels.\n"
        f"Labels of {BATCH:,} pictures: {decimal(ragged)} as ids, {decimal(dense)} as {LABELS:,} numbers each."
        + _feeding(results)
    )


def _feeding(results: dict[str, float]) -> str:
    if "gpu.cores" not in results:
        return ""
    return (
        f"\nOne GPU that trains on {results['gpu.images_per_second']:,.0f} pictures a second is fed by "
        f"{results['gpu.cores']:.1f} cores (crop 0.08–1), or by {results['gpu.cores_undecoded']:.1f} where it decodes "
        "itself (data.decode=gpu)."
    )

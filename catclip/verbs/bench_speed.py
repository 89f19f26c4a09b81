"""`catclip bench captions`: how fast captions are labelled and counted, beside the published rule."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from catclip.captions.counting.counter import available_processes
from catclip.compare.captions_speed import TARGETS, counting_figures, labelling_figures, make_sides, ratios
from catclip.errors import UserError

if TYPE_CHECKING:
    from catclip.config import BenchCaptionsConfig

SIDES = {
    "published": "published rule",
    "reference": "rule=reference",
    "default": "default, Arrow to ids",
    "default_lists": "default, Python lists",
    "none": "tagger=none",
    "nltk": "tagger=nltk",
    "spacy": "tagger=spacy",
    "count_text": "count text, all cores",
    "count_parquet": "count Parquet, all cores",
}


def measure(config: BenchCaptionsConfig, console: Console) -> dict[str, float]:
    """Measure, and say which sides are left out and why."""
    if config.captions is None:
        raise UserError("Give the captions to label, one a line: captions=FILE.")
    path = Path(config.captions)
    if not path.is_file():
        raise UserError(f"captions={path} is no file.")
    captions = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not captions:
        raise UserError(f"{path} has no captions.")
    sides, missing = make_sides(config.pipeline)
    for line in missing:
        console.print(line, markup=False, soft_wrap=True)
    with console.status("labelling"):
        results: dict[str, float] = {"captions": len(captions), "rounds": config.rounds}
        results |= labelling_figures(captions, sides, config.rounds, config.slow)
    with console.status("counting"), tempfile.TemporaryDirectory() as folder:
        results |= counting_figures(captions, config.total, Path(folder), available_processes())
    return results | ratios(results) | {f"target.{key}": float(target) for key, target in TARGETS.items()}


def table(results: dict[str, float]) -> Table:
    """Return the sides as rows: their rate, as a multiple of the published rule's, and the peak memory."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column("")
    for title in ("× published", "captions/s", "target", "memory"):
        grid.add_column(title, justify="right", no_wrap=True)
    for side, name in SIDES.items():
        rate = results.get(f"{side}.captions_per_second")
        if rate is not None:
            ratio = results.get(f"ratio.{side}_to_published")
            memory = results.get(f"{side}.peak_memory_bytes")
            grid.add_row(
                name,
                f"{ratio:,.3g}" if ratio else "",
                f"{rate:,.0f}",
                _target(side),
                f"{memory / 2**30:.2f} GiB" if memory else "",
            )
    return grid


def _target(side: str) -> str:
    rate, ratio = (TARGETS.get(key) for key in (f"{side}.captions_per_second", f"ratio.{side}_to_published"))
    return ", ".join(([f"{rate:,}"] if rate else []) + ([f"{ratio}×"] if ratio else []))

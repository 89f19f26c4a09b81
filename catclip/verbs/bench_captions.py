"""`catclip bench captions`: how fast captions are labelled and counted, or with `quality=true` how well."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from catclip.environment import environment
from catclip.errors import UserError
from catclip.files import write_atomically
from catclip.verbs import bench_quality, bench_speed

if TYPE_CHECKING:
    from catclip.config import BenchCaptionsConfig


def run(config: BenchCaptionsConfig) -> None:
    """Measure, print the table and write `bench.json`."""
    console = Console(highlight=False)
    folder = Path(config.out or f"runs/bench_captions/{time.strftime('%Y%m%d-%H%M%S')}")
    if (folder / "bench.json").exists():
        raise UserError(f"{folder} has results already. Give another out=….")
    start = time.perf_counter()
    bench = bench_quality if config.quality else bench_speed
    results = bench.measure(config, console)
    results["seconds"] = time.perf_counter() - start
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results | {"environment": environment()}, indent=1)
    write_atomically(folder / "bench.json", text)
    console.print(bench.table(results))
    console.print(f"Wrote {folder / 'bench.json'} in {results['seconds']:.0f} s.", markup=False, soft_wrap=True)

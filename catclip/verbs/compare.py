"""`catclip compare`: several objectives, one backbone, the same batches, interleaved."""

import json
import os
from pathlib import Path
from typing import Any

from rich.console import Console

from catclip.compare.report import plot, table
from catclip.compare.results import collect
from catclip.compare.step import first_batches, peak_memory_bytes
from catclip.config import CompareConfig, PretrainConfig
from catclip.environment import environment
from catclip.errors import UserError
from catclip.files import write_atomically
from catclip.train.checkpoint import list_checkpoints
from catclip.train.flops import flops_per_image
from catclip.train.folder import RunFolder
from catclip.verbs.compare_runs import compare_runs
from catclip.verbs.training import check, pick_device, train


def run(config: CompareConfig) -> None:
    """Compare, or go on comparing, into `config.run.out`, and print the table; of `config.runs` nothing is trained."""
    assert config.run.out is not None
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UserError("`catclip compare` runs in one process: start it without torchrun.")
    console = Console()
    if config.runs is not None:
        compare_runs(config, console)
    else:
        show(compare(config, console), Path(config.run.out), console)


def compare(config: CompareConfig, console: Console) -> dict[str, Any]:
    """Train every objective and write `compare.json` and `compare.png`; what is done already is only read.

    Returns:
        What `catclip.compare.results.collect` returns.

    Raises:
        UserError: the folder holds something else; what training raises.
    """
    assert config.run.out is not None
    out = Path(config.run.out)
    configs = {name: single(config, name) for name in config.objectives}
    folders = {name: out / name for name in configs}
    _check_begun(out, folders)
    if (out / "summary.json").exists():
        for name, folder in folders.items():
            RunFolder(folder, configs[name])  # refuses a comparison that was configured otherwise
        console.print(f"{out} is done already.", markup=False)
        results = json.loads((out / "compare.json").read_text())
    else:
        for each in configs.values():
            check(each)
        costs = measure_costs(configs)
        results = collect(train(configs, folders, label="comparing"), costs)
        _write(out, results)
    return results


def show(results: dict[str, Any], out: Path, console: Console) -> None:
    """Print the table, and where the plot is."""
    console.print(table(results))
    console.print(f"Plot and figures: compare.png and compare.json in {out}", markup=False)


def single(config: CompareConfig, name: str) -> PretrainConfig:
    """The configuration under which one of the objectives could be trained alone."""
    return PretrainConfig(
        config.data,
        config.backbone,
        config.objectives[name],
        config.optim,
        config.track,
        config.run,
        config.evaluators,
    )


def _check_begun(out: Path, folders: dict[str, Path]) -> None:
    """Refuse a folder of something else, or of a comparison of other objectives: they start together or not at all."""
    if not out.is_dir():
        return
    begun = {file.parent.name for file in out.glob("*/config.yaml")}
    trained = {name for name in begun if list_checkpoints(out / name / "checkpoints")}
    if not begun <= folders.keys() or (trained and begun != folders.keys()):
        raise UserError(
            f"{out} holds a comparison of other objectives: it was {', '.join(sorted(begun))}, "
            f"is now {', '.join(sorted(folders))}. Choose another run.out."
        )
    if not begun and any(child.name not in folders for child in out.iterdir()):
        raise UserError(f"{out} is not empty and holds no comparison of these objectives: choose another run.out.")


def measure_costs(configs: dict[str, PretrainConfig]) -> dict[str, dict[str, float]]:
    """Operations and memory of each objective's step, before any of them trains."""
    costs = {}
    for name, config in configs.items():
        device = pick_device(config.run.device)
        objective, (first,) = first_batches(config, 1)
        costs[name] = {
            "flops_per_image": flops_per_image(objective, first),
            "peak_memory_bytes": peak_memory_bytes(config, device),
        }
    return costs


def _write(out: Path, results: dict[str, Any]) -> None:
    plot(results, out / "compare.png")
    text = json.dumps(results | {"environment": environment()}, indent=1)
    write_atomically(out / "compare.json", text)
    write_atomically(out / "summary.json", text)

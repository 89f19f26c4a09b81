"""`catclip compare runs=…`: runs that were trained already, or are in training, side by side. Nothing is trained."""

import json
from pathlib import Path

from rich.console import Console

from catclip.compare.sweep import configurations, find_runs, flat_results
from catclip.compare.sweep_report import plot, tables
from catclip.config import CompareConfig
from catclip.environment import environment
from catclip.errors import UserError
from catclip.files import write_atomically, writing


def compare_runs(config: CompareConfig, console: Console) -> None:
    """Print the tables of `config.runs`; write `compare.json` and `compare.png` into `config.run.out`, again each time.

    Raises:
        UserError: there is no run, or the folder holds something else.
    """
    assert config.run.out is not None
    out = Path(config.run.out)
    made = configurations(find_runs(config.runs))
    _check_ours(out)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(
            out / "compare.json", json.dumps(flat_results(made) | {"environment": environment()}, indent=1)
        )
        plot(made, out / "compare.png")
    for grid in tables(made):
        console.print(grid)
        console.print()
    several = "mean ± standard deviation over seeds; " if any(len(each.runs) > 1 for each in made) else ""
    console.print(f"{several}* best of a column".capitalize(), highlight=False)
    console.print(f"Plot and figures: compare.png and compare.json in {out}", markup=False)


def _check_ours(out: Path) -> None:
    """Refuse a folder in which something was trained."""
    if out.is_dir() and any(child.name not in ("compare.json", "compare.png") for child in out.iterdir()):
        raise UserError(f"run.out={out} holds more than a comparison of runs: choose another run.out.")

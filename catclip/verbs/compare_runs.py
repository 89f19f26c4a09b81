"""`catclip compare runs=…`: runs that were trained already, or are in training, side by side. Nothing is trained."""

import json
from pathlib import Path

from rich.console import Console

from catclip.compare.label_efficiency import (
    efficiency_figure,
    efficiency_results,
    efficiency_table,
    lines,
    plot_efficiency,
)
from catclip.compare.sweep import configurations, find_runs, flat_results
from catclip.compare.sweep_report import plot, tables
from catclip.config import CompareConfig
from catclip.environment import environment
from catclip.errors import UserError
from catclip.files import write_atomically, writing


def compare_runs(config: CompareConfig, console: Console) -> None:
    """Print the tables of `config.runs`; write `compare.json` and `compare.png` into `config.run.out`, again each time.

    Of fine-tuned runs on several shares of the labelled pictures also `label_efficiency.png`.

    Raises:
        UserError: there is no run, or the folder holds something else.
    """
    assert config.run.out is not None
    out = Path(config.run.out)
    made = configurations(find_runs(config.runs))
    _check_ours(out)
    results, grids = flat_results(made), tables(made)
    figure = efficiency_figure(made)
    drawn = lines(made, figure) if figure else []
    if figure:
        results |= efficiency_results(drawn, figure)
        grids.append(efficiency_table(drawn, figure))
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "compare.json", json.dumps(results | {"environment": environment()}, indent=1))
        plot(made, out / "compare.png")
        if figure:
            plot_efficiency(drawn, figure, out / "label_efficiency.png")
    for grid in grids:
        console.print(grid)
        console.print()
    several = "mean ± standard deviation over seeds; " if any(len(each.runs) > 1 for each in made) else ""
    console.print(f"{several}* best of a column".capitalize(), highlight=False)
    plots = "compare.png, label_efficiency.png" if figure else "compare.png"
    console.print(f"Plot and figures: {plots} and compare.json in {out}", markup=False)


def _check_ours(out: Path) -> None:
    """Refuse a folder in which something was trained."""
    ours = ("compare.json", "compare.png", "label_efficiency.png")
    if out.is_dir() and any(child.name not in ours for child in out.iterdir()):
        raise UserError(f"run.out={out} holds more than a comparison of runs: choose another run.out.")

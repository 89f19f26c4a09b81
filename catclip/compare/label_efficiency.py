"""Label efficiency: accuracy of fine-tuned runs against the share of the labelled pictures (CatLIP's Figure 5)."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # files only: no window, no display needed

import matplotlib.pyplot as plt
from rich.table import Table
from rich.text import Text

from catclip.compare.report import COLOURS
from catclip.compare.sweep import Configuration, spread

KEY = "data.fraction"
_FIGURES = {"top_1": "top-1 accuracy", "map": "mAP"}


@dataclass
class Line:
    """Runs that differ in the share of the pictures alone, and their seeds.

    Attributes:
        values: fraction → the figure of each seed's run, fractions rising.
    """

    name: str
    values: dict[float, list[float]] = field(default_factory=dict)

    def means(self) -> list[float]:
        return [statistics.fmean(values) for values in self.values.values()]

    def spreads(self) -> list[float | None]:
        """Standard deviations over seeds; None of one."""
        return [spread(values) for values in self.values.values()]


def efficiency_figure(made: Sequence[Configuration]) -> str | None:
    """`top_1` or `map`, where finished runs that have it differ in `data.fraction`; None elsewhere."""
    for figure in _FIGURES:
        found = {run.settings.get(KEY) for each in made for run in each.finished if figure in run.figures}
        if len(found - {None}) > 1:
            return figure
    return None


def lines(made: Sequence[Configuration], figure: str) -> list[Line]:
    """A line for each setting of everything but the fraction, of finished runs."""
    found: dict[str, Line] = {}
    for each in sorted(made, key=lambda one: one.runs[0].settings.get(KEY) or 0):
        values = [run.figures[figure] for run in each.finished if figure in run.figures]
        fraction = each.runs[0].settings.get(KEY)
        if fraction is None or not values:
            continue
        others = [f"{key}={value}" for key, value in each.settings.items() if not KEY.endswith(key)]
        line = found.setdefault(",".join(others), Line(",".join(others) or _FIGURES[figure]))
        line.values[float(fraction)] = values
    return list(found.values())


def efficiency_results(drawn: Sequence[Line], figure: str) -> dict[str, Any]:
    """For compare.json: `label_efficiency.<line>.` with `fractions`, the figure, its `spread`, and `runs`."""
    results: dict[str, Any] = {}
    for line in drawn:
        key = f"label_efficiency.{line.name}"
        results[f"{key}.fractions"] = list(line.values)
        results[f"{key}.{figure}"], results[f"{key}.{figure}.spread"] = line.means(), line.spreads()
        results[f"{key}.runs"] = [len(values) for values in line.values.values()]
    return results


def efficiency_table(drawn: Sequence[Line], figure: str) -> Table:
    """A row a fraction, a column a line."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    grid.add_column("labels", justify="right", no_wrap=True)
    for line in drawn:
        grid.add_column(Text(line.name), justify="right", overflow="fold")
    for fraction in sorted({each for line in drawn for each in line.values}):
        cells = []
        for line in drawn:
            values = line.values.get(fraction, [])
            around = spread(values)
            mean = f"{statistics.fmean(values):.3f}" if values else ""
            cells.append(mean + (f" ±{around:.3f}" if around is not None else ""))
        grid.add_row(f"{100 * fraction:g} %", *cells)
    grid.title = f"{_FIGURES[figure]} by share of the labelled pictures"
    return grid


def plot_efficiency(drawn: Sequence[Line], figure: str, path: Path) -> None:
    """Accuracy against the fraction as a PNG: a line each, the spread over seeds as a band."""
    many = plt.get_cmap("viridis")
    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        drawing, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
        for index, line in enumerate(drawn):
            colour = COLOURS[index] if len(drawn) <= len(COLOURS) else many(index / (len(drawn) - 1))
            fractions, means = list(line.values), line.means()
            around = [each or 0.0 for each in line.spreads()]
            axes.plot(fractions, means, "o-", color=colour, markersize=4, label=line.name)
            low = [mean - one for mean, one in zip(means, around, strict=True)]
            high = [mean + one for mean, one in zip(means, around, strict=True)]
            axes.fill_between(fractions, low, high, color=colour, alpha=0.18, linewidth=0)
        ticks = sorted({each for line in drawn for each in line.values})
        axes.set(xscale="log", xlabel="share of the labelled pictures", ylabel=_FIGURES[figure])
        axes.set_xticks(ticks, minor=False)
        axes.set_xticks([], minor=True)
        axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
        seeds = sorted({len(values) for line in drawn for values in line.values.values()})
        of = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        axes.set_title(f"Label efficiency; bands: standard deviation over seeds ({of})", fontsize=10)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
        drawing.savefig(path, dpi=130)
        plt.close(drawing)

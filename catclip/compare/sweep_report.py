"""A sweep for people: a row a configuration, and accuracy against time."""

import statistics
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # files only: no window, no display needed

import matplotlib.pyplot as plt
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from catclip.compare.report import COLOURS
from catclip.compare.sweep import FIGURES, Configuration, best, curve_figure, mean_curve, spread

WIDTH = 80
_TITLES = {
    "probe_accuracy": "probe", "map": "mAP", "precision_at_1": "P@1", "image_to_text_recall_at_10": "i→t R@10",
    "text_to_image_recall_at_10": "t→i R@10", "retrieval_recall_at_10": "c→p R@10", "zeroshot_top_1": "zero-shot",
    "top_1": "top-1", "images_per_second": "images/s",
}  # fmt: skip


def tables(made: Sequence[Configuration]) -> list[Table]:
    """A row a configuration: its settings, how many of its runs are finished, and figures as mean ± spread over them.

    As many tables as keep all figures within 80 columns. The best of a figure has a star; where no run of a
    configuration is finished, its figures are the latest so far and take no part in that.
    """
    figures = [name for name in FIGURES if any(each.values(name) for each in made)]
    grids, shown = [], list[str]()
    for name in figures:
        if shown and _width(_table(made, [*shown, name])) > WIDTH:
            grids.append(_table(made, shown))
            shown = []
        shown.append(name)
    return [*grids, _table(made, shown)]


def _width(grid: Table) -> int:
    console = Console(width=1000)
    return Measurement.get(console, console.options, grid).maximum


def _table(made: Sequence[Configuration], figures: Sequence[str]) -> Table:
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    keys = list(dict.fromkeys(key for each in made for key in each.settings))
    for key in keys or ["run"]:
        grid.add_column(key, overflow="fold", max_width=max(8, 40 // max(1, len(keys))))
    grid.add_column("runs", justify="right", no_wrap=True)
    for name in figures:
        grid.add_column(_TITLES.get(name, name), justify="right", no_wrap=True)
    winners = {name: best(made, name) for name in figures}
    for each in made:
        settings = [str(each.settings.get(key, "")) for key in keys] if keys else [each.name]
        cells = [_cell(each.values(name), winners[name] is each and len(made) > 1) for name in figures]
        # As plain text: names and values may have brackets in them, which rich would take for markup.
        grid.add_row(*map(Text, settings), progress(each), *cells)
    return grid


def progress(each: Configuration) -> str:
    """`3` finished runs, `2/3` of them, or how far those have come of which none is."""
    if each.finished:
        return f"{len(each.finished)}" + (f"/{len(each.runs)}" if len(each.finished) < len(each.runs) else "")
    return f"0/{len(each.runs)} at {min(run.step for run in each.runs):,}"


def _cell(values: Sequence[float], wins: bool) -> str:
    if not values:
        return ""
    mean, around = statistics.fmean(values), spread(values)
    digits = 0 if abs(mean) >= 100 else 3
    text = f"{mean:,.{digits}f}" + (f" ±{around:,.{digits}f}" if around is not None else "")
    return f"{text}{'*' if wins else ' '}"


def plot(made: Sequence[Configuration], path: Path) -> None:
    """Accuracy against training time as a PNG: a line a configuration, the spread over its seeds as a band."""
    figure_name = curve_figure(made)
    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(figsize=(9, 4.8), layout="constrained")
        if figure_name is None:
            axes.text(0.5, 0.5, "nothing was evaluated", transform=axes.transAxes, ha="center", color="0.4")
        else:
            _plot_curves(made, figure_name, axes)
        figure.savefig(path, dpi=130)
        plt.close(figure)


def _plot_curves(made: Sequence[Configuration], name: str, axes: plt.Axes) -> None:
    # Told apart by everyone as long as there are few; by the order of their colours where there are many.
    many = plt.get_cmap("viridis")
    for index, each in enumerate(made):
        points = mean_curve(each.finished or each.runs, name)
        if not points:
            continue
        colour = COLOURS[index] if len(made) <= len(COLOURS) else many(index / (len(made) - 1))
        seconds, means, around = zip(*points, strict=True)
        style = "o-" if each.finished else "o--"
        label = each.name if each.finished else f"{each.name} (unfinished)"
        axes.plot(seconds, means, style, color=colour, markersize=3, label=label)
        low = [mean - one for mean, one in zip(means, around, strict=True)]
        high = [mean + one for mean, one in zip(means, around, strict=True)]
        axes.fill_between(seconds, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.set(xlabel="seconds of training", ylabel=_TITLES.get(name, name))
    axes.set_title("Accuracy against time; bands: standard deviation over seeds", fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))

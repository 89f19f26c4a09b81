"""A comparison for people: the console table and the plot."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # files only: no window, no display needed

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from rich.table import Table

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito: told apart by everyone


def _bytes(value: float) -> str:
    return f"{value / 2**30:.2f} GiB"


ROWS = [
    ("images a second", "images_per_second", "{:,.0f}".format),
    ("ms a step", "step_milliseconds", "{:,.1f}".format),
    ("peak memory of a step", "peak_memory_bytes", _bytes),
    ("parameters", "parameters", lambda value: f"{value / 1e6:.1f} M"),
    ("GFLOPs an image", "flops_per_image", lambda value: f"{value / 1e9:.2f}"),
    ("held-out mAP", "map", "{:.3f}".format),
    ("  of a random ranking", "map_prior", "{:.3f}".format),
    ("  precision@1", "precision_at_1", "{:.3f}".format),
    ("image→text recall@1", "image_to_text_recall_at_1", "{:.3f}".format),
    ("  recall@10", "image_to_text_recall_at_10", "{:.3f}".format),
    ("text→image recall@10", "text_to_image_recall_at_10", "{:.3f}".format),
    ("probe accuracy", "probe_accuracy", "{:.3f}".format),
]


def table(results: dict[str, Any]) -> Table:
    """The figures of `collect`, a column an objective; at most 80 wide for three."""
    names = results["objectives"]
    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    grid.add_column("", no_wrap=True)
    for name in names:
        grid.add_column(name, justify="right", overflow="fold")
    if len(names) > 1:
        grid.add_column("2nd ÷ 1st", justify="right")
    for label, key, show in ROWS:
        values = [results.get(f"{name}.{key}") for name in names]
        if any(value is not None for value in values):
            ratio = results.get(f"ratio.{key}")
            cells = ["" if value is None else show(value) for value in values]
            grid.add_row(label, *cells, *([f"{ratio:.2f}×" if ratio else ""] if len(names) > 1 else []))
    starts = [results.get(f"{name}.curve_probe_accuracy", [None])[0] for name in names]
    if all(start is not None for start in starts):
        grid.add_row("  untrained", *(f"{start:.3f}" for start in starts))
    if ratio := results.get("ratio.seconds_to_probe_accuracy"):
        grid.add_row("time to 2nd's best probe", *[""] * len(names), f"{ratio:.2f}×")
    return grid


def plot(results: dict[str, Any], path: Path) -> None:
    """Probe accuracy against training time, and the cost ratios, as a PNG."""
    names = results["objectives"]
    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=[3, 2], layout="constrained")
        _plot_accuracy(left, results, names)
        _plot_costs(right, results, names)
        figure.savefig(path, dpi=130)
        plt.close(figure)


def _plot_accuracy(axes: Axes, results: dict[str, Any], names: list[str]) -> None:
    drawn = False
    for name, colour in zip(names, COLOURS, strict=False):
        if f"{name}.curve_probe_accuracy" in results:
            x, y = results[f"{name}.curve_probe_accuracy_seconds"], results[f"{name}.curve_probe_accuracy"]
            axes.plot(x, y, "o-", color=colour, label=name, markersize=4)
            axes.axhline(y[0], color="0.6", linewidth=0.8, linestyle=":", zorder=0)
            drawn = True
    axes.set(xlabel="seconds of training", ylabel="linear probe accuracy", title="Accuracy against time")
    axes.grid(alpha=0.25)
    if drawn:
        axes.legend(frameon=False, loc="best")
        axes.annotate("untrained", (1, y[0]), xycoords=("axes fraction", "data"), ha="right", va="bottom", color="0.4")
    else:
        axes.text(0.5, 0.5, "no probe: give data.probe", transform=axes.transAxes, ha="center", color="0.4")


def _plot_costs(axes: Axes, results: dict[str, Any], names: list[str]) -> None:
    """Every cost relative to the first objective's."""
    costs = [("ms a step", "step_milliseconds"), ("peak memory", "peak_memory_bytes"),
             ("parameters", "parameters"), ("FLOPs an image", "flops_per_image")]  # fmt: skip
    costs = [(label, key) for label, key in costs if all(results.get(f"{name}.{key}") for name in names)]
    height = 0.8 / len(names)
    for index, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        ratios = [results[f"{name}.{key}"] / results[f"{names[0]}.{key}"] for _, key in costs]
        places = [row + (index - (len(names) - 1) / 2) * height for row in range(len(costs))]
        bars = axes.barh(places, ratios, height * 0.92, color=colour, label=name)
        axes.bar_label(bars, [f"{ratio:.2f}×" for ratio in ratios], padding=3, fontsize=9)
    axes.set(title=f"Cost, {names[0]} = 1", yticks=range(len(costs)), yticklabels=[label for label, _ in costs])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.tick_params(left=False, bottom=False, labelbottom=False)
    axes.spines[["left", "bottom"]].set_visible(False)

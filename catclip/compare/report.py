"""A comparison for people: the console table and the plot."""

from collections.abc import Callable
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


_SHARE = "{:.3f}".format  # accuracies
ROWS: list[tuple[str, str, Callable[[float], str]]] = [
    ("images a second", "images_per_second", "{:,.0f}".format),
    ("ms a step", "step_milliseconds", "{:,.1f}".format),
    ("peak memory of a step", "peak_memory_bytes", _bytes),
    ("parameters", "parameters", lambda value: f"{value / 1e6:.1f} M"),
    ("GFLOPs an image", "flops_per_image", lambda value: f"{value / 1e9:.2f}"),
    ("held-out mAP", "map", _SHARE),
    ("  of a random ranking", "map_prior", _SHARE),
    ("  precision@1", "precision_at_1", _SHARE),
    ("image→text recall@1", "image_to_text_recall_at_1", _SHARE),
    ("  recall@10", "image_to_text_recall_at_10", _SHARE),
    ("text→image recall@10", "text_to_image_recall_at_10", _SHARE),
    ("probe accuracy", "probe_accuracy", _SHARE),
    ("zero-shot accuracy", "zeroshot_top_1", _SHARE),
    ("caption→picture recall@1", "retrieval_recall_at_1", _SHARE),
    ("caption→picture recall@10", "retrieval_recall_at_10", _SHARE),
]
_BUDGETS: list[tuple[str, str, Callable[[float], str]]] = [  # to the second's best
    ("seconds", "  s to 2nd's best", "{:,.0f}".format),
    ("samples", "  pictures to it", "{:,.0f}".format),
    ("flops", "  TFLOPs to it", lambda value: f"{value / 1e12:,.1f}"),
]


def rows(results: dict[str, Any]) -> list[list[str]]:
    """The figures of `collect` in words: a label, a cell an objective, and where there are several the ratio's.

    A ratio that the seeds do not support is an empty cell.
    """
    names = results["objectives"]
    several = len(names) > 1
    found = []
    for label, key, show in ROWS:
        values = [results.get(f"{name}.{key}") for name in names]
        if any(value is not None for value in values):
            ratio = results.get(f"ratio.{key}")
            cells = ["" if value is None else show(value) for value in values]
            cells = [cell + _around(results, f"{name}.{key}", show) for name, cell in zip(names, cells, strict=True)]
            found.append([label, *cells, *([f"{ratio:.2f}×" if ratio else ""] if several else [])])
            if key in ("probe_accuracy", "zeroshot_top_1", "retrieval_recall_at_10"):
                found += _beside(results, key)
    return found


def _around(results: dict[str, Any], key: str, show: Callable[[float], str]) -> str:
    """The spread over seeds of an accuracy: speeds and sizes have theirs in compare.json."""
    around = results.get(f"{key}.spread")
    return "" if around is None or show is not _SHARE else f" ±{show(around)}"


def _beside(results: dict[str, Any], key: str) -> list[list[str]]:
    """What belongs to an accuracy: where it began, and what it takes to reach the second's best."""
    names = results["objectives"]
    several, found = len(names) > 1, []
    starts = [results.get(f"{name}.curve_{key}", [None])[0] for name in names]
    if all(start is not None for start in starts):
        found.append(["  untrained", *(f"{start:.3f}" for start in starts), *([""] if several else [])])
    for budget, label, show in _BUDGETS:
        spent = [results.get(f"{name}.{budget}_to_{key}") for name in names]
        ratio, bound = (results.get(f"{kind}.{budget}_to_{key}") for kind in ("ratio", "at_least"))
        if several and (ratio or bound or any(value is not None for value in spent)):
            cells = ["" if value is None else show(value) for value in spent]
            found.append([label, *cells, f"{ratio:.2f}×" if ratio else f"≥ {bound:.2f}×" if bound else ""])
    return found


def table(results: dict[str, Any]) -> Table:
    """The `rows`; at most 80 wide for three objectives."""
    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    grid.add_column("", no_wrap=True)
    for name in results["objectives"]:
        grid.add_column(name, justify="right", overflow="fold")
    if len(results["objectives"]) > 1:
        grid.add_column("2nd ÷ 1st", justify="right")
    for row in rows(results):
        grid.add_row(*row)
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
            if around := results.get(f"{name}.curve_probe_accuracy.spread"):
                low, high = ([m + sign * a for m, a in zip(y, around, strict=True)] for sign in (-1, 1))
                axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
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
        axes.bar_label(bars, [_told(results, key, index) for _, key in costs], padding=3, fontsize=9)
    axes.set(title=f"Cost, {names[0]} = 1", yticks=range(len(costs)), yticklabels=[label for label, _ in costs])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.tick_params(left=False, bottom=False, labelbottom=False)
    axes.spines[["left", "bottom"]].set_visible(False)


def _told(results: dict[str, Any], key: str, index: int) -> str:
    """What a bar says: the ratio where it may be printed, else the figure."""
    if index == 1 and (ratio := results.get(f"ratio.{key}")):
        return f"{ratio:.2f}×"
    show = next(show for _, name, show in ROWS if name == key)
    return show(results[f"{results['objectives'][index]}.{key}"])

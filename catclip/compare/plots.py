"""The plots of a comparison: each drawn once, as a PNG for slides and as SVG for the page."""

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # files only: no window, no display needed

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from catclip.compare.report import COLOURS
from catclip.compare.results import LEARNED
from catclip.compare.stages import STAGES

PARTS = ("data", *STAGES, "communication")
Draw = Callable[[Axes, dict[str, Any]], None]

_BUDGETS = {"seconds": ("seconds of training", 1.0), "samples": ("pictures seen", 1.0), "flops": ("TFLOPs", 1e-12)}
# Inks of the drawing; the page has its own in their place, for light and for dark.
_INK, _GRID = "#1c2126", "#d5dae0"
_STYLE: Any = {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none",
    "svg.hashsalt": "catclip", "text.color": _INK, "axes.labelcolor": _INK, "axes.edgecolor": _INK,
    "xtick.color": _INK, "ytick.color": _INK, "grid.color": _GRID, "axes.titlesize": 9,
}  # fmt: skip
_PART_COLOURS = [plt.get_cmap("tab20")(index) for index in range(20)]


def drawn(results: dict[str, Any]) -> dict[str, Figure]:
    """A figure for everything that was measured, by a short name, with `results` as `compare.json` has them."""
    return {name: _figure(draw, results) for name, draw in _plots(results).items()}


def _plots(results: dict[str, Any]) -> dict[str, Draw]:
    names = results["objectives"]
    plots: dict[str, Draw] = {}
    for figure in LEARNED:
        for budget in _BUDGETS:
            if any(f"{name}.curve_{figure}_{budget}" in results for name in names):
                plots[f"{figure}-{budget}".replace("_", "-")] = _accuracy(figure, budget)
    if any(f"step.{name}.{part}.milliseconds" in results for name in names for part in PARTS):
        plots["step-time"] = _step_time
    if _memory_of(results):
        plots["memory"] = _memory
    if "scaling.gpus" in results:
        plots["scaling"] = _scaling
    return plots


def _figure(draw: Draw, results: dict[str, Any]) -> Figure:
    with plt.rc_context(_STYLE):
        figure = Figure(figsize=(5.2, 3.5), layout="constrained")
        draw(figure.subplots(), results)
    return figure


def _accuracy(figure: str, budget: str) -> Draw:
    label, scale = _BUDGETS[budget]

    def draw(axes: Axes, results: dict[str, Any]) -> None:
        for name, colour in zip(results["objectives"], COLOURS, strict=False):
            key = f"{name}.curve_{figure}"
            if f"{key}_{budget}" not in results:
                continue
            x, y = [scale * value for value in results[f"{key}_{budget}"]], results[key]
            axes.plot(x, y, "o-", color=colour, markersize=3, label=name)
            if around := results.get(f"{key}.spread"):
                low, high = ([m + sign * a for m, a in zip(y, around, strict=True)] for sign in (-1, 1))
                axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.set(xlabel=label, ylabel=LEARNED[figure])
        axes.set_xlim(left=0)
        axes.grid(alpha=0.6)
        axes.legend(frameon=False, loc="best")

    return draw


def _step_time(axes: Axes, results: dict[str, Any]) -> None:
    names = results["objectives"]
    left = [0.0] * len(names)
    for index, part in enumerate(PARTS):
        widths = [results.get(f"step.{name}.{part}.milliseconds", 0.0) for name in names]
        if any(widths):
            label = part.replace("_", " ")
            axes.barh(names, widths, left=left, height=0.6, label=label, color=_PART_COLOURS[index % 20])
            left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set(xlabel=f"ms a step of {results.get('step.batch', '?')} pictures, stage by stage")
    axes.tick_params(left=False)
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1), fontsize=8)


def _memory_of(results: dict[str, Any]) -> dict[str, float]:
    found = {}
    for name in results["objectives"]:
        value = results.get(f"step.{name}.peak_memory_bytes", results.get(f"{name}.peak_memory_bytes"))
        if value:
            found[name] = value / 2**30
    return found


def _memory(axes: Axes, results: dict[str, Any]) -> None:
    found = _memory_of(results)
    bars = axes.bar(list(found), list(found.values()), width=0.55, color=COLOURS[: len(found)])
    axes.bar_label(bars, [f"{value:.2f} GiB" for value in found.values()], padding=2)
    axes.set(ylabel="GiB, peak of a step")
    axes.margins(y=0.15)


def _scaling(axes: Axes, results: dict[str, Any]) -> None:
    gpus = results["scaling.gpus"]
    for name, colour in zip(results["objectives"], COLOURS, strict=False):
        rates = [results[f"scaling.{name}.predicted_images_per_second_at_{count}"] for count in gpus]
        axes.plot(gpus, rates, "o--", color=colour, markersize=3, label=f"{name}, predicted")
    axes.set(xscale="log", yscale="log", xlabel="ranks", ylabel="images a second, PREDICTED", xticks=gpus)
    axes.set_xticklabels([f"{count:,}" for count in gpus])
    axes.minorticks_off()
    axes.grid(alpha=0.6)
    axes.legend(frameon=False, loc="best")


# ---- files ----------------------------------------------------------------------------------------------------------


def write_pngs(figures: dict[str, Figure], folder: Path) -> list[Path]:
    """Write each figure as `compare-<name>.png`."""
    paths = [folder / f"compare-{name}.png" for name in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        figure.savefig(path, dpi=200)
    return paths


def to_svg(figure: Figure, title: str) -> str:
    """An `<svg>` element for a page: text stays text, and colours are the page's `--ink`, `--grid` and `--series-N`."""
    out = io.StringIO()
    with plt.rc_context(_STYLE):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'^<svg ([^>]*?)width="[^"]*pt" height="[^"]*pt"', r"<svg \1", svg)
    svg = re.sub(r'^<svg ([^>]*?)height="[^"]*pt"([^>]*?)width="[^"]*pt"', r"<svg \1\2", svg)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
    for colour, name in [(_INK, "ink"), (_GRID, "grid"), *_series(COLOURS)]:
        svg = svg.replace(colour, f"var(--{name})")
    return svg


def _series(colours: Sequence[str]) -> list[tuple[str, str]]:
    return [(colour, f"series-{index}") for index, colour in enumerate(colours)]

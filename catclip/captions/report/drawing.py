"""A vocabulary and its corpus as one picture of four panels."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from catclip.captions.counting.corpus import CorpusCounts
from catclip.captions.prune import MIN_DEPTH
from catclip.captions.report.coverage import Coverage, coverage_of, coverages, pruning_of, threshold_grid
from catclip.captions.report.mark import GENERATOR
from catclip.captions.vocabulary import Vocabulary
from catclip.files import write_atomically

DROP, ROLLUP, CHOSEN = "#0072b2", "#d55e00", "#1a1a1a"
_COLOURS = {"drop": DROP, "rollup": ROLLUP}
_GREY = "#757575"
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#b0b0b0",
    "axes.labelcolor": "#404040",
    "xtick.color": "#606060",
    "ytick.color": "#606060",
    "grid.color": "#e6e6e6",
    "axes.grid": True,
    "axes.axisbelow": True,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.92,
}
_DASHES = (0, (4, 2.5))
_MOST_LABELS = 12  # shown one by one; more are put together


def draw(corpus: CorpusCounts, vocabulary: Vocabulary, taus: Sequence[int], path: Path) -> None:
    """Write `make_figure` as a PNG; the same vocabulary gives the same bytes."""
    picture = io.BytesIO()
    make_figure(corpus, vocabulary, taus).savefig(picture, dpi=130, metadata={"Software": GENERATOR})
    write_atomically(path, picture.getvalue())


def make_figure(corpus: CorpusCounts, vocabulary: Vocabulary, taus: Sequence[int]) -> Figure:
    """Draw counts by rank, the vocabulary's size and coverage by threshold, and labels a caption.

    Args:
        corpus: what was counted.
        vocabulary: what was made of it.
        taus: thresholds to mark beside the vocabulary's own.
    """
    own = coverage_of(corpus, vocabulary)
    how, min_depth, exclude = pruning_of(vocabulary)
    grid = sorted({*threshold_grid(int(corpus.occurrences.max())), own.tau})
    curves = {each: coverages(corpus, each, grid, min_depth, exclude) for each in MIN_DEPTH}
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(11, 7.6), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
        panels = figure.subplots(2, 2)
        _draw_ranks(panels[0, 0], corpus, vocabulary, [tau for tau in taus if tau != own.tau], own.tau)
        _draw_sizes(panels[0, 1], curves, own)
        _draw_lengths(panels[1, 0], corpus, vocabulary, how)
        _draw_coverages(panels[1, 1], curves, own)
    return figure


def _draw_ranks(axes: Axes, corpus: CorpusCounts, vocabulary: Vocabulary, taus: Sequence[int], chosen: int) -> None:
    """Counts by rank, thresholds as lines across."""
    counts = np.sort(corpus.occurrences[corpus.occurrences > 0])[::-1]
    axes.loglog(np.arange(1, len(counts) + 1), counts, color=DROP, linewidth=2, label="as captions name them")
    if vocabulary.rollup:
        rolled = np.sort(vocabulary.counts)[::-1]
        axes.loglog(np.arange(1, len(rolled) + 1), rolled, color=ROLLUP, linewidth=1.5, label="rolled up")
        axes.legend(loc="upper right")
    axes.set(title="Counts by rank", xlabel="rank of the synset", ylabel="occurrences", ylim=(0.8, None))
    labelled: list[int] = []
    for tau in (chosen, *(tau for tau in taus if tau < counts[0])):
        colour, weight = (CHOSEN, "bold") if tau == chosen else (_GREY, "normal")
        axes.axhline(tau, color=colour, linewidth=1.1 if tau == chosen else 0.8, linestyle=_DASHES, zorder=1)
        if _has_room(axes, tau, labelled):
            labelled.append(tau)
            axes.annotate(
                f"τ = {tau:,}" if tau == chosen else f"{tau:,}", (0.012, tau), xycoords=("axes fraction", "data"),
                xytext=(0, 3), textcoords="offset points", color=colour, fontsize=8.5, weight=weight, zorder=5,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.9, "pad": 0.8},  # a curve may pass there
            )  # fmt: skip
    _plain(axes, "x", "y")


def _has_room(axes: Axes, tau: int, labelled: list[int]) -> bool:
    """Whether a line's label keeps clear of those of other lines."""
    low, high = np.log(axes.get_ylim())
    return all(abs(np.log(tau / other)) > 0.045 * (high - low) for other in labelled)


def _draw_sizes(axes: Axes, curves: dict[str, list[Coverage]], own: Coverage) -> None:
    for each, curve in curves.items():
        axes.loglog(
            [at.tau for at in curve], [at.labels for at in curve], color=_COLOURS[each], label=each, linewidth=2
        )
    _mark(axes, own.tau, own.labels, f"{own.labels:,} labels")
    axes.set(title="Size of the vocabulary", xlabel="τ", ylabel="labels", ylim=(0.8, None))
    axes.legend(loc="lower left")
    _plain(axes, "x", "y")


def _draw_lengths(axes: Axes, corpus: CorpusCounts, vocabulary: Vocabulary, how: str) -> None:
    """Shares of captions by their number of different labels: of all synsets, and of the vocabulary's."""
    found = corpus.sample.labels_a_caption(np.arange(len(corpus.synsets), dtype=np.int32))
    kept = corpus.sample.labels_a_caption(vocabulary.lookup(corpus.synsets))
    for shares, colour, name, shift in (
        (found, "#c9c9c9", "before", -0.2),
        (kept, _COLOURS[how], "after", 0.2),
    ):
        mean = float(shares @ np.arange(len(shares)))
        heights = _put_together(shares)
        axes.bar(
            np.arange(len(heights)) + shift, heights, 0.4, color=colour, label=f"{name} pruning: {mean:.2f} a caption"
        )
    numbers = range(_MOST_LABELS + 1)
    axes.set_xticks(numbers, [*map(str, numbers[:-1]), f"{_MOST_LABELS}+"])
    axes.set(title="Labels a caption", xlabel="different labels", ylabel="captions")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(visible=False, axis="x")
    axes.legend(loc="best")


def _put_together(shares: np.ndarray) -> np.ndarray:
    padded = np.zeros(max(len(shares), _MOST_LABELS + 1))
    padded[: len(shares)] = shares
    return np.append(padded[:_MOST_LABELS], padded[_MOST_LABELS:].sum())


def _draw_coverages(axes: Axes, curves: dict[str, list[Coverage]], own: Coverage) -> None:
    for each, curve in curves.items():
        taus = [at.tau for at in curve]
        axes.semilogx(
            taus,
            [at.captions for at in curve],
            color=_COLOURS[each],
            linewidth=2,
            label=f"captions with a label, {each}",
        )
        axes.semilogx(
            taus, [at.nouns for at in curve], color=_COLOURS[each], linewidth=1.4, linestyle=_DASHES,
            label=f"nouns that are labels, {each}",
        )  # fmt: skip
    _mark(axes, own.tau, own.captions, f"{own.captions:.2%} of the captions")
    axes.set(title="Coverage", xlabel="τ", ylabel="share of the corpus", ylim=(0, 1.03))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)  # the curves may go anywhere
    _plain(axes, "x")


def _mark(axes: Axes, x: float, y: float, text: str) -> None:
    """Mark the vocabulary's place on a curve, and say above the panel what it is: nothing there can be hidden."""
    axes.axvline(x, color=CHOSEN, linewidth=1.1, linestyle=_DASHES, zorder=1)
    axes.plot([x], [y], "o", color=CHOSEN, markersize=6, zorder=4)
    axes.set_title(f"τ = {x:,}: {text}", loc="right", fontsize=10, fontweight="normal", color="#404040")


def _plain(axes: Axes, *directions: str) -> None:
    """Write 1k rather than 10³."""
    for direction in directions:
        axis = getattr(axes, f"{direction}axis")
        axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        axis.set_minor_formatter(NullFormatter())


def _short(value: float) -> str:
    for power, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= power:
            return f"{value / power:g}{letter}"
    return f"{value:g}"

"""A comparison as one HTML page: all it needs is inside, and it asks the network for nothing."""

import html
import re
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from catclip.compare.plots import to_svg
from catclip.compare.report import rows
from catclip.compare.results import LEARNED
from catclip.compare.sections_report import section_grids
from catclip.compare.words import sentences
from catclip.files import write_atomically

_PARTS = Path(__file__).parent / "page"  # the page's template and style
_CAPTIONS = {
    "probe-accuracy-seconds": "Linear probe accuracy against time; evaluation is not on the clock.",
    "zeroshot-top-1-seconds": "Zero-shot accuracy against time: by text or, without a text tower, by labels.",
    "retrieval-recall-at-10-seconds": "Captions whose picture is among the ten that fit best, against time: by text "
    "or, without a text tower, by labels.",
    "map-seconds": "Mean average precision of the labels of held-out captions, against time.",
    **dict.fromkeys((f"{name.replace('_', '-')}-samples" for name in LEARNED), "The same against pictures seen."),
    **dict.fromkeys(
        (f"{name.replace('_', '-')}-flops" for name in LEARNED),
        "The same against the model's floating-point operations.",
    ),
    "step-time": "One step, each stage waited for: medians.",
    "memory": "What training takes at its peak, beside an empty process.",
    "scaling": "Prediction, not measured: t(N) = t(1) + sent(N) / bandwidth, where t(1) is a step of one rank here and "
    "sent(N) what a ring of N sends, 2 (N - 1) / N · (G + E · N) + (N - 1) · F bytes, of gradients G, of the features "
    "F that are gathered and of their gradients E · N, all measured. Nothing is taken to overlap.",
}
_BANDS = " Bands: standard deviation over seeds."


def write_page(results: dict[str, Any], environment: dict[str, Any], figures: dict[str, Figure], path: Path) -> None:
    """Write the page of a comparison.

    Args:
        results: as `compare.json` has them.
        environment: what `catclip.environment.environment` said of the machine.
        figures: as `plots.drawn` made them.
        path: where to write.
    """
    parts = {
        "title": html.escape(" beside ".join(results["objectives"])),
        "facts": html.escape(_facts(results, environment)),
        "style": (_PARTS / "page.css").read_text(encoding="utf-8"),
        "words": "\n    ".join(f"<p>{html.escape(each)}</p>" for each in sentences(results)),
        "plots": "\n    ".join(_plot(name, figure, results) for name, figure in figures.items()),
        "tables": _tables(results),
    }
    template = (_PARTS / "page.html").read_text(encoding="utf-8")
    # In one pass: what is filled in may look like a place to fill in.
    write_atomically(path, re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template))


def _facts(results: dict[str, Any], environment: dict[str, Any]) -> str:
    seeds = len(results.get("seeds", []))  # none where nothing was trained
    where = environment.get("gpu") or f"{environment.get('cpu')}, {environment.get('cores')} cores"
    torch = environment.get("versions", {}).get("torch")
    facts = [where, f"torch {torch}", f"torch threads: {environment.get('torch_threads')}"]
    facts += [f"commit {str(environment['commit'])[:9]}"] if environment.get("commit") else []
    facts += [f"{seeds} seed{'s' if seeds != 1 else ''}"] if seeds else []
    return " · ".join(facts)


def _plot(name: str, figure: Figure, results: dict[str, Any]) -> str:
    caption = _CAPTIONS[name]
    if name.endswith(("-seconds", "-samples", "-flops")) and len(results.get("seeds", [])) > 1:
        caption += _BANDS
    return f"<figure>{to_svg(figure, html.escape(caption))}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _tables(results: dict[str, Any]) -> str:
    """The figures of training, and those of every other section under its title."""
    head = ["", *results["objectives"], *(["2nd ÷ 1st"] if len(results["objectives"]) > 1 else [])]
    learned = rows(results)
    tables = [_table(head, learned)] if learned else []
    tables += [f"<h3>{html.escape(grid.title)}</h3>{_table(grid.head, grid.rows)}" for grid in section_grids(results)]
    return "\n    ".join(tables)


def _table(head: list[str], lines: list[list[str]]) -> str:
    text = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in lines]
    return f'<div class="wide"><table><tr>{text}</tr>{"".join(body)}</table></div>'

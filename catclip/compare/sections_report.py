"""What a comparison's measurements of steps, batches, ranks and sensitivities say, as tables."""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from catclip.compare.parts import PARTS
from catclip.compare.peers import PEERS
from catclip.compare.ratios import ratio_text

_NAMES = {
    "data": "data (one process)",
    "to_device": "to the device",
    "image_tower": "image tower",
    "text_tower": "text tower",
    "average": "averaged weights",
}


@dataclass(frozen=True)
class Grid:
    """A table, for whatever shows it.

    Attributes:
        head: of its columns; the first is that of the rows' names.
    """

    title: str
    head: list[str]
    rows: list[list[str]]


def section_grids(results: dict[str, Any]) -> list[Grid]:
    """Those of the sections that were measured."""
    names = results["objectives"]
    grids = []
    if "step.batch" in results:
        grids += [_parts(results, names), _ratios(results)]
    if "batch.memory_bytes" in results:
        grids.append(_batches(results, names))
    if "scaling.gpus" in results:
        grids.append(_scaling(results, names))
    return grids + [
        _sensitivities(results, name) for name in names if f"sensitivity.{name}.peak_memory_bytes" in results
    ]


def to_table(grid: Grid) -> Table:
    """For the console: at most 80 wide for two objectives."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", title=grid.title, title_justify="left")
    table.add_column(grid.head[0], no_wrap=True)
    for column in grid.head[1:]:
        table.add_column(column, justify="right", overflow="fold")
    for row in grid.rows:
        table.add_row(*row)
    return table


def _parts(results: dict[str, Any], names: list[str]) -> Grid:
    rows = []
    for part in PARTS:
        cells = [_part(results, f"step.{name}.{part}") for name in names]
        if any(cells):
            rows.append([_NAMES.get(part, part), *cells])
    shown: list[tuple[str, str, Callable[[float], str]]] = [
        ("step", "milliseconds", "{:,.1f} ms".format),
        ("spread", "milliseconds.spread", "{:.0%}".format),
        ("images a second", "images_per_second", "{:,.0f}".format),
        ("peak memory", "peak_memory_bytes", _gib),
        ("GFLOPs a second", "flops_per_second", lambda value: f"{value / 1e9:,.1f}"),
        ("MFU", "mfu", "{:.0%}".format),
    ]
    for label, key, show in shown:
        if all(f"step.{name}.{key}" in results for name in names):
            rows.append([label, *(show(results[f"step.{name}.{key}"]) for name in names)])
    title = f"A step of {results['step.batch']:,} pictures, {results['step.precision']}: ms (GFLOPs, MB moved)"
    return Grid(title, ["", *names], rows)


def _part(results: dict[str, Any], key: str) -> str:
    """Empty where an objective has no such part."""
    took, flops, moved = (results[f"{key}.{unit}"] for unit in ("milliseconds", "flops", "bytes"))
    if not (took or flops or moved):
        return ""
    return f"{took:,.1f} ({_short(flops / 1e9)}, {_short(moved / 1e6)})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ratios(results: dict[str, Any]) -> Grid:
    """Of each side's step to the one that it is compared with; no number where the rounds do not support it."""
    rows = []
    names = results["objectives"]
    for above, below in itertools.product([*names[1:], *PEERS], names):
        base = f"step.ratio.{above}_to_{below}"
        if f"{base}.milliseconds.verdict" not in results:
            continue
        flops = results.get(f"{base}.flops")
        name = f"{PEERS.get(above, above)} ÷ {below}"
        memory = f"{base}.peak_memory_bytes"
        rows.append([
            name, ratio_text(results, f"{base}.milliseconds"),
            ratio_text(results, memory) if f"{memory}.verdict" in results else "", f"{flops:.2f}×" if flops else "",
        ])  # fmt: skip
    if "labeller.default.captions_per_second" in results:
        told = ratio_text(results, "labeller.ratio.default_to_published")
        rows.append(["captions/s: default ÷ published", told, "", ""])
    elif "labeller.note" in results:
        rows.append(["captions/s: default ÷ published", "not measured", "", ""])
    return Grid("Steps side by side", ["", "time", "memory", "FLOPs"], rows)


def _batches(results: dict[str, Any], names: list[str]) -> Grid:
    rows = [
        ["pictures", *(f"{results[f'batch.{name}.largest']:,}" for name in names)],
        ["limited by", *(results[f"batch.{name}.limited_by"] for name in names)],
        ["images a second", *(f"{results[f'batch.{name}.images_per_second']:,.0f}" for name in names)],
        ["spread", *(f"{results[f'batch.{name}.images_per_second.spread']:.0%}" for name in names)],
    ]
    if len(names) > 1:
        ratios = (ratio_text(results, f"batch.ratio.{name}_to_{names[0]}.images_per_second") for name in names[1:])
        rows.append([f"images a second ÷ {names[0]}'s", "", *ratios])
    return Grid(f"The largest batch in {_gib(results['batch.memory_bytes'])}", ["", *names], rows)


def _scaling(results: dict[str, Any], names: list[str]) -> Grid:
    """What ranks sent and took, measured; and what the model of `catclip.compare.scaling` makes of it."""

    def row(label: str, key: str, show: Callable[[float], str]) -> list[str]:
        return [label, *(show(results[f"scaling.{name}.{key}"]) for name in names)]

    rows = []
    for count in results["scaling.measured_ranks"]:
        ranks = f"{count} rank{'s' if count > 1 else ''}"
        rows.append(row(f"ms a step, {ranks}", f"seconds_at_{count}", _milliseconds))
        if f"scaling.{names[0]}.communication_seconds_at_{count}" in results:
            rows.append(["  of it communication", *(_communication(results, name, count) for name in names)])
        if count > 1:
            rows.append(row("  MiB sent by a rank", f"bytes_per_step_at_{count}", lambda sent: f"{sent / 2**20:,.2f}"))
        for what, key in (("communication", "communication"), ("MiB", "bytes")):
            if all(f"scaling.{name}.{key}_error_at_{count}" in results for name in names):
                rows.append(row(f"  the model's {what} is off by", f"{key}_error_at_{count}", "{:+.0%}".format))
    for count in results["scaling.gpus"]:
        rows.append(row(f"PREDICTED images/s, {count:,}", f"predicted_images_per_second_at_{count}", "{:,.0f}".format))
        rows.append(row("  PREDICTED hours/10⁹", f"predicted_gpu_hours_per_billion_at_{count}", "{:,.0f}".format))
    rate = f"{results['scaling.bandwidth'] / 1e9:g} GB/s"
    title = f"Ranks of {results['scaling.batch_per_rank']:,} pictures each; predicted at {rate}, hours of all ranks"
    return Grid(title, ["", *names], rows)


def _communication(results: dict[str, Any], name: str, count: int) -> str:
    """The median, and from the least to the most that a round saw: often less than the noise."""
    key = f"scaling.{name}.communication_seconds_at_{count}"
    median, low, high = (_milliseconds(results[f"{key}{end}"]) for end in ("", ".low", ".high"))
    return f"{median} ({low} to {high})"


def _sensitivities(results: dict[str, Any], name: str) -> Grid:
    base = f"sensitivity.{name}"
    found = (re.fullmatch(rf"({re.escape(base)}(?:\..+)?)\.(?:milliseconds|peak_memory_bytes)", key) for key in results)
    rows = []
    for key in dict.fromkeys(each[1] for each in found if each):
        time, ratio, memory = f"{key}.milliseconds", f"{key}.milliseconds.ratio", f"{key}.peak_memory_bytes"
        rows.append([
            key.removeprefix(base).removeprefix(".") or "as configured",
            f"{results[time]:,.1f}" if time in results else "",
            ratio_text(results, ratio) if f"{ratio}.verdict" in results else "",
            _gib(results[memory]) if memory in results else "",
        ])  # fmt: skip
    for key in results:
        if key.startswith(f"{base}.") and key.endswith(".note"):
            rows.append([key.removeprefix(f"{base}.").removesuffix(".note"), "not measured", "", ""])
    return Grid(f"Sensitivities of {name}", ["", "ms a step", "÷ configured", "peak memory"], rows)


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.1f}"


def _gib(value: float) -> str:
    return f"{value / 2**30:.2f} GiB"

"""What a comparison's measurements of steps, batches and sensitivities say, as tables for the console."""

import re
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


def section_tables(results: dict[str, Any], names: list[str]) -> list[Table]:
    """The tables of those sections that were measured, each at most 80 wide for two objectives."""
    tables = []
    if "step.batch" in results:
        tables += [_parts(results, names), _ratios(results, names)]
    if "batch.memory_bytes" in results:
        tables.append(_batches(results, names))
    tables += [_sensitivities(results, name) for name in names if f"sensitivity.{name}.milliseconds" in results]
    return tables


def _grid(title: str, *columns: str) -> Table:
    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", title=title, title_justify="left")
    grid.add_column("", no_wrap=True)
    for column in columns:
        grid.add_column(column, justify="right", overflow="fold")
    return grid


def _parts(results: dict[str, Any], names: list[str]) -> Table:
    title = f"A step of {results['step.batch']:,} pictures, {results['step.precision']}: ms (GFLOPs, MB moved)"
    grid = _grid(title, *names)
    for part in PARTS:
        cells = [_part(results, f"step.{name}.{part}") for name in names]
        if any(cells):
            grid.add_row(_NAMES.get(part, part), *cells)
    grid.add_row("step", *(f"{results[f'step.{name}.milliseconds']:,.1f} ms" for name in names))
    grid.add_row("spread", *(f"{results[f'step.{name}.milliseconds.spread']:.0%}" for name in names))
    grid.add_row("images a second", *(f"{results[f'step.{name}.images_per_second']:,.0f}" for name in names))
    grid.add_row("peak memory", *(_gib(results[f"step.{name}.peak_memory_bytes"]) for name in names))
    grid.add_row("GFLOPs a second", *(f"{results[f'step.{name}.flops_per_second'] / 1e9:,.1f}" for name in names))
    if all(f"step.{name}.mfu" in results for name in names):
        grid.add_row("MFU", *(f"{results[f'step.{name}.mfu']:.0%}" for name in names))
    return grid


def _part(results: dict[str, Any], key: str) -> str:
    """Empty where an objective has no such part."""
    took, flops, moved = (results[f"{key}.{unit}"] for unit in ("milliseconds", "flops", "bytes"))
    if not (took or flops or moved):
        return ""
    return f"{took:,.1f} ({flops / 1e9:,.3g}, {moved / 1e6:,.0f})"


def _ratios(results: dict[str, Any], names: list[str]) -> Table:
    """Of each side's step to the one that it is compared with; no number where the rounds do not support it."""
    grid = _grid("Steps side by side", "time", "memory", "FLOPs")
    for key in results:
        found = re.fullmatch(r"step\.ratio\.(\w+)_to_(\w+)\.milliseconds\.verdict", key)
        if not found:
            continue
        base = key.removesuffix(".milliseconds.verdict")
        flops = results.get(f"{base}.flops")
        grid.add_row(
            f"{PEERS.get(found[1], found[1])} ÷ {found[2]}",
            ratio_text(results, f"{base}.milliseconds"),
            ratio_text(results, f"{base}.peak_memory_bytes") if f"{base}.peak_memory_bytes.verdict" in results else "",
            f"{flops:.2f}×" if flops else "",
        )
    if "labeller.default.captions_per_second" in results:
        grid.add_row("captions/s: default ÷ published", ratio_text(results, "labeller.ratio.default_to_published"))
    return grid


def _batches(results: dict[str, Any], names: list[str]) -> Table:
    grid = _grid(f"The largest batch in {_gib(results['batch.memory_bytes'])}", *names)
    grid.add_row("pictures", *(f"{results[f'batch.{name}.largest']:,}" for name in names))
    grid.add_row("limited by", *(results[f"batch.{name}.limited_by"] for name in names))
    grid.add_row("images a second", *(f"{results[f'batch.{name}.images_per_second']:,.0f}" for name in names))
    grid.add_row("spread", *(f"{results[f'batch.{name}.images_per_second.spread']:.0%}" for name in names))
    if len(names) > 1:
        ratios = (ratio_text(results, f"batch.ratio.{name}_to_{names[0]}.images_per_second") for name in names[1:])
        grid.add_row(f"images a second ÷ {names[0]}'s", "", *ratios)
    return grid


def _sensitivities(results: dict[str, Any], name: str) -> Table:
    base = f"sensitivity.{name}"
    grid = _grid(f"Sensitivities of {name}", "ms a step", "÷ configured", "peak memory")
    keys = [
        key.removesuffix(".milliseconds")
        for key in results
        if re.fullmatch(rf"{re.escape(base)}(\..+)?\.milliseconds", key)
    ]
    for key in keys:
        ratio = f"{key}.milliseconds.ratio"
        grid.add_row(
            key.removeprefix(base).removeprefix(".") or "as configured",
            f"{results[f'{key}.milliseconds']:,.1f}",
            ratio_text(results, ratio) if f"{ratio}.verdict" in results else "",
            _gib(results[f"{key}.peak_memory_bytes"]),
        )
    for key in results:
        if key.startswith(f"{base}.") and key.endswith(".note"):
            grid.add_row(key.removeprefix(f"{base}.").removesuffix(".note"), "not measured")
    return grid


def _gib(value: float) -> str:
    return f"{value / 2**30:.2f} GiB"

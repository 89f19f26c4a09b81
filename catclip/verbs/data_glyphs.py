"""`catclip data glyphs`: draw the embedded data set."""

from __future__ import annotations

import json
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from catclip.data.glyphs import GlyphSettings, is_made, make_glyphs
from catclip.data.glyphs.objects import KINDS

if TYPE_CHECKING:
    from catclip.config import GlyphsConfig


def run(config: GlyphsConfig) -> None:
    """Draw the data set that `config` describes and say what was written."""
    console = Console(highlight=False, soft_wrap=True)
    out = Path(config.out)
    settings = GlyphSettings(config.train, config.val, config.size, config.seed, config.shard_size)
    if is_made(out, settings):
        console.print(f"{out} is there already, with the same settings. Nothing to do.", markup=False)
        return
    start = time.perf_counter()
    _draw_with_progress(console, config, settings)
    seconds = time.perf_counter() - start
    console.print(_report(out, settings, seconds), markup=False)


def _draw_with_progress(console: Console, config: GlyphsConfig, settings: GlyphSettings) -> None:
    def make(progress: Progress | None) -> None:
        bar = progress.add_task("Drawing", total=settings.pictures) if progress else None
        make_glyphs(
            Path(config.out),
            settings.train,
            settings.val,
            settings.size,
            settings.seed,
            settings.shard_size,
            config.workers,
            (lambda count: progress.advance(bar, count)) if progress and bar is not None else None,
        )

    if not console.is_terminal:
        console.print(f"Drawing {settings.pictures:,} pictures …")
        make(None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        make(progress)


def _report(out: Path, settings: GlyphSettings, seconds: float) -> str:
    with tarfile.open(out / "train-00000.tar") as shard:
        member = shard.extractfile(next(name for name in shard.getnames() if name.endswith(".json")))
        assert member is not None
        first = json.load(member)
    labelled = settings.pictures - settings.train - settings.val
    return (
        f"Wrote {settings.train:,} training and {settings.val:,} held-out pictures of {settings.size}×{settings.size} "
        f"with captions\nand {labelled:,} labelled ones of {len(KINDS)} kinds, in {seconds:.1f} s:\n"
        f"  {out}/train-*.tar, {out}/val-*.tar, {out}/probe/\n"
        f'The first is captioned "{first["caption"]}"; it shows: {_objects(first)}.'
    )


def _objects(sample: dict) -> str:
    return ", ".join(f"{placed['colour']} {placed['name'].replace('_', ' ')}" for placed in sample["objects"])

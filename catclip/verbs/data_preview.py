"""`catclip data preview`: the first training pictures as the model sees them, with their captions and labels."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from catclip.captions.sources import describe
from catclip.data.preview import preview
from catclip.data.sheet import contact_sheet, save
from catclip.errors import UserError
from catclip.verbs.limits import check_at_least

if TYPE_CHECKING:
    from catclip.config import DataPreviewConfig


def run(config: DataPreviewConfig) -> None:
    """Draw what `config` describes, and say where it is."""
    check_at_least({"size": (config.size, 1), "pictures": (config.pictures, 1), "seed": (config.seed, 0)})
    console = Console(highlight=False, markup=False)
    out = Path(config.out or Path("runs") / "data_preview" / time.strftime("%Y%m%d-%H%M%S.png"))
    if out.suffix.lower() != ".png":
        raise UserError(f"out={out}: give a file name that ends in .png.")
    tiles, side, skipped = preview(config.data, config.size, config.seed, config.pictures)
    save(contact_sheet(describe(config.data.sources), _about(config, len(tiles), side), tiles, side), out)
    if skipped:
        console.print(skipped)
    console.print(f"Drew the first {len(tiles):,} training pictures: {out}", soft_wrap=True)


def _about(config: DataPreviewConfig, pictures: int, side: int) -> str:
    low, high = config.data.crop_scale
    enlarged = f", enlarged {side // config.size} times" if side > config.size else ""
    flipped = ", half of them mirrored" if config.data.flip else ""
    return (
        f"The first {pictures:,} training pictures with seed {config.seed}, as the model sees them: "
        f"{config.size} × {config.size} pixels{enlarged}, crops of {low:g} to {high:g} of the area{flipped}"
    )

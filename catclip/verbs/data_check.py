"""`catclip data check`: reads every sample of some shards, and says what is good and what is bad in them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal

from catclip.captions import Vocabulary
from catclip.captions.sources import describe
from catclip.data.checking import Checked, bad_lines, check, figures, index_shards, spread_samples
from catclip.data.checking.tiles import stored_tile
from catclip.data.sheet import contact_sheet, save
from catclip.files import write_atomically, writing
from catclip.verbs.data_check_tables import caption_table, picture_table
from catclip.verbs.indexing import open_pairs
from catclip.verbs.limits import check_at_least
from catclip.verbs.progress import file_progress

if TYPE_CHECKING:
    from catclip.config import DataCheckConfig

_SIDE = 256  # pixels of a picture on the contact sheet
_LISTED = 8  # damaged shards on the console


def run(config: DataCheckConfig) -> None:
    """Check what `config` names, write what was found, and sum it up."""
    limits = {"size": (config.size, 1), "pictures": (config.pictures, 1), "seed": (config.seed, 0)}
    check_at_least({**limits, "workers": (config.workers, 1)})
    console = Console(highlight=False, markup=False)
    out = Path(config.out or Path("runs") / "data_check" / time.strftime("%Y%m%d-%H%M%S"))
    vocabulary = Vocabulary.load(config.data.vocabulary) if config.data.vocabulary else None
    if config.index:
        number = index_shards(config.data.sources, config.workers)
        console.print(f"Wrote an index beside {_count(number, 'shard')}.")
    pairs = open_pairs(console, config.data.sources, config.data)
    with writing(out):  # now, and not after an hour
        out.mkdir(parents=True, exist_ok=True)
    with file_progress(console, "samples") as progress:
        checked = check(pairs, vocabulary, config.size, config.workers, progress)
    _write(config, checked, out)
    _tell_samples(console, checked)
    if len(checked.tally.bad) < checked.tally.samples:
        console.print()
        console.print(picture_table(checked))
        console.print()
        console.print(caption_table(checked))
    console.print(f"\nIn {out}: contact.png, check.json, bad.tsv", soft_wrap=True)


def _write(config: DataCheckConfig, checked: Checked, out: Path) -> None:
    pairs = checked.pairs
    with writing(out):
        write_atomically(out / "check.json", json.dumps(figures(checked), indent=2) + "\n")
        write_atomically(out / "bad.tsv", bad_lines(checked).encode("utf-8", "surrogateescape"))
    places = spread_samples(pairs, config.pictures, config.seed)
    tiles = [stored_tile(pairs, checked.vocabulary, place, _SIDE) for place in places]
    about = f"{len(tiles):,} of {_count(len(pairs), 'sample')} in {_count(len(pairs.shards), 'shard')}"
    sheet = contact_sheet(describe(config.data.sources), f"{about}, drawn with seed {config.seed}", tiles, _SIDE)
    save(sheet, out / "contact.png")


def _tell_samples(console: Console, checked: Checked) -> None:
    shards, tally = checked.pairs.shards, checked.tally
    console.print(
        f"{_count(tally.samples, 'sample')} in {_count(len(shards), 'shard')} ({decimal(checked.size)}), "
        f"read in {checked.seconds:.1f} s: {tally.samples / checked.seconds:,.0f} samples/s"
    )
    keys = shards.extensions().most_common(12)
    console.print("Keys: " + ", ".join(f"{key} ({number:,})" for key, number in keys))
    damaged = [(number, path) for number, path in enumerate(shards.paths) if path in shards.problems]
    for number, path in damaged[:_LISTED]:
        console.print(f"{path}: {shards.problems[path]}; it gives {_count(int(shards.counts[number]), 'sample')}.")
    if len(damaged) > _LISTED:
        console.print(f"{len(damaged) - _LISTED:,} more shards are damaged: check.json lists them.")
    if not tally.bad:
        console.print("Every sample is good.")
        return
    console.print(f"{_count(len(tally.bad), 'sample')} ({len(tally.bad) / tally.samples:.2%}) cannot be read:")
    for reason, number in tally.reasons.most_common():
        console.print(f"  {number:>9,}  {reason}")


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"

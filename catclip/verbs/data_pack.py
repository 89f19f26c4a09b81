"""`catclip data pack`: a folder of pictures with captions → shards."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal

from catclip.data.packing import Packed, pack, tell_skipped
from catclip.data.packing.pack import SKIPPED
from catclip.errors import STOPPED_EARLY
from catclip.verbs.progress import file_progress
from catclip.verbs.stopping import Stopped, signals_raised

if TYPE_CHECKING:
    from catclip.config import PackConfig


def run(config: PackConfig) -> None:
    """Pack what `config` names, and say what came of it and what to do next."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    start = time.perf_counter()
    with signals_raised():
        try:
            with file_progress(console, "pictures") as progress:
                packed = pack(config, progress)
        except Stopped as stop:
            print(f"Stopped by {stop}. The same command goes on after the last whole shard.", file=sys.stderr)
            sys.exit(STOPPED_EARLY)
    console.print(_report(packed, Path(config.out), time.perf_counter() - start))
    console.print(f"\nGo on with\n{_next_steps(packed, Path(config.out), config.shuffle)}")


def _report(packed: Packed, out: Path, seconds: float) -> str:
    count = len(packed.shards)
    lines = []
    if packed.skipped:
        lines.append(f"{tell_skipped(packed.skipped, packed.entries)} They are listed in {out / SKIPPED}.")
    if packed.kept:
        lines.append(f"{_shards(packed.kept)} had been packed so before.")
    done = "There are" if packed.kept == count else f"Packed in {seconds:.1f} s:"
    lines.append(
        f"{done} {packed.samples:,} samples in {_shards(count)} ({decimal(packed.size)}), "
        f"{packed.captions / packed.samples:.2f} captions a sample: {out / packed.shards[0].shard}{' …' * (count > 1)}"
    )
    return "\n".join(lines)


def _shards(count: int) -> str:
    return f"{count:,} shard{'s' * (count != 1)}"


def _next_steps(packed: Packed, out: Path, shuffled: bool) -> str:
    """Return commands for a shell. Of shuffled pictures the last shard is a fair sample, to hold out."""
    names = [shard.shard for shard in packed.shards]
    held_out = names.pop() if shuffled and len(names) > 1 else None
    keys = ["data.caption_key=json.captions", "data.captions=all"] if packed.captions > packed.samples else []
    sources = f"data.sources={shlex.quote(_pattern(out, names))}"
    vocab = ["catclip vocab", sources, *keys, "out=vocab.tsv"]
    pretrain = ["catclip pretrain", sources, *keys, "data.vocabulary=vocab.tsv"]
    if held_out:
        pretrain.append(f"data.val={shlex.quote(str(out / held_out))}")
    return "\n".join(f"  {' '.join(command)}" for command in (vocab, pretrain))


def _pattern(out: Path, names: list[str]) -> str:
    if len(names) == 1:
        return str(out / names[0])
    return f"{out}/{{{names[0].removesuffix('.tar')}..{names[-1].removesuffix('.tar')}}}.tar"

"""Opening image-caption pairs, with a bar while thousands of shards are indexed."""

from typing import Any

from rich.console import Console

from catclip.config import DataConfig
from catclip.data.pairs import Pairs
from catclip.verbs.progress import file_progress


def open_pairs(console: Console, patterns: Any, config: DataConfig) -> Pairs:
    """`Pairs`; where the console is a terminal, a bar says how far the shards' headers are read.

    Raises:
        UserError: what `Pairs` raises.
    """
    with file_progress(console, "shards indexed") as report:
        return Pairs(patterns, config, lambda shards, size: report(shards, size, None))

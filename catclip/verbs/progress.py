"""A progress bar over the bytes of files, with what is done a second and the time that is left."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

# (things done and bytes read since the last call, bytes of all files, None where that is unknown)
Report = Callable[[int, int, int | None], None]


@contextmanager
def file_progress(console: Console, things: str) -> Iterator[Report]:
    """Show a bar where the console is a terminal, unless it is quiet. Yield what is told of `things` that are done."""
    columns = (
        SpinnerColumn(),
        BarColumn(),
        DownloadColumn(),
        TextColumn(f"{{task.fields[done]:,}} {things}, {{task.fields[rate]:,.0f}}/s"),
        TimeRemainingColumn(),
    )
    shown = console.is_terminal and not console.quiet
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("", total=None, done=0, rate=0.0)
        start = time.perf_counter()
        done = 0

        def report(more: int, size: int, total: int | None) -> None:
            nonlocal done
            done += more
            bar.update(task, advance=size, total=total, done=done, rate=done / (time.perf_counter() - start))

        yield report

"""Where numbers go: metrics.jsonl, which is the source of truth, wandb and TensorBoard if asked for, the console."""

import json
import math
import time
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from catclip.config import TrackConfig
from catclip.errors import UserError, check_choice
from catclip.files import write_atomically, writing

LINE_EVERY = 30.0  # seconds, where the console is no terminal


class Tracker:
    """Appends a run's rows to `metrics.jsonl` and passes them to wandb and TensorBoard.

    Args:
        folder: the run folder.
        config: what to track with.
        name: the run's name on wandb.
        step: the step the run takes up at; rows past it, left by a run that was killed, are removed.
        settings: the run's configuration, for wandb.

    Raises:
        UserError: wandb cannot start, or TensorBoard is not installed; when logging, the disk is full.
    """

    def __init__(self, folder: Path, config: TrackConfig, name: str, step: int, settings: dict[str, Any]):
        check_choice("track.wandb", config.wandb, ["disabled", "offline", "online"])
        path = folder / "metrics.jsonl"
        kept = [row for row in read_metrics(path) if row["step"] <= step] if step else []
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in kept))
        self.path, self.file = path, open(path, "a", buffering=1)  # noqa: SIM115 - open as long as the run
        self.wandb = _start_wandb(folder, config, name, settings) if config.wandb != "disabled" else None
        self.board = _start_tensorboard(folder, step) if config.tensorboard else None

    def log(self, row: dict[str, Any]) -> None:
        """Append a row; it has a `step`. A figure that is not finite is left out: JSON has no such numbers."""
        row = {key: value for key, value in row.items() if not isinstance(value, float) or math.isfinite(value)}
        with writing(self.path):
            self.file.write(json.dumps(row, allow_nan=False) + "\n")
        if self.wandb is not None:
            self.wandb.log({key: value for key, value in row.items() if key != "step"}, step=row["step"])
        if self.board is not None:
            for key, value in row.items():
                if key != "step":
                    self.board.add_scalar(key, value, row["step"])

    def close(self, failed: bool = False) -> None:
        """Close all of it, once; wandb shows whether the run failed."""
        self.file.close()
        if self.board is not None:
            self.board.close()
        if self.wandb is not None:
            self.wandb.finish(exit_code=int(failed))
        self.board = self.wandb = None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a `metrics.jsonl`; a last line that a kill cut short is left out. Empty when there is no file."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _start_wandb(folder: Path, config: TrackConfig, name: str, settings: dict[str, Any]) -> Any:
    import wandb

    try:
        return wandb.init(
            project=config.project, name=name, id=_wandb_id(folder), resume="allow", dir=str(folder),
            mode="online" if config.wandb == "online" else "offline", config=settings, reinit="create_new",
        )  # fmt: skip
    except wandb.Error as error:
        raise UserError(
            f"wandb cannot start: {error} track.wandb=offline needs no network, track.wandb=disabled no wandb."
        ) from error


def check_tensorboard() -> None:
    """Raise `UserError` where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise UserError("track.tensorboard=true needs TensorBoard: pip install 'catclip[tensorboard]'")


def _start_tensorboard(folder: Path, step: int) -> Any:
    check_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    # What a run that was killed had written past its checkpoint is not shown.
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)


def _wandb_id(folder: Path) -> str:
    """One id a run folder, so that a resumed run goes on in the same place."""
    import uuid

    path = folder / "wandb_id"
    if not path.exists():
        path.write_text(uuid.uuid4().hex[:12])
    return path.read_text().strip()


class TrainingConsole:
    """Live progress in a terminal; elsewhere a plain line every so often."""

    def __init__(self, steps: int, start: int, console: Console | None = None, label: str = "training"):
        self.console = console or Console()
        self.steps, self.last_line = steps, time.monotonic()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=18),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("[dim]{task.fields[note]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task = self.progress.add_task(label, total=steps, completed=start, note="")

    def __enter__(self) -> "TrainingConsole":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def advance(self, step: int, note: str | None = None) -> None:
        """Move the bar to `step`, with a note of the latest numbers."""
        self.progress.update(self.task, completed=step)
        if note is not None:
            self.progress.update(self.task, note=note)
        if note is not None and not self.console.is_terminal and time.monotonic() - self.last_line >= LINE_EVERY:
            left = self.progress.tasks[0].time_remaining
            eta = f", {timedelta(seconds=round(left))} left" if left else ""
            self.line(f"step {step:,} of {self.steps:,}{eta}: {note}")
            self.last_line = time.monotonic()

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        self.console.print(text, highlight=False, soft_wrap=False)

"""The training loop. One run or several at once: `catclip compare` steps each of them on the same batch in turn."""

import re
import resource
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.markup import escape

from catclip.captions.counting.counter import available_processes
from catclip.data.loader import Batch, Loader
from catclip.errors import STOPPED_EARLY, UserError
from catclip.objectives.base import Objective
from catclip.train.checkpoint import load_checkpoint, prune_checkpoints, save_checkpoint
from catclip.train.folder import RunFolder
from catclip.train.track import Tracker, TrainingConsole
from catclip.train.trainer import Trainer
from catclip.train.waiting import WaitingHint

Evaluator = Callable[[Objective], Iterable[tuple[str, float]]]

WARMUP_STEPS = 10  # left out of the throughput: allocation, compilation, filling of the loader
_CLOCKS = ("seconds", "samples", "steady_seconds", "steady_waited", "steady_samples", "steady_steps")
_REMEMBERED = (*_CLOCKS, "last", "skipped", "data")  # of a Run, by its checkpoints


@dataclass
class Run:
    """An objective in training, and the clocks that belong to it. Evaluation and checkpoints are not on them."""

    name: str
    folder: RunFolder
    trainer: Trainer
    tracker: Tracker
    evaluators: Sequence[Evaluator]
    seconds: float = 0.0
    samples: int = 0
    steady_seconds: float = 0.0  # without the first steps
    steady_waited: float = 0.0
    steady_samples: int = 0
    steady_steps: int = 0
    last: dict[str, float] = field(default_factory=dict)  # the latest value of everything measured
    skipped: dict[str, int] = field(default_factory=dict)  # unreadable samples by reason
    data: dict[str, Any] = field(default_factory=dict)  # where in the data the latest checkpoint stands
    _window: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("seconds", "samples", "waited"), 0.0))
    _logged: dict[str, torch.Tensor] = field(default_factory=dict)

    def resume(self, step: int) -> None:
        """Load the checkpoint of `step`; 0 is the fresh start."""
        if step:
            progress = load_checkpoint(self.folder.checkpoints / f"step-{step}", self.trainer)
            for name in _REMEMBERED:
                setattr(self, name, progress.get(name, getattr(self, name)))

    def save(self) -> None:
        self._check_finite()
        progress = {name: getattr(self, name) for name in _REMEMBERED}
        save_checkpoint(self.folder.checkpoints, self.trainer, progress)

    def _check_finite(self) -> None:
        """Nothing is logged, measured or saved of weights that are lost.

        Raises:
            UserError: the latest step's loss is not finite, or its gradient, which is in the weights by now.
        """
        for name, what in (("loss", "loss"), ("grad_norm", "norm of the gradient")):
            if name in self._logged and not torch.isfinite(self._logged[name]):
                raise UserError(
                    f"{self.name}: the {what} is {self._logged[name].item()} at step {self.trainer.step_number}. A "
                    "lower optim.lr, a longer optim.warmup or run.precision=fp32 may help; the last checkpoint is "
                    "intact."
                )

    def advance(self, batch: Batch, waited: float, wait_for_device: bool) -> None:
        """One step, on the clock; `waited` is what the loader took."""
        start = time.perf_counter()
        self._logged = self.trainer.step(batch)
        if wait_for_device:
            synchronize(self.trainer.device)
        self._clock(time.perf_counter() - start + waited, len(batch["keys"]), waited)

    def _clock(self, seconds: float, samples: int, waited: float) -> None:
        self.seconds += seconds
        self.samples += samples
        if self.trainer.step_number > WARMUP_STEPS:
            self.steady_seconds += seconds
            self.steady_waited += waited
            self.steady_samples += samples
            self.steady_steps += samples > 0
        for name, value in (("seconds", seconds), ("samples", samples), ("waited", waited)):
            self._window[name] += value

    def log(self) -> tuple[float, float]:
        """Write the latest step to the tracker; return the seconds since the last time, and how many were waited."""
        start = time.perf_counter()
        synchronize(self.trainer.device)
        self._clock(time.perf_counter() - start, 0, 0.0)
        self._check_finite()
        window, values = self._window, {name: value.item() for name, value in self._logged.items()}
        values |= {
            "images_per_second": window["samples"] / window["seconds"],
            "data_wait": window["waited"] / window["seconds"],
            "memory": memory_bytes(self.trainer.device),
        }
        self._write(values)
        self._window = dict.fromkeys(window, 0.0)
        return window["seconds"], window["waited"]

    def evaluate(self) -> dict[str, float]:
        """What the evaluators find of the weights that would be released, off the clock."""
        self._check_finite()
        objective = self.trainer.evaluated()
        values: dict[str, float] = {}
        with torch.no_grad(), self.trainer.autocast():
            for evaluator in self.evaluators:
                values |= dict(evaluator(objective))
        self._write(values)
        return values

    def _write(self, values: dict[str, float]) -> None:
        self.last |= values
        where = {"step": self.trainer.step_number, "samples": self.samples, "seconds": round(self.seconds, 3)}
        self.tracker.log({**where, **values})

    def note(self) -> str:
        rate, wait = self.last.get("images_per_second", 0.0), self.last.get("data_wait", 0.0)
        return f"{self.name} loss {self.last.get('loss', 0.0):.3g}, {rate:,.0f} img/s, {wait:.0%} waiting"

    def summary(self) -> dict[str, Any]:
        """Flat results of the run."""
        steady = self.steady_seconds > 0
        busy = self.steady_seconds - self.steady_waited
        return {
            "name": self.name,
            "steps": self.trainer.step_number,
            "samples": self.samples,
            "seconds": self.seconds,
            "parameters": sum(parameter.numel() for parameter in self.trainer.objective.parameters()),
            **self.last,
            "images_per_second": self.steady_samples / self.steady_seconds if steady else None,
            "step_milliseconds": 1000 * busy / self.steady_steps if steady else None,
            "data_wait": self.steady_waited / self.steady_seconds if steady else None,
        }


def fit(
    runs: Sequence[Run],
    loader: Loader,
    data_state: Callable[[int], dict[str, Any]],
    *,
    evaluate_at: Sequence[int],
    log_every: int,
    checkpoint_every: int,
    keep: int,
    console: TrainingConsole,
) -> None:
    """Train the runs over the loader's batches, each on every batch, and write their summaries.

    All runs must stand at the step at which the loader starts.

    Raises:
        UserError: the loss is not finite, too many samples are unreadable, or a checkpoint cannot be written.
        SystemExit: with `STOPPED_EARLY`, after a signal and a checkpoint.
    """
    stop, hint = loader.stop, WaitingHint(loader.workers, available_processes())
    with stop_signal() as stopped, console:
        if loader.start == 0 and 0 in evaluate_at:
            evaluate(runs, console)
        for batch, waited in timed(loader):
            # Which run goes first alternates: neither always finds the caches as the other left them.
            for run in runs if runs[0].trainer.step_number % 2 else reversed(runs):
                run.advance(batch, waited, wait_for_device=len(runs) > 1)
            step = runs[0].trainer.step_number
            console.advance(step)

            # ---------------------------------------------------------------- log, evaluate, save
            if step % log_every == 0 or step == stop:
                stretches = [run.log() for run in runs]
                console.advance(step, runs[0].note())
                for said in (hint.watch(*stretches[0], loader.spent), loader.news()):
                    if said:
                        console.line(f"[yellow]{said}")
            if step in evaluate_at:
                evaluate(runs, console)
            if step % checkpoint_every == 0 or step == stop or stopped:
                for run in runs:
                    run.skipped, run.data = dict(loader.bad), data_state(step)
                    run.save()
                # Not before all have it: they resume from a step that all of them have.
                for run in runs:
                    prune_checkpoints(run.folder.checkpoints, step, keep)
            if stopped and step < stop:
                console.line(_stopped(stopped[0], step, runs[0].folder.out))
                sys.exit(STOPPED_EARLY)
    finish(runs, loader, console)


def _stopped(by: str, step: int, out: str) -> str:
    again = escape(f"run.out={shlex.quote(out)}")
    return f"Stopped by {by} after step {step}. The same command goes on from there with {again}"


def finish(runs: Sequence[Run], loader: Loader, console: TrainingConsole) -> None:
    """Say what was skipped and write the summaries: their presence means done."""
    if loader.bad:
        console.line(f"[yellow]{loader.report()}")
    for run in runs:
        run.folder.write_summary(
            run.summary() | {"skipped_samples": sum(loader.bad.values()), "skipped": dict(loader.bad)}
        )
        run.tracker.close()


def evaluate(runs: Sequence[Run], console: TrainingConsole) -> None:
    """Evaluate every run and print a line each."""
    for run in runs:
        measured = run.evaluate()
        figures = "  ".join(f"{label} {measured[name]:.3f}" for name, label in SHOWN.items() if name in measured)
        console.line(f"[bold]{run.name:<12}[/] step {run.trainer.step_number:>6,}  {figures}")


# What an evaluation's line on the console shows, and by which name.
SHOWN = {"map": "mAP", "precision_at_1": "P@1", "image_to_text_recall_at_10": "i→t R@10", "probe_accuracy": "probe"}


def timed(loader: Iterable[Batch]) -> Iterator[tuple[Batch, float]]:
    """Each batch with the seconds that were spent waiting for it."""
    iterator = iter(loader)
    while True:
        start = time.perf_counter()
        batch = next(iterator, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - start


class stop_signal:  # noqa: N801 - used as a context manager, like a function
    """Collects SIGTERM, SIGUSR1 and Ctrl-C, so that the loop ends its step and saves; a second Ctrl-C interrupts."""

    SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

    def __enter__(self) -> list[str]:
        received: list[str] = []

        def handle(number: int, frame: object) -> None:
            if received and number == signal.SIGINT:
                raise KeyboardInterrupt
            received.append(signal.Signals(number).name)

        self.before = {number: signal.signal(number, handle) for number in self.SIGNALS}
        return received

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def synchronize(device: torch.device) -> None:
    """Wait for what was asked of a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def memory_bytes(device: torch.device) -> int:
    """Peak memory so far: allocated on a GPU, resident in this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Not getrusage where there is another way: its peak is inherited from the process that started this one.
    with suppress(OSError), open("/proc/self/status") as file:
        if peak := re.search(r"^VmHWM:\s+(\d+) kB", file.read(), re.MULTILINE):
            return 1024 * int(peak[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

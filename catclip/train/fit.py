"""The training loop. One run or several at once: `catclip compare` steps each of them on the same batch in turn."""

import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.markup import escape

from catclip.captions.counting.counter import available_processes
from catclip.data.loader import Batch, Loader
from catclip.data.targets import own_entries
from catclip.errors import STOPPED_EARLY
from catclip.train.checkpoint import prune_checkpoints
from catclip.train.distributed import any_rank, from_all
from catclip.train.durations import Every
from catclip.train.memory import forget_peak, memory_errors
from catclip.train.run import Run, tracked
from catclip.train.signals import stop_signal
from catclip.train.track import TrainingConsole
from catclip.train.waiting import WaitingHint


@dataclass(frozen=True)
class Plan:
    """What the loop does beside its steps, and when.

    Attributes:
        log, checkpoint: the steps after which numbers are written, and checkpoints, beside the last.
        keep: checkpoints kept, the latest.
        best: name of a figure of the evaluations; the checkpoint at which it is highest is kept too.
    """

    log: Every
    checkpoint: Every
    keep: int
    best: str | None = None


def fit(
    runs: Sequence[Run],
    loader: Loader,
    data_state: Callable[[int], dict[str, Any]],
    plan: Plan,
    console: TrainingConsole,
) -> None:
    """Train the runs over the loader's batches, each on every batch, and write their summaries.

    All runs must stand at the step at which the loader starts.

    Raises:
        UserError: the loss is not finite, too many samples are unreadable, memory runs out, or a checkpoint cannot be
            written.
        SystemExit: with `STOPPED_EARLY`, after a signal and a checkpoint.
    """
    forget_peak(runs[0].trainer.device)
    with tracked(runs):
        _train(runs, loader, data_state, plan, console)
        finish(runs, loader, console)


def _train(
    runs: Sequence[Run],
    loader: Loader,
    data_state: Callable[[int], dict[str, Any]],
    plan: Plan,
    console: TrainingConsole,
) -> None:
    hint = WaitingHint(loader.workers, available_processes())
    memory = memory_errors(runs[0].folder.config, runs[0].trainer.device)
    with stop_signal() as stopped, console, memory:
        if loader.start == 0:
            evaluate(runs, plan, console, everything=True)
        for batch, waited in timed(loader):
            step = _step(runs, batch, waited)
            console.advance(step)
            last = step == loader.stop
            if plan.log(step) or last:
                _log(runs, loader, hint, console)
            improved = evaluate(runs, plan, console, everything=last)
            stopping = any_rank(bool(stopped))  # all ranks after the same step
            if plan.checkpoint(step) or last or improved or stopping:
                _save(runs, loader, data_state(step), plan.keep)
            if stopping and not last:
                console.line(_stopped(stopped[0] if stopped else "another rank", step, runs[0].folder.out))
                sys.exit(STOPPED_EARLY)


def _step(runs: Sequence[Run], batch: Batch, waited: float) -> int:
    """A step of each run; the number of steps made."""
    turns = list(enumerate(runs))
    # Which run goes first alternates: neither always finds the caches as the other left them.
    for index, run in turns if runs[0].trainer.step_number % 2 else reversed(turns):
        run.advance(own_entries(batch, index), waited, wait_for_device=len(runs) > 1)
    return runs[0].trainer.step_number


def _log(runs: Sequence[Run], loader: Loader, hint: WaitingHint, console: TrainingConsole) -> None:
    """Write numbers, and say what is to be said of them."""
    step, stretches = runs[0].trainer.step_number, [run.log() for run in runs]
    console.advance(step, runs[0].note())
    waits = hint.watch(stretches[0].seconds, stretches[0].waited, loader.spent)
    skips = None if step == loader.stop else loader.news()  # the end says it in any case
    for said in (waits, skips, *(run.trainer.compiler.news() for run in runs)):
        if said:
            console.line(f"[yellow]{escape(said)}")


def _save(runs: Sequence[Run], loader: Loader, data: dict[str, Any], keep: int) -> None:
    skipped = sum(from_all(loader.bad), Counter())
    for run in runs:
        run.skipped, run.data = dict(skipped), data
        run.save()
    # Not before all have it: they resume from a step that all of them have.
    for run in runs:
        prune_checkpoints(run.folder.checkpoints, run.trainer.step_number, keep, run.best.get("step"))


def _stopped(by: str, step: int, out: str) -> str:
    again = escape(f"run.out={shlex.quote(out)}")
    return f"Stopped by {by} after step {step}. The same command goes on from there with {again}"


def finish(runs: Sequence[Run], loader: Loader, console: TrainingConsole) -> None:
    """Say what was skipped and write the summaries: their presence means done."""
    loader.bad, loader.samples = sum(from_all(loader.bad), Counter()), sum(from_all(loader.samples))
    if loader.bad:
        console.line(f"[yellow]{escape(loader.report())}")
    for run in runs:
        if run.finite.count:
            console.line(f"[yellow]{run.name}: {run.finite.count} steps were not finite and were left out.")
        if run.tracker is not None:
            run.folder.write_summary(
                run.summary() | {"skipped_samples": sum(loader.bad.values()), "skipped": dict(loader.bad)}
            )


def evaluate(runs: Sequence[Run], plan: Plan, console: TrainingConsole, everything: bool) -> bool:
    """Evaluate every run as far as it is due, print a line each, and return whether one is at its best."""
    improved = False
    for run in runs:
        measured = run.evaluate(everything)
        if measured:
            shown = SHOWN.keys() & measured.keys() or measured.keys()
            figures = "  ".join(f"{SHOWN.get(name, name)} {measured[name]:.3f}" for name in measured if name in shown)
            console.line(f"[bold]{run.name:<12}[/] step {run.trainer.step_number:>6,}  {escape(figures)}")
        improved |= plan.best is not None and run.improved(plan.best, measured)
    return improved


# What an evaluation's line on the console shows, and by which name.
SHOWN = {"map": "mAP", "precision_at_1": "P@1", "image_to_text_recall_at_10": "i→t R@10", "probe_accuracy": "probe",
         "zeroshot_top_1": "zero-shot", "retrieval_recall_at_10": "c→p R@10"}  # fmt: skip


def timed(loader: Iterable[Batch]) -> Iterator[tuple[Batch, float]]:
    """Each batch with the seconds that were spent waiting for it."""
    iterator = iter(loader)
    while True:
        start = time.perf_counter()
        batch = next(iterator, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - start

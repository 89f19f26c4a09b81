"""One run of the loop: an objective in training, its clocks, its evaluations, and what its checkpoints remember."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from catclip.data.loader import Batch
from catclip.errors import UserError
from catclip.objectives.base import Objective
from catclip.train.checkpoint import load_checkpoint, save_checkpoint
from catclip.train.distributed import on_first
from catclip.train.finite import FiniteWatch
from catclip.train.flops import Utilization
from catclip.train.folder import RunFolder, same_version
from catclip.train.memory import memory_bytes
from catclip.train.track import Tracker
from catclip.train.trainer import Trainer

Evaluator = Callable[[Objective], Iterable[tuple[str, float]]]

WARMUP_STEPS = 10  # left out of the throughput: allocation, compilation, filling of the loader
_TALLIES = ("total", "steady")
_REMEMBERED = ("last", "skipped", "data", "best")  # of a Run, by its checkpoints, beside the tallies


@dataclass
class Evaluation:
    """An evaluator of a run, and the steps after which it is due, beside the start and the end."""

    name: str
    evaluator: Evaluator
    due: Callable[[int], bool]


@dataclass
class Tally:
    """What some steps took."""

    seconds: float = 0.0
    waited: float = 0.0  # seconds of them
    samples: int = 0
    steps: int = 0
    flops: float = 0.0

    def add(self, other: "Tally") -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class Run:
    """An objective in training, and the clocks that belong to it. Evaluation and checkpoints are not on them.

    Attributes:
        total: of all steps; `steady`: without the first; `window`: since the last time that numbers were written.
        last: the latest value of everything measured.
        skipped: unreadable samples by reason.
        data: where in the data the latest checkpoint stands.
        best: `step` and `value` of the best evaluation by `run.best`; empty before there is one.
    """

    name: str
    folder: RunFolder
    trainer: Trainer
    tracker: Tracker | None  # of rank 0 alone
    evaluations: Sequence[Evaluation]
    finite: FiniteWatch
    utilization: Utilization
    total: Tally = field(default_factory=Tally)
    steady: Tally = field(default_factory=Tally)
    window: Tally = field(default_factory=Tally)
    last: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)
    _logged: dict[str, torch.Tensor] = field(default_factory=dict)

    # ---------------------------------------------------------------- checkpoints

    def resume(self, step: int) -> None:
        """Load the checkpoint of `step`; 0 is the fresh start.

        Raises:
            UserError: it is damaged, or of another model or another version of catclip.
        """
        if not step:
            return
        checkpoint = self.folder.checkpoints / f"step-{step}"
        progress = load_checkpoint(checkpoint, self.trainer)
        with same_version(checkpoint / "state.json"):
            for name in _REMEMBERED:
                setattr(self, name, progress[name])
            for name in _TALLIES:
                setattr(self, name, Tally(**progress[name]))
            self.finite.count = progress["nonfinite_steps"]

    def save(self) -> None:
        """Write a checkpoint of the step reached.

        Raises:
            UserError: the weights are lost (as `FiniteWatch.check`), or it cannot be written.
        """
        self.finite.check()
        progress = {name: getattr(self, name) for name in _REMEMBERED}
        progress |= {name: asdict(getattr(self, name)) for name in _TALLIES}
        save_checkpoint(self.folder.checkpoints, self.trainer, progress | {"nonfinite_steps": self.finite.count})

    # ---------------------------------------------------------------- a step, its numbers

    def advance(self, batch: Batch, waited: float, wait_for_device: bool) -> None:
        """One step, on the clock; `waited` is what the loader took."""
        start = time.perf_counter()
        self._logged = self.trainer.step(batch)
        if wait_for_device:
            synchronize(self.trainer.device)
        taken = time.perf_counter() - start + waited
        self._clock(Tally(taken, waited, self.trainer.pictures, 1, self.utilization.flops(batch)))
        self.finite.add(self.trainer.step_number, batch["keys"], self._logged)

    def _clock(self, taken: Tally) -> None:
        self.total.add(taken)
        self.window.add(taken)
        if self.trainer.step_number > WARMUP_STEPS:
            self.steady.add(taken)

    def log(self) -> Tally:
        """Write the latest step to the tracker; return what the steps since the last time took."""
        start = time.perf_counter()
        synchronize(self.trainer.device)
        self._clock(Tally(time.perf_counter() - start))
        self.finite.check()
        window, self.window = self.window, Tally()
        # A step that was skipped has no loss to speak of.
        values = {name: value.item() for name, value in self._logged.items() if value.isfinite().all()}
        values |= {
            "images_per_second": window.samples / window.seconds,
            "data_wait": window.waited / window.seconds,
            "memory": memory_bytes(self.trainer.device),
            **self.utilization.share(window.flops, window.seconds),
        }
        if self.trainer.compiler.graphs:
            values["recompilations"] = self.trainer.compiler.recompilations
        if self.finite.count:
            values["nonfinite_steps"] = self.finite.count
        self._write(values)
        return window

    # ---------------------------------------------------------------- evaluations

    def evaluate(self, everything: bool) -> dict[str, float]:
        """What the evaluations that are due find of the weights that would be released, off the clock.

        On several ranks rank 0 measures and tells the others, who wait.

        Args:
            everything: all are, as at the start and the end.

        Raises:
            UserError: two of them measure the same.
        """
        due = [each for each in self.evaluations if everything or each.due(self.trainer.step_number)]
        if not due:
            return {}
        self.finite.check()
        objective = self.trainer.evaluated()
        values = on_first(lambda: self._measure(objective, due))
        self._write(values)
        return values

    def _measure(self, objective: Objective, due: Sequence[Evaluation]) -> dict[str, float]:
        values: dict[str, float] = {}
        found: dict[str, str] = {}  # by which evaluator
        with torch.no_grad(), self.trainer.autocast():
            for evaluation in due:
                for name, value in evaluation.evaluator(objective):
                    if name in values:
                        raise UserError(f"evaluators.{found[name]} and evaluators.{evaluation.name} both give {name}.")
                    values[name], found[name] = value, evaluation.name
        return values

    def improved(self, metric: str, values: dict[str, float]) -> bool:
        """Whether an evaluation is the best so far by `metric`, higher being better; it is kept in `best`.

        Raises:
            UserError: the start's, at which everything is measured, does not have it.
        """
        step = self.trainer.step_number
        if step == 0 and metric not in values:
            raise UserError(f"run.best={metric} is measured by no evaluator: {', '.join(values) or 'there is none'}.")
        if step == 0 or not values.get(metric, -math.inf) > self.best.get("value", -math.inf):  # NaN is never
            return False
        self.best = {"step": step, "value": values[metric]}
        return True

    def _write(self, values: dict[str, float]) -> None:
        self.last |= values
        where = {"step": self.trainer.step_number, "samples": self.total.samples}
        if self.tracker is not None:
            self.tracker.log({**where, "seconds": round(self.total.seconds, 3), **values})

    # ---------------------------------------------------------------- in words and figures

    def note(self) -> str:
        """What the progress bar says of it."""
        rate, wait = self.last.get("images_per_second", 0.0), self.last.get("data_wait", 0.0)
        mfu = f", {self.last['mfu']:.0%} MFU" if "mfu" in self.last else ""
        return f"{self.name} loss {self.last.get('loss', 0.0):.3g}, {rate:,.0f} img/s{mfu}, {wait:.0%} waiting"

    def summary(self) -> dict[str, Any]:
        """Flat results of the run; its throughput without the first steps."""
        steady, measured = self.steady, self.steady.seconds > 0
        best = {f"best_{name}": value for name, value in self.best.items()}
        return {
            "name": self.name,
            "steps": self.trainer.step_number,
            "samples": self.total.samples,
            "seconds": self.total.seconds,
            "precision": self.trainer.precision,
            "parameters": sum(parameter.numel() for parameter in self.trainer.objective.parameters()),
            **self.last,
            **best,
            "nonfinite_steps": self.finite.count,
            "images_per_second": steady.samples / steady.seconds if measured else None,
            "step_milliseconds": 1000 * (steady.seconds - steady.waited) / steady.steps if measured else None,
            "data_wait": steady.waited / steady.seconds if measured else None,
            **self.utilization.share(steady.flops, steady.seconds),
        }


@contextmanager
def tracked(runs: Sequence[Run]) -> Iterator[None]:
    """Close the runs' trackers at the end, also after an error: a sweep goes on in this process."""
    failed = True
    try:
        yield
        failed = False
    finally:
        for run in runs:
            if run.tracker is not None:
                run.tracker.close(failed)


def synchronize(device: torch.device) -> None:
    """Wait for what was asked of a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)

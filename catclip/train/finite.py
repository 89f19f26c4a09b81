"""Steps whose loss or gradient is not finite: found without waiting for the device at each step, and named.

The figures are those of the global batch, so that all ranks find the same steps at the same time.
"""

import json
from dataclasses import dataclass, field

import torch

from catclip.errors import UserError
from catclip.files import write_atomically
from catclip.train.distributed import from_all, on_first
from catclip.train.folder import RunFolder

# The figures of a step that must be finite, and what they are.
_WHAT = {"loss": "loss", "grad_norm": "norm of the gradient"}
_WAITING = 100  # steps after which they are looked at, whatever the intervals of the run


@dataclass
class _Step:
    number: int
    keys: list[str]
    values: dict[str, torch.Tensor]


@dataclass
class FiniteWatch:
    """Watches a run's steps.

    Args:
        name: the run's.
        folder: where it says which pictures a step had.
        allowed: such steps that the run may have. Above 0 the trainer skips them, or else their gradient is in the
            weights.
    """

    name: str
    folder: RunFolder
    allowed: int
    count: int = 0
    _steps: list[_Step] = field(default_factory=list)

    def add(self, number: int, keys: list[str], logged: dict[str, torch.Tensor]) -> None:
        """Take in a step; what it logged may still be on its way from the device.

        Raises:
            UserError: as `check`.
        """
        self._steps.append(_Step(number, keys, {name: logged[name] for name in _WHAT if name in logged}))
        if len(self._steps) >= _WAITING:
            self.check()

    def check(self) -> None:
        """Look at the steps that came since the last time.

        Raises:
            UserError: more than `allowed` of the run's steps were not finite.
        """
        steps, self._steps = self._steps, []
        if not steps or bool(torch.stack([value.isfinite() for step in steps for value in step.values.values()]).all()):
            return
        for step in steps:
            if not all(value.isfinite() for value in step.values.values()):
                self.count += 1
                self._tell(step)

    def _tell(self, step: _Step) -> None:
        values = {name: value.item() for name, value in step.values.items()}
        path = self.folder.path / f"nonfinite-step-{step.number}.json"
        keys = [key for each in from_all(step.keys) for key in each]
        said = {"step": step.number, **{name: str(value) for name, value in values.items()}, "keys": keys}
        on_first(lambda: write_atomically(path, json.dumps(said, indent=1)))
        if self.count > self.allowed:
            name = next(name for name, value in step.values.items() if not value.isfinite())
            some = ", ".join(keys[:3]) + (" …" if len(keys) > 3 else "")
            others = f" Such steps are {self.count} now; run.skip_nonfinite={self.allowed}." if self.allowed else ""
            raise UserError(
                f"{self.name}: the {_WHAT[name]} is {values[name]} at step {step.number}.{others} Its pictures "
                f"({some}) are listed in {path}. A lower optim.lr, a longer optim.warmup or, where it is not yet, "
                "run.precision=fp32 may help, and run.skip_nonfinite=10 leaves out up to ten such steps; "
                "checkpoints from before are intact."
            )

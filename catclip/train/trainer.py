"""One objective in training: the optimiser's step, the averaged weights, and everything a checkpoint must hold."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel

from catclip.config import OptimConfig
from catclip.data.loader import Batch
from catclip.errors import UserError, check_choice
from catclip.objectives.base import Objective
from catclip.train.compiling import Compiler, compile_objective
from catclip.train.optim import build_adamw, learning_rate

Tensors = list[torch.Tensor] | tuple[torch.Tensor, ...]


class Trainer:
    """Trains an objective; it never asks which.

    Args:
        objective: the model with its loss.
        config: optimiser and schedule; its durations are numbers of steps.
        steps: the length of the whole run, which the schedule spans.
        device: where to train.
        precision: `bf16` (autocast) or `fp32`.
        compile: compile the backbone, and a text tower, with torch.compile.
        seed: of whatever is random within a step (dropout, drop path).
        skip_nonfinite: a step whose loss or gradient is not finite changes nothing; each step waits for the device.
    """

    def __init__(
        self,
        objective: Objective,
        config: OptimConfig,
        steps: int,
        device: torch.device,
        precision: str = "bf16",
        compile: bool = False,
        seed: int = 0,
        skip_nonfinite: bool = False,
    ):
        check_choice("run.precision", precision, ["bf16", "fp32"])
        self.objective = objective.to(device)
        self.config, self.steps, self.device, self.precision, self.seed = config, steps, device, precision, seed
        self.optimizer = build_adamw(objective, config)
        self.average = self._averaged() if config.ema is not None else None
        self.step_number, self.skip_nonfinite = 0, skip_nonfinite
        self.compiler = Compiler()
        if compile:  # after the averaged copy was made: a compiled module cannot be copied
            compile_objective(objective, self.compiler)

    def _averaged(self) -> AveragedModel:
        assert self.config.ema is not None
        momentum = self.config.ema

        def update(average: Tensors, current: Tensors, count: torch.Tensor | int) -> None:
            # Early on the average follows closely, or it would hold the random start for 1 / momentum steps.
            torch._foreach_lerp_(list(average), list(current), max(momentum, 9 / (10 + float(count))))

        return AveragedModel(self.objective, multi_avg_fn=update)

    def autocast(self):
        """The context in which forward passes run, in training and evaluation alike."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bf16" else nullcontext()

    def to_device(self, batch: Batch) -> Batch:
        return {
            key: value.to(self.device, non_blocking=True) if isinstance(value, torch.Tensor) else value
            for key, value in batch.items()
        }

    def step(self, batch: Batch) -> dict[str, torch.Tensor]:
        """One optimiser step on a batch of the loader.

        Returns:
            What the objective logs (`loss` among it), `grad_norm`, and `lr`: scalars on the device, not yet waited for.
        """
        self.objective.train()
        # The randomness of a step is a function of seed and step, as its batch is: whatever was drawn in between, by
        # an evaluation, another run or a loader that started anew, changes nothing.
        torch.manual_seed(int(np.random.SeedSequence((self.seed, self.step_number)).generate_state(1)[0]))
        lr = learning_rate(self.step_number, self.steps, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        with self.autocast():
            logged = self.objective(self.to_device(batch))
        logged["loss"].backward()
        limit = self.config.clip if self.config.clip is not None else float("inf")
        logged["grad_norm"] = torch.nn.utils.clip_grad_norm_(self.objective.parameters(), limit)
        if not self.skip_nonfinite or all(logged[name].isfinite() for name in ("loss", "grad_norm")):
            self.optimizer.step()
            if self.average is not None:
                self.average.update_parameters(self.objective)
        self.optimizer.zero_grad(set_to_none=True)
        self.step_number += 1
        return {key: value.detach() for key, value in logged.items()} | {"lr": torch.tensor(lr)}

    def evaluated(self) -> Objective:
        """The weights to measure and to release: the averaged ones where they are kept. In evaluation mode."""
        model = self.average.module if self.average is not None else self.objective
        assert isinstance(model, Objective)
        return model.eval()

    # ------------------------------------------------------------------ state

    def weights(self) -> dict[str, dict[str, torch.Tensor]]:
        """`last`, the weights being trained, and `ema`, their average where one is kept."""
        weights = {"last": self.objective.state_dict()}
        if self.average is not None:
            weights["ema"] = self.average.module.state_dict()
        return weights

    def training_state(self) -> dict[str, Any]:
        """What exact resumption needs beside the weights; plain tensors and numbers."""
        state: dict[str, Any] = {"optimizer": self.optimizer.state_dict()}
        if self.average is not None:
            state["averaged_steps"] = self.average.n_averaged
        return state

    def load(self, weights: dict[str, dict[str, torch.Tensor]], state: dict[str, Any], step: int) -> None:
        """Take up where `weights` and `training_state` were taken, after `step` steps.

        Raises:
            UserError: the weights are of another model.
        """
        try:
            self.objective.load_state_dict(weights["last"])
            if self.average is not None:
                self.average.module.load_state_dict(weights["ema"])
                self.average.n_averaged.copy_(state["averaged_steps"])
        except (RuntimeError, KeyError) as error:
            raise UserError(f"The checkpoint does not fit this configuration: {error}") from error
        self.optimizer.load_state_dict(state["optimizer"])
        self.step_number = step

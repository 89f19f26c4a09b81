"""One objective in training: the optimiser's step, the averaged weights, and everything a checkpoint must hold."""

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel

from catclip.config import OptimConfig
from catclip.data.loader import Batch
from catclip.data.micro import split_batch
from catclip.errors import UserError, check_choice
from catclip.objectives.base import Objective
from catclip.train.accumulate import Accumulation
from catclip.train.compiling import Compiler, compile_objective
from catclip.train.distributed import (
    Shared,
    clip_gradients,
    counts_of_all,
    divided_like,
    gathered,
    rank,
    ranks,
    weighted_mean,
)
from catclip.train.optim import build_adamw, learning_rate
from catclip.train.precision import PRECISIONS, pick_precision

Tensors = list[torch.Tensor] | tuple[torch.Tensor, ...]


class Trainer:
    """Trains an objective; it never asks which. On several ranks each has one, and all do the same at the same time.

    Args:
        objective: the model with its loss.
        config: optimiser and schedule; its durations are numbers of steps.
        steps: the length of the whole run, which the schedule spans.
        device: where to train.
        precision: `bf16` or `fp16` (autocast; fp16 with a gradient scaler), `fp32`, or `auto` (`pick_precision`).
        compile: compile the backbone, and a text tower, with torch.compile.
        seed: of whatever is random within a step (dropout, drop path).
        skip_nonfinite: a step whose loss or gradient is not finite changes nothing; each step waits for the device.
        tf32: GPUs may multiply and convolve in TF32 what is fp32.
        micro_batch: pictures of a rank that are computed at a time, of the backbone's own size; of another size as many
            as have no more pixels. None: its whole batch.
        sharding: how ranks share the model, `ddp` or `fsdp`.

    Attributes:
        pictures: of the latest step, on all ranks.
        overflows: steps that the gradient scaler left out, its scale being too large.

    Raises:
        UserError: a choice that there is not, or fp16 with fsdp.
    """

    def __init__(
        self,
        objective: Objective,
        config: OptimConfig,
        steps: int,
        device: torch.device,
        precision: str = "auto",
        compile: bool = False,
        seed: int = 0,
        *,
        skip_nonfinite: bool = False,
        tf32: bool = True,
        micro_batch: int | None = None,
        sharding: str = "ddp",
    ):
        precision = pick_precision(precision, device)
        check_choice("run.sharding", sharding, ["ddp", "fsdp"])
        if sharding == "fsdp" and precision == "fp16":
            raise UserError("run.sharding=fsdp trains in bf16 or fp32: give run.precision=bf16, or run.sharding=ddp.")
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32  # of convolutions: the pictures' patches
        self.objective = objective.to(device)
        self.config, self.steps, self.device, self.precision, self.seed = config, steps, device, precision, seed
        self.skip_nonfinite, self.micro_batch = skip_nonfinite, micro_batch
        self.step_number = self.pictures = self.overflows = 0
        self.average = self._averaged() if config.ema is not None else None
        self._share(sharding)
        self.optimizer = build_adamw(objective, config)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.accumulate = Accumulation(objective, self.shared, self.autocast, self.scaler.scale)
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

    def _share(self, sharding: str) -> None:
        """Divide the model among the ranks, and its average alike; what is released is whole, on rank 0."""
        divided = sharding == "fsdp" and ranks() > 1
        # Not on the device, where there may be no room for a model that is whole.
        self._released = copy.deepcopy(self.objective).cpu() if divided and rank() == 0 else None
        self.shared = Shared(self.objective, sharding)
        if self.average is not None:
            Shared(self.average.module, sharding, gradients=False)

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which forward passes run, in training and evaluation alike."""
        dtype = PRECISIONS[self.precision]
        return nullcontext() if dtype is None else torch.autocast(self.device.type, dtype)

    def to_device(self, batch: Batch) -> Batch:
        return {
            key: value.to(self.device, non_blocking=True) if isinstance(value, torch.Tensor) else value
            for key, value in batch.items()
        }

    # ------------------------------------------------------------------ a step

    def step(self, batch: Batch) -> dict[str, torch.Tensor]:
        """One optimiser step on a batch of the loader; on several ranks each brings a part of the global batch.

        Returns:
            What the objective logs (`loss` among it), `grad_norm`, and `lr`: scalars on the device, not yet waited for;
            of the global batch. In fp16 `overflows` too, and no `grad_norm` of a step that the scaler left out.
        """
        self.objective.train()
        lr = learning_rate(self.step_number, self.steps, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["lr_scale"]
        counts = counts_of_all(len(batch["keys"]))
        self.pictures = sum(counts)
        share = len(batch["keys"]) / self.pictures
        whole = self.to_device(batch)
        self.objective.observe(whole)
        # The mean over ranks of the losses so weighted is the mean over the pictures of all.
        logged = self.accumulate(whole, self._parts(whole, counts), share * len(counts), self._seed)
        logged = weighted_mean(logged, share) | {"lr": torch.tensor(lr)}
        self.scaler.unscale_(self.optimizer)
        logged["grad_norm"] = clip_gradients(list(self.objective.parameters()), self.config.clip)
        if self._wanted(logged):
            self._update(logged)
        self.optimizer.zero_grad(set_to_none=True)
        self.step_number += 1
        return logged

    def _parts(self, batch: Batch, counts: list[int]) -> list[Batch]:
        """The batch in parts that `micro_batch` allows, as many on every rank: FSDP gathers with each."""
        parts = 1 if self.micro_batch is None else -(-max(counts) // self._at_a_time(batch, self.micro_batch))
        if parts > min(counts):
            raise UserError(
                f"Of a rank's batch only {min(counts)} pictures could be read, too few for {parts} parts "
                f"(run.micro_batch={self.micro_batch}): check the shards with `catclip data check`."
            )
        return split_batch(batch, parts) if parts > 1 else [batch]

    def _at_a_time(self, batch: Batch, pictures: int) -> int:
        """So many pictures of the backbone's size, in pictures of the batch's: memory goes by pixels."""
        side, own = batch["images"].shape[-1], self.objective.backbone.image_size
        return max(1, pictures * own**2 // side**2)

    def _seed(self, part: int) -> None:
        """Seed what is random in a part of this step's batch.

        It is a function of the run's seed, the step, the rank and the part, as its batch is: whatever was drawn in
        between, by an evaluation, another run or a loader that started anew, changes nothing. Ranks differ, or each
        would drop the same units of its pictures.
        """
        entropy = (self.seed, self.step_number, rank(), part)
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))

    def _wanted(self, logged: dict[str, torch.Tensor]) -> bool:
        """Whether the gradients are to move the weights; in fp16 the scaler judges that."""
        if self.scaler.is_enabled() or not self.skip_nonfinite:
            return True
        return all(bool(logged[name].isfinite()) for name in ("loss", "grad_norm"))

    def _update(self, logged: dict[str, torch.Tensor]) -> None:
        """Move the weights along the gradients, and the averaged ones after them."""
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.scaler.get_scale() < scale:
            # That happens from time to time, as the scale is tried out: the norm was never meant to be finite.
            self.overflows += 1
            del logged["grad_norm"]
        elif self.average is not None:
            self.average.update_parameters(self.objective)
        if self.scaler.is_enabled():
            logged["overflows"] = torch.tensor(float(self.overflows))

    def evaluated(self) -> Objective:
        """The weights to measure and to release: the averaged ones where they are kept. In evaluation mode.

        All ranks must call it, and rank 0 alone may use it: under FSDP the others' is in pieces, and its own is a copy,
        on the device for as long as the caller keeps it.
        """
        model = self.average.module if self.average is not None else self.objective
        if self.shared.sharded:
            weights = gathered(model.state_dict())
            if self._released is not None:
                self._released.load_state_dict(weights)
                model = copy.deepcopy(self._released).to(self.device)
        assert isinstance(model, Objective)
        return model.eval()

    # ------------------------------------------------------------------ state

    def weights(self) -> dict[str, dict[str, torch.Tensor]]:
        """`last`, the weights being trained, and `ema`, their average where one is kept.

        All ranks must call it; rank 0 has the whole.
        """
        weights = {"last": self.objective.state_dict()}
        if self.average is not None:
            weights["ema"] = self.average.module.state_dict()
        return gathered(weights)

    def training_state(self) -> dict[str, Any]:
        """What exact resumption needs beside the weights; plain tensors and numbers. As `weights` on several ranks."""
        state: dict[str, Any] = {"optimizer": self.optimizer.state_dict(), "overflows": self.overflows}
        if self.scaler.is_enabled():
            state["scaler"] = self.scaler.state_dict()
        if self.average is not None:
            state["averaged_steps"] = self.average.n_averaged
        return gathered(state)

    def load(self, weights: dict[str, dict[str, torch.Tensor]], state: dict[str, Any], step: int) -> None:
        """Take up where `weights` and `training_state` were taken, after `step` steps, on however many ranks.

        Raises:
            UserError: they are of another model, or another version of catclip.
        """
        try:
            _load(self.objective, weights["last"])
            if self.average is not None:
                _load(self.average.module, weights["ema"])
                self.average.n_averaged.copy_(state["averaged_steps"])
            self._load_optimizer(state["optimizer"])
            self.overflows = state["overflows"]
        except (RuntimeError, LookupError, ValueError) as error:
            raise UserError(
                "The checkpoint does not fit this configuration, or is of another version of catclip (the run's "
                f"environment.json says which): {error}"
            ) from error
        if "scaler" in state and self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        self.step_number = step

    def _load_optimizer(self, state: dict[str, Any]) -> None:
        parameters = [each for group in self.optimizer.param_groups for each in group["params"]]
        moments = {
            index: {
                name: divided_like(value, parameters[index]) if value.ndim else value for name, value in each.items()
            }
            for index, each in state["state"].items()
        }
        self.optimizer.load_state_dict({"state": moments, "param_groups": state["param_groups"]})


def _load(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    now = model.state_dict()
    model.load_state_dict(
        {name: divided_like(value, now[name]) if name in now else value for name, value in weights.items()}
    )

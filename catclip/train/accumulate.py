"""Gradients of a batch in parts, equal to those of the whole.

What each picture gives by itself is computed part by part. Where the loss takes each picture by itself too, so is the
loss. Where it sets pictures against each other, gradients are cached (GradCache, arXiv 2101.06983, section 3): a first
pass without gradients gives all outputs, the loss of which gives the outputs' gradients; a second computes each part's
outputs again, with the same random numbers, and goes backward from those gradients.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeVar

import torch

from catclip.data.loader import Batch
from catclip.objectives.base import Objective, Outputs
from catclip.train.distributed import Shared

T = TypeVar("T")
Tensors = dict[str, torch.Tensor]


class Accumulation:
    """Adds the gradients of batches to an objective's parameters.

    Args:
        objective: whose loss.
        shared: the same, as it lies on the ranks.
        autocast: makes the context of a forward pass. A new one for each: it keeps the weights' copies, which are of no
            use to a backward pass if they were made without gradients.
        scale: what the loss is multiplied with before going backward (`torch.amp.GradScaler.scale`).
    """

    def __init__(
        self,
        objective: Objective,
        shared: Shared,
        autocast: Callable[[], AbstractContextManager[object]],
        scale: Callable[[torch.Tensor], torch.Tensor],
    ):
        self._objective, self._shared, self._autocast, self._scale = objective, shared, autocast, scale

    def __call__(self, whole: Batch, parts: Sequence[Batch], weight: float, seed: Callable[[int], None]) -> Tensors:
        """Add the gradients of a batch's loss.

        Args:
            whole: this rank's batch, on the device.
            parts: the same, in one or more parts of which none is empty; as many on every rank.
            weight: of the loss.
            seed: seeds whatever is random in the part of an index.

        Returns:
            What the objective logs of the batch, its weight not in it: scalars.
        """
        if self._objective.coupled and len(parts) > 1:
            return self._in_two_passes(whole, parts, weight, seed)
        logged: Tensors = {}
        for index, part in enumerate(parts):
            share = len(part["keys"]) / len(whole["keys"])
            with self._shared.part(last=index == len(parts) - 1):
                seed(index)
                values = self._forward(partial(self._objective, part))
                self._scale(values["loss"] * (weight * share)).backward()
            for name, value in values.items():
                logged[name] = logged.get(name, 0) + share * value.detach()
        return logged

    def _in_two_passes(
        self, whole: Batch, parts: Sequence[Batch], weight: float, seed: Callable[[int], None]
    ) -> Tensors:
        found: list[Outputs] = []
        with torch.no_grad():
            for index, part in enumerate(parts):
                seed(index)
                found.append(self._forward(partial(self._objective.outputs, part)))
            outputs = {name: torch.cat([each[name] for each in found]) for name in found[0]}
            logged, gradients, own = self._forward(partial(self._gradients, outputs, whole, weight))
        start = 0
        for index, part in enumerate(parts):
            last, stop = index == len(parts) - 1, start + len(part["keys"])
            with self._shared.part(last):
                seed(index)
                again, rest = self._forward(partial(self._again, part, own if last else {}))
                roots = [again[name] for name in gradients] + rest
                torch.autograd.backward(roots, [each[start:stop] for each in gradients.values()] + [None] * len(rest))
            start = stop
        return logged

    def _forward(self, work: Callable[[], T]) -> T:
        with self._autocast():
            return self._shared(work)

    def _gradients(self, outputs: Outputs, whole: Batch, weight: float) -> tuple[Tensors, Tensors, Tensors]:
        """What the loss logs, its gradients by the outputs, and by the parameters that it uses itself."""
        with torch.enable_grad():
            leaves = {name: value.requires_grad_() for name, value in outputs.items() if value.is_floating_point()}
            values = self._objective.loss(outputs, whole)
            own = {name: each for name, each in self._objective.named_parameters() if each.requires_grad}
            wanted = [*leaves.values(), *own.values()]
            found = torch.autograd.grad(self._scale(values["loss"] * weight), wanted, allow_unused=True)
        by_leaf, by_own = zip(leaves, found[: len(leaves)], strict=True), zip(own, found[len(leaves) :], strict=True)
        return (
            {name: value.detach() for name, value in values.items()},
            {name: gradient for name, gradient in by_leaf if gradient is not None},
            {name: gradient for name, gradient in by_own if gradient is not None},
        )

    def _again(self, part: Batch, own: Tensors) -> tuple[Outputs, list[torch.Tensor]]:
        """The part's outputs, and a sum whose gradients by the loss's own parameters are those given."""
        parameters = dict(self._objective.named_parameters())
        rest = [(parameters[name].float() * gradient).sum() for name, gradient in own.items()]
        return self._objective.outputs(part), rest

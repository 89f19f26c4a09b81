"""A training step, stage by stage: seconds, operations, or bytes of each.

What is read at the border of two stages is any counter that grows: the clock, or what torch has counted so far.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from catclip.data.loader import Batch
from catclip.objectives.base import Objective
from catclip.objectives.contrastive import Contrastive
from catclip.train.distributed import clip_gradients
from catclip.train.flops import on_meta
from catclip.train.trainer import Trainer

FORWARD = ("image_tower", "text_tower", "head")
STAGES = ("to_device", *FORWARD, "loss", "backward", "optimizer", "average")
Read = Callable[[], float]

# Operators that touch single elements of an argument: as many as they return, or as another argument puts there.
_PICKED = {"aten::embedding": "weight", "aten::index": "self", "aten::index_select": "self", "aten::gather": "self"}
_PUT = {
    "aten::index_put_": "values", "aten::_index_put_impl_": "values", "aten::index_add_": "source",
    "aten::scatter_add_": "src",
}  # fmt: skip


class Stages:
    """What each stage has added to a reading.

    Attributes:
        spent: by the names of `STAGES`.
    """

    def __init__(self, read: Read):
        self.spent = dict.fromkeys(STAGES, 0.0)
        self._read = read

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = self._read()
        yield
        self.spent[name] += self._read() - start

    @contextmanager
    def forward(self, objective: Objective) -> Iterator[None]:
        """Around `Objective.outputs`: what is in neither tower is the head's, a projection's too."""
        began: list[float] = []

        def enter(*_: Any) -> None:
            began.append(self._read())

        with ExitStack() as hooks:
            towers = [("image_tower", objective.backbone), *(("text_tower", each) for each in text_towers(objective))]
            for name, tower in towers:

                def leave(*_: Any, name: str = name) -> None:
                    self.spent[name] += self._read() - began.pop()

                hooks.callback(tower.register_forward_pre_hook(enter).remove)
                hooks.callback(tower.register_forward_hook(leave).remove)
            before = self.spent["image_tower"] + self.spent["text_tower"]
            start = self._read()
            yield
            whole = self._read() - start
        self.spent["head"] += whole - (self.spent["image_tower"] + self.spent["text_tower"] - before)


def text_towers(objective: nn.Module) -> list[nn.Module]:
    """The text towers in an objective: one of each contrastive part."""
    return [each.text for each in objective.modules() if isinstance(each, Contrastive)]


def staged_step(trainer: Trainer, batch: Batch, read: Read) -> dict[str, float]:
    """Take a training step on a whole batch, as `Trainer.step` does in one process, and return each stage's share."""
    objective, optimizer, scaler = trainer.objective, trainer.optimizer, trainer.scaler
    stages = Stages(read)
    objective.train()
    with stages.stage("to_device"):
        batch = trainer.to_device(batch)
    with stages.stage("loss"):
        objective.observe(batch)
    # One context for both, as in training: it keeps the weights that it has cast.
    with trainer.autocast():
        with stages.forward(objective):
            outputs = objective.outputs(batch)
        with stages.stage("loss"):
            loss = objective.loss(outputs, batch)["loss"]
    with stages.stage("backward"):
        scaler.scale(loss).backward()
    with stages.stage("optimizer"):
        scaler.unscale_(optimizer)
        clip_gradients(list(objective.parameters()), trainer.config.clip)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
    with stages.stage("average"):
        if trainer.average is not None:
            trainer.average.update_parameters(objective)
    return stages.spent


def staged_operations(objective: Objective, batch: Batch) -> dict[str, float]:
    """Floating-point operations of each stage: matrix products, convolutions and attention, on shapes alone.

    They are those of `StepFlops` and the loss's, which is computed, of random outputs: it may ask what device it is on.

    Args:
        objective: on the CPU, before it is compiled; it is left as it is.
        batch: of the loader.
    """
    shapes = on_meta(objective)
    there = {key: value.to("meta") if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        stages = Stages(lambda: float(counter.get_total_flops()))
        with stages.forward(shapes):
            outputs = shapes.outputs(there)
        with stages.stage("backward"):
            torch.stack([each.float().sum() for each in outputs.values()]).sum().backward()
        drawn = {name: torch.randn(each.shape).requires_grad_() for name, each in outputs.items()}
        with stages.stage("loss"):
            loss = objective.loss(drawn, batch)["loss"]
        with stages.stage("backward"):
            loss.backward()
    objective.zero_grad(set_to_none=True)
    return stages.spent


def staged_bytes(trainer: Trainer, batch: Batch) -> dict[str, float]:
    """Bytes that the operators of each stage read and write, run one by one: what is fused moves fewer.

    Args:
        trainer: it does not compile; it has taken a step before, so that the optimiser's state exists.
        batch: of the loader.
    """
    with ByteCounter() as counter:
        return staged_step(trainer, batch, lambda: float(counter.total))


class ByteCounter(TorchDispatchMode):
    """Counts the bytes of tensors that torch's operators read and write; views move nothing.

    Of a table from which rows are picked these alone are read.

    Attributes:
        total: bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not func.is_view and not func._schema.name.startswith(("aten::empty", "aten::new_empty")):
            given = dict(zip((each.name for each in func._schema.arguments), args, strict=False)) | kwargs
            self.total += self._moved(func._schema, given, _bytes(result))
        return result

    @staticmethod
    def _moved(schema: Any, given: dict[str, Any], returned: int) -> int:
        total = 0
        for argument in schema.arguments:
            size = _bytes(given.get(argument.name))
            if _PICKED.get(schema.name) == argument.name:
                size = min(size, returned)
            written = argument.alias_info is not None and argument.alias_info.is_write
            if written and schema.name in _PUT:
                size = min(size, _bytes(given.get(_PUT[schema.name])))
            total += size * (2 if written else 1)
        in_place = any(each.alias_info for each in schema.returns)  # what is changed so is counted above
        return total if in_place else total + returned


def _bytes(values: Any) -> int:
    return sum(each.numel() * each.element_size() for each in tree_leaves(values) if isinstance(each, torch.Tensor))

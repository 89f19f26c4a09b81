"""Floating-point operations of a step, and the share of a GPU's peak rate that they are (MFU)."""

import copy
import re
from typing import TypeVar

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from catclip.data.loader import Batch

T = TypeVar("T", bound=nn.Module)

# Dense peak rates in 10^12 operations a second, as the vendors' data sheets and white papers give them, products of
# half precision with sums in float32: (name as torch gives it, bf16, fp16, tf32, fp32). Laptop GPUs, parts of a GPU
# (MIG) and variants that are not named have other rates: names must match as a whole.
_PEAKS = [
    (r"B200", 2250, 2250, 1125, 75),
    (r"GH200.*|H200|H100 80GB HBM3|H100 SXM.*|H800", 989.4, 989.4, 494.7, 66.9),
    (r"H100 NVL|H200 NVL", 835.5, 835.5, 417.5, 60),
    (r"H100 PCIe", 756, 756, 378, 51),
    (r"H20", 148, 148, 74, 44),
    (r"A100-.*|A800-.*", 312, 312, 156, 19.5),
    (r"A40", 149.7, 149.7, 74.8, 37.4),
    (r"A30", 165, 165, 82, 10.3),
    (r"A10", 125, 125, 62.5, 31.2),
    (r"A10G", 70, 70, 35, 35),
    (r"L4", 121, 121, 60, 30.3),
    (r"L40", 181.05, 181.05, 90.5, 90.5),
    (r"L40S", 362.05, 362.05, 183, 91.6),
    (r"RTX A6000", 154.8, 154.8, 77.4, 38.7),
    (r"RTX 6000 Ada Generation", 364.2, 364.2, 182.1, 91.1),
    (r"GeForce RTX 3080", 59.5, 59.5, 29.8, 29.8),
    (r"GeForce RTX 3090", 71, 71, 35.6, 35.6),
    (r"GeForce RTX 4080", 97.5, 97.5, 48.7, 48.7),
    (r"GeForce RTX 4090", 165.2, 165.2, 82.6, 82.6),
    (r"GeForce RTX 5090", 209.5, 209.5, 104.8, 104.8),
    (r"V100-SXM2-.*", None, 125, None, 15.7),
    (r"V100-PCIE-.*", None, 112, None, 14),
    (r"T4", None, 65, None, 8.1),
    (r"AMD Instinct MI300X", 1307.4, 1307.4, 653.7, 163.4),
]


def peak_rate(name: str, precision: str, tf32: bool) -> float | None:
    """A device's dense peak rate in operations a second; None where it is not known.

    Args:
        name: as `torch.cuda.get_device_name` gives it.
        precision: bf16 | fp16 | fp32, in which matrix products run.
        tf32: whether those of float32 run in TF32, where the device has it.
    """
    model = re.sub(r"^(NVIDIA|Tesla)\s+", "", name.strip())
    if "MIG" in model:
        return None
    for pattern, bf16, fp16, in_tf32, fp32 in _PEAKS:
        if re.fullmatch(pattern, model):
            full = in_tf32 if tf32 and in_tf32 else fp32
            rate = {"bf16": bf16, "fp16": fp16, "fp32": full}[precision]
            return None if rate is None else rate * 1e12
    return None


def on_meta(objective: T) -> T:
    """A copy on the meta device, in training mode, which computes shapes alone and checkpoints no activations.

    Args:
        objective: before it is compiled; it is left as it is. Its weights are not copied on the way.
    """
    shapes: dict[int, torch.Tensor] = {
        id(each): nn.Parameter(each.to("meta"), each.requires_grad) for each in objective.parameters()
    }
    shapes |= {id(each): each.to("meta") for each in objective.buffers()}
    copied = copy.deepcopy(objective, shapes).train()
    for module in copied.modules():
        if callable(checkpointing := getattr(module, "set_grad_checkpointing", None)):
            checkpointing(False)
    return copied


class StepFlops:
    """Counts the operations of forward and backward of batches; a multiply-add is two.

    Counted by torch, matrix products, convolutions and attention, on shapes alone, once for every size of pictures.
    What the backbone drops is not counted, nor what checkpointing computes again: it is the model's work, however it
    is done. The loss is left out, whose share is a few thousandths at most (of pairs, at batches of 32k) and which may
    ask other ranks.

    Args:
        objective: before it is compiled; it is left as it is.
    """

    def __init__(self, objective: nn.Module) -> None:
        self._objective = on_meta(objective)
        self._known: dict[tuple[int, ...], float] = {}  # of a picture, by its shape

    def __call__(self, batch: Batch) -> float:
        """Operations of a step on a batch."""
        shape = tuple(batch["images"].shape[1:])
        if shape not in self._known:
            self._known[shape] = self._count(batch) / len(batch["images"])
        return self._known[shape] * len(batch["images"])

    def _count(self, batch: Batch) -> int:
        batch = {key: value.to("meta") if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
        # The counter knows the matrix products of the plain attention, not every fused kernel.
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            outputs = self._objective.outputs(batch)  # type: ignore[operator]
            torch.stack([each.float().sum() for each in outputs.values()]).sum().backward()
        self._objective.zero_grad(set_to_none=True)
        return counter.get_total_flops()


def flops_per_image(objective: nn.Module, batch: Batch) -> float:
    """Operations of forward and backward a picture, as `StepFlops` counts them."""
    return StepFlops(objective)(batch) / len(batch["images"])


class Utilization:
    """What share of the device's peak rate training uses (MFU), where that rate is known.

    Args:
        objective: before it is compiled.
        device: where it trains.
        precision: of its matrix products.
        tf32: whether those of float32 run in TF32.
    """

    def __init__(self, objective: nn.Module, device: torch.device, precision: str, tf32: bool) -> None:
        self.peak = None
        if device.type == "cuda":
            self.peak = peak_rate(torch.cuda.get_device_name(device), precision, tf32)
        self._flops = StepFlops(objective) if self.peak else None

    def flops(self, batch: Batch) -> float:
        """Operations of a step on a batch; 0 where the peak rate is not known."""
        return self._flops(batch) if self._flops else 0.0

    def share(self, flops: float, seconds: float) -> dict[str, float]:
        """`mfu`, from 0 to 1, or nothing where the peak rate is not known."""
        return {"mfu": flops / seconds / self.peak} if self.peak and seconds > 0 else {}

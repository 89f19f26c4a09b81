"""Time and memory of binary cross entropy with ragged labels, beside dense targets, at the published size."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F

from catclip.compare.full_step import LABELS_A_PICTURE, dense_targets, random_batch
from catclip.compare.step import in_fresh_process, resident_bytes
from catclip.objectives.label_losses import ragged_bce
from catclip.train.memory import memory_bytes
from catclip.train.run import synchronize


def _ragged(logits: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return ragged_bce(logits, batch["label_ids"], batch["label_offsets"])


def _dense(logits: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    targets = dense_targets(batch, logits.shape[1], logits.device)
    return F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="sum") / len(logits)


_LOSSES: dict[str, Callable[[torch.Tensor, Mapping[str, torch.Tensor]], torch.Tensor]] = {
    "ragged": _ragged,
    "dense": _dense,
}


def label_loss_figures(batch: int, labels: int, device: torch.device, rounds: int) -> dict[str, float]:
    """Loss and gradient of logits float32 [B, V]; the dense loss makes its targets on the device, as each step must.

    Returns:
        `bce.<form>_milliseconds`, medians, `bce.<form>_peak_memory_bytes` beside logits and labels, and
        `ratio.bce_dense_to_ragged_*`.
    """
    logits, made = _inputs(batch, labels, device)
    seconds: dict[str, list[float]] = {form: [] for form in _LOSSES}
    for turn in range(rounds + 1):
        for form in list(_LOSSES) if turn % 2 else list(reversed(_LOSSES)):
            synchronize(device)
            start = time.perf_counter()
            _both_ways(form, logits, made)
            synchronize(device)
            if turn:
                seconds[form].append(time.perf_counter() - start)
    results = {}
    for form in _LOSSES:
        results[f"bce.{form}_milliseconds"] = 1000 * statistics.median(seconds[form])
        results[f"bce.{form}_peak_memory_bytes"] = in_fresh_process(_measure, form, batch, labels, device)
    ratios = [dense / ragged for ragged, dense in zip(seconds["ragged"], seconds["dense"], strict=True)]
    # Next to nothing, at sizes that nobody trains at, may be nothing at all.
    memory = results["bce.dense_peak_memory_bytes"] / max(1, results["bce.ragged_peak_memory_bytes"])
    return {
        "bce.batch": batch,
        "bce.labels": labels,
        "bce.labels_a_picture": LABELS_A_PICTURE,
        "ratio.bce_dense_to_ragged_milliseconds": statistics.median(ratios),
        "ratio.bce_dense_to_ragged_peak_memory_bytes": memory,
        **results,
    }


def _inputs(batch: int, labels: int, device: torch.device) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    made = random_batch(batch, 1, labels, 1, 2, torch.device("cpu"))
    logits = torch.randn(batch, labels, generator=torch.Generator().manual_seed(0)).to(device).requires_grad_()
    return logits, {name: made[name].to(device) for name in ("label_ids", "label_offsets")}


def _both_ways(form: str, logits: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> None:
    _LOSSES[form](logits, batch).backward()
    logits.grad = None


def _measure(form: str, batch: int, labels: int, device: torch.device) -> int:
    """The peak of one loss and its gradient on top of its inputs."""
    _both_ways(form, *_inputs(8, labels, device))  # what the first call of anything allocates
    logits, made = _inputs(batch, labels, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    else:
        before = resident_bytes()
    _both_ways(form, logits, made)
    return max(0, memory_bytes(device) - before)

"""Memory: how much training takes, and what to change when it is not enough."""

import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from catclip.config import PretrainConfig
from catclip.errors import UserError
from catclip.train.precision import multiplies_bf16

# What torch's allocators of memory that is no GPU's say.
_CPU = re.compile(r"not enough memory|can't allocate memory|Cannot allocate memory|std::bad_alloc", re.IGNORECASE)
# A GPU's that are no OutOfMemoryError: of its driver and its libraries, which allocate too.
_GPU = re.compile(r"CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED")


def forget_peak(device: torch.device) -> None:
    """Let a GPU's peak be that from here on, and not that of a run which this process had before. A CPU's stays."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def memory_bytes(device: torch.device) -> int:
    """Peak memory so far: allocated on a GPU, resident in this process on a CPU.

    It is that of the process: of runs that train together, that of all of them.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Not getrusage where there is another way: its peak is inherited from the process that started this one.
    with suppress(OSError), open("/proc/self/status") as file:
        if peak := re.search(r"^VmHWM:\s+(\d+) kB", file.read(), re.MULTILINE):
            return 1024 * int(peak[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch's says that a device's memory does not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return bool(_CPU.search(str(error)) or _GPU.search(str(error)))


@contextmanager
def memory_errors(config: PretrainConfig, device: torch.device) -> Iterator[None]:
    """Say what would take less, where memory runs out.

    Raises:
        UserError: in place of torch's error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # a GPU's error is a RuntimeError too
        if not is_out_of_memory(error):
            raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        side = config.backbone.image_size
        raise UserError(
            f"Out of memory on {device}, with batches of {config.run.batch:,} pictures of {side} × {side} pixels; the "
            f"peak was {memory_bytes(device) / 2**30:.2f} GiB. {_advice(config, device)} Checkpoints from before are "
            f"intact. ({first})"
        ) from error


def _advice(config: PretrainConfig, device: torch.device) -> str:
    """What would take less: what leaves the training as it is, and what does not."""
    run, half = config.run, max(1, config.run.batch // 2)
    part = min(run.micro_batch or run.batch, run.batch)
    same = [f"run.micro_batch={part // 2}"] if part > 1 else []
    same += [] if config.backbone.checkpoint_activations else ["backbone.checkpoint_activations=true"]
    other = ["run.precision=bf16"] if run.precision == "fp32" and multiplies_bf16(device) else []
    other += [f"run.batch={half}"] if run.batch > 1 else []
    kept = f"This takes less and trains the same: {', '.join(same)}. " if same else ""
    return f"{kept}Less is also taken by {', '.join([*other, 'a smaller backbone'])}."

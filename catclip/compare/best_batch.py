"""The largest batch whose step fits a memory budget, found by trying, and how fast training is at it.

Each size is tried in a process of its own, which may run out of memory, or be killed for it, without harm to others.
"""

import resource
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from catclip.compare.full_step import STEPS_OF_A_RUN
from catclip.compare.ratios import median_figures, ratio_figures
from catclip.compare.step import MEMORY_STEPS, first_batches, in_fresh_process, resident_bytes
from catclip.config import MeasureConfig, PretrainConfig
from catclip.data.cache.sizes import parse_size
from catclip.data.loader import Batch
from catclip.data.micro import take
from catclip.errors import UserError
from catclip.train.compiling import wants_compile
from catclip.train.memory import is_out_of_memory, memory_bytes
from catclip.train.run import synchronize
from catclip.train.trainer import Trainer

CLOSE = 16  # the largest batch is found to within a sixteenth
LONGEST = 10.0  # seconds of a step, above which larger batches are not tried: they would be no faster
_PICTURES = 64  # read; a larger batch repeats them
_ATTEMPTS = 8  # to find a size that fits every time
_KEPT_FREE = 0.05  # of the budget: what a step takes is not the same to the byte each time


class Trial(NamedTuple):
    """Training at some size of batch.

    Attributes:
        memory: peak, in bytes; None where it was not enough.
        seconds: of a step.
    """

    memory: int | None
    seconds: float


def batch_figures(
    configs: Mapping[str, PretrainConfig], device: torch.device, measure: MeasureConfig
) -> dict[str, Any]:
    """Find each objective's largest batch and measure it there, in turn.

    Args:
        configs: by the objective's name.
        device: where.
        measure: memory, rounds, steps.

    Returns:
        `batch.memory_bytes`, the budget; `batch.<name>.largest`, pictures, and `.limited_by`, `memory` or `seconds`,
        where a step took longer than `LONGEST`; there `.images_per_second` with `.spread`, `.peak_memory_bytes`; and
        `batch.ratio.<name>_to_<first>.images_per_second` as `ratio_figures`, `.largest`.

    Raises:
        UserError: a batch of one picture does not fit, or the budget is no size, or more than there is.
    """
    budget = memory_budget(measure.memory, device)
    figures: dict[str, Any] = {"batch.memory_bytes": budget, "batch.rounds": measure.rounds}
    largest, allowed = {}, int((1 - _KEPT_FREE) * budget)
    for name, config in configs.items():
        limits: dict[int, str] = {}

        def share(size: int, config: PretrainConfig = config, limits: dict[int, str] = limits) -> float | None:
            trial = try_batch(config, device, size, allowed, 1)
            if trial.memory is not None and trial.seconds <= LONGEST:
                return trial.memory / allowed
            limits[size] = "memory" if trial.memory is None else "seconds"
            return None

        largest[name] = largest_that_fits(share, config.run.batch)
        if not largest[name]:
            raise UserError(
                f"{name}: not even a batch of one picture fits compare.memory={measure.memory or budget}, or its step "
                f"takes longer than {LONGEST:g} s. Give a smaller backbone, or leave out the section batch."
            )
        figures[f"batch.{name}.limited_by"] = limits[min(limits)]  # of the smallest that was too large
    trials = _in_turn(configs, largest, device, budget, measure)
    for name in configs:
        figures[f"batch.{name}.largest"] = largest[name]
    first = next(iter(configs))
    rates = {name: [largest[name] / trial.seconds for trial in trials[name]] for name in configs}
    for name in configs:
        memory = [float(trial.memory) for trial in trials[name] if trial.memory is not None]
        figures |= median_figures(f"batch.{name}.images_per_second", rates[name])
        figures |= median_figures(f"batch.{name}.peak_memory_bytes", memory)
        if name != first:
            key = f"batch.ratio.{name}_to_{first}"
            figures |= ratio_figures(f"{key}.images_per_second", rates[name], rates[first])
            figures[f"{key}.largest"] = largest[name] / largest[first]
    return figures


def _in_turn(
    configs: Mapping[str, PretrainConfig],
    largest: dict[str, int],
    device: torch.device,
    budget: int,
    measure: MeasureConfig,
) -> dict[str, list[Trial]]:
    """Measure all in turn at their `largest`; one that does not fit every time becomes smaller, and all start anew."""
    for _ in range(_ATTEMPTS):
        trials: dict[str, list[Trial]] = {name: [] for name in configs}
        misfit = _measure(configs, largest, device, budget, measure, trials)
        if misfit is None:
            return trials
        largest[misfit] -= max(1, largest[misfit] // CLOSE)
    raise UserError(
        f"What fitted compare.memory={measure.memory or budget} does not fit again, even as smaller batches: something "
        "else takes the device's memory. Give less compare.memory."
    )


def _measure(
    configs: Mapping[str, PretrainConfig],
    sizes: Mapping[str, int],
    device: torch.device,
    budget: int,
    measure: MeasureConfig,
    trials: dict[str, list[Trial]],
) -> str | None:
    """Fill `trials`, and return the first that did not fit, if any."""
    for turn in range(measure.rounds):
        for name in list(configs) if turn % 2 else list(configs)[::-1]:
            trial = try_batch(configs[name], device, sizes[name], budget, measure.steps)
            if trial.memory is None:
                return name
            trials[name].append(trial)
    return None


def largest_that_fits(share: Callable[[int], float | None], start: int) -> int:
    """Return a size that fits, of which a sixteenth more (at least 1) does not; 0, if 1 does not.

    Memory grows by nearly as much with each picture, so the next size to try comes from a line through the last two.

    Args:
        share: the share of its limit that a size takes; None where it does not fit. What is smaller than a size that
            fits is taken to fit.
        start: the first size to try.
    """
    found: list[tuple[int, float]] = [(0, 0.0)]
    too_large, size = None, start
    while True:
        taken = share(size)
        if taken is None:
            too_large = size
        else:
            found.append((size, taken))
        if too_large is not None and too_large - found[-1][0] <= max(1, found[-1][0] // CLOSE):
            return found[-1][0]
        size = _next_size(found, too_large)


def _next_size(found: list[tuple[int, float]], too_large: int | None) -> int:
    (before, less), (low, more) = found[-2:] if len(found) > 1 else [found[-1]] * 2
    # A little less than where the line reaches the limit, to come near it from below. Small batches make no line: what
    # they take drowns in what every step takes.
    guess = int(0.97 * (low + (1 - more) * (low - before) / (more - less))) if more > less else 4 * low
    if too_large is None:
        least, most = (2 * low, 8 * low) if more < 0.5 else (low + max(1, low // CLOSE), 2 * low)
        return max(least, min(guess, most))
    edge = (too_large - low) // 8
    return guess if low + edge < guess < too_large - edge else (low + too_large) // 2


def memory_budget(wanted: str | None, device: torch.device) -> int:
    """Bytes that training may take: what the user says, or what the device has free.

    Raises:
        UserError: it is no size, or more than that.
    """
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _free_memory()
    if wanted is None:
        if free is None:
            raise UserError("How much memory is free is not known here: give compare.memory, as 8GB.")
        return free
    size = parse_size(wanted, "compare.memory")
    if free is not None and size > free:
        raise UserError(f"compare.memory={wanted} is more than the {free / 1e9:.1f} GB that {device} has free.")
    return size


def _free_memory() -> int | None:
    """What the system could give without swapping, or the container, where that is less."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    try:
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # no container, or one without a limit
        return free
    return min(free, limit - used)


# ---- in a process of its own ----------------------------------------------------------------------------------------


def try_batch(config: PretrainConfig, device: torch.device, size: int, budget: int, steps: int) -> Trial:
    """Train at a size of batch for a few steps, in a process of its own.

    Args:
        config: whose `run.batch` is not asked.
        device: where.
        size: pictures.
        budget: bytes that training may take, as `peak_memory_bytes` counts them.
        steps: that are timed, their median told.
    """
    try:
        return in_fresh_process(_try, config, device, size, budget, steps)
    except BrokenProcessPool:  # killed by the system, for want of memory
        return Trial(None, 0.0)


def _try(config: PretrainConfig, device: torch.device, size: int, budget: int, steps: int) -> Trial:
    read = min(size, _PICTURES)
    objective, (some,) = first_batches(replace(config, run=replace(config.run, batch=read)), 1)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in objective.state_dict().values())
    try:
        batch = _pinned(repeated(some, size), device)
        before = resident_bytes() - weights
        _limit(device, budget)
        seconds = _train(config, device, objective, batch, steps)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return Trial(None, 0.0)
    # On a GPU what the allocator took, with what it could not hand out.
    peak = torch.cuda.max_memory_reserved(device) if device.type == "cuda" else memory_bytes(device) - before
    return Trial(peak if peak <= budget else None, sorted(seconds)[len(seconds) // 2])


def _train(config: PretrainConfig, device: torch.device, objective: Any, batch: Batch, steps: int) -> list[float]:
    """Seconds of steps, after those that make the optimiser's state."""
    run, optim = config.run, replace(config.optim, warmup=0, cooldown=0)
    trainer = Trainer(
        objective, optim, STEPS_OF_A_RUN, device, run.precision, wants_compile(run.compile, device), run.seed,
        tf32=run.tf32, micro_batch=run.micro_batch,
    )  # fmt: skip
    seconds = []
    for _ in range(MEMORY_STEPS - 1 + steps):
        start = time.perf_counter()
        trainer.step(batch)
        synchronize(device)
        seconds.append(time.perf_counter() - start)
        if seconds[-1] > LONGEST and len(seconds) >= MEMORY_STEPS - 1:
            break
    return seconds[MEMORY_STEPS - 1 :] or seconds[-1:]


def _limit(device: torch.device, budget: int) -> None:
    """Let this process fail rather than the machine, where it would take much more than the budget."""
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, budget / total), device)
    elif sys.platform == "linux":
        status = Path("/proc/self/status").read_text().splitlines()
        taken = next(1024 * int(line.split()[1]) for line in status if line.startswith("VmData:"))
        # Reserved is more than is used: threads' stacks, what the allocator keeps.
        limit = taken + budget + budget // 4 + 2**29
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _pinned(batch: Batch, device: torch.device) -> Batch:
    """The batch in memory from which it goes to a GPU without a stop, as the loader gives it."""
    if device.type != "cuda":
        return batch
    return {key: each.pin_memory() if isinstance(each, torch.Tensor) else each for key, each in batch.items()}


def repeated(batch: Batch, size: int) -> Batch:
    """A batch of `size` pictures: those of another, again and again."""
    count = len(batch["keys"])
    return take(batch, [row % count for row in range(size)])

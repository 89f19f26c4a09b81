"""What one training step costs in memory, and the batches to try it on."""

import multiprocessing
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import TypeVar

import torch

from catclip.captions.counting.processes import end_with_parent
from catclip.config import PretrainConfig
from catclip.data.loader import Batch, Loader, TrainingBatches
from catclip.data.pairs import Pairs
from catclip.data.stream import Stream
from catclip.objectives.base import Objective
from catclip.objectives.build import build_objective
from catclip.train.compiling import wants_compile
from catclip.train.memory import memory_bytes
from catclip.train.trainer import Trainer

T = TypeVar("T")
MEMORY_ROUNDS = 3  # processes that memory is measured in
MEMORY_STEPS = 3  # after the second, the optimiser's state exists; the third meets it


def peak_memory_bytes(config: PretrainConfig, device: torch.device) -> int:
    """What training takes on top of an empty process: model, optimiser, averaged weights, activations.

    A process of its own trains for a few steps, so that objectives do not see each other's memory. On a GPU it is what
    torch allocated there; on a CPU the growth of the resident set, without what the loader's processes need.
    """
    return in_fresh_process(_measure_memory, config, device)


def in_fresh_process(function: Callable[..., T], *arguments: object) -> T:
    """Run a function in a process of its own, forked from one that has imported the libraries and done nothing else.

    It ends with this one, killed or not, rather than keep its memory.

    Raises:
        BrokenProcessPool: the process was killed, as for want of memory.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(1, mp_context=server, initializer=end_with_parent) as pool:
        return pool.submit(function, *arguments).result()


def _measure_memory(config: PretrainConfig, device: torch.device) -> int:
    return training_memory(*first_batches(config, MEMORY_STEPS), config, device)


def training_memory(objective: Objective, batches: list[Batch], config: PretrainConfig, device: torch.device) -> int:
    """The peak, in bytes, of training on some batches, in a process that has done nothing else."""
    # The libraries, the lexicon and the tokenizer are there by now, and so is the model, which counts.
    weights = sum(tensor.numel() * tensor.element_size() for tensor in objective.state_dict().values())
    before = resident_bytes() - weights
    optim = replace(config.optim, warmup=0, cooldown=0)
    run = config.run
    trainer = Trainer(
        objective, optim, len(batches), device, run.precision, wants_compile(run.compile, device), run.seed,
        tf32=run.tf32, micro_batch=run.micro_batch,
    )  # fmt: skip
    for batch in batches:
        trainer.step(batch)
    peak = memory_bytes(device)
    return peak if device.type == "cuda" else peak - before


def first_batches(config: PretrainConfig, count: int) -> tuple[Objective, list[Batch]]:
    """A run's objective as it starts, and the first batches that it would be trained on.

    Raises:
        UserError: what the builders raise; a batch none of whose samples can be read.
    """
    objective, batches = training_batches(config)
    # The share of unreadable samples is not judged by so few: training does.
    return objective, list(Loader(batches, 0, count, workers=0, max_bad=1.0))


def training_batches(config: PretrainConfig) -> tuple[Objective, TrainingBatches]:
    """A run's objective as it starts, and what makes the batches that it would be trained on, of one size of pictures.

    Raises:
        UserError: what the builders raise.
    """
    pairs = Pairs(config.data.sources, config.data)
    objective = build_objective(config.objective, config.backbone, pairs, config.run.seed)
    stream = Stream(pairs.order(config.run.seed, config.data.shuffle), config.run.batch)
    return objective, TrainingBatches(pairs, [objective.targets], config.data, config.backbone.image_size, stream)


def resident_bytes() -> int:
    """Resident set now; where the system does not tell, its peak so far."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

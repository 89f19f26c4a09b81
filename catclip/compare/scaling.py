"""What ranks send each other in a step, measured; and what steps would take on many of them, PREDICTED by a model.

Every rank has `batch` pictures, so N ranks have N times as many. A step on N ranks takes

    t(N) = t(1) + sent(N) / bandwidth,   sent(N) = 2 (N - 1) / N · (G + E · N) + (N - 1) · F

with t(1) measured on one rank; G the bytes of gradients that are all-reduced, E · N those of every other all-reduce
(the gradients of what was gathered, which grow with N), F what a rank gives to be gathered. A ring sends that much.
Nothing is taken to overlap with computing, which makes communication look worse than it is; no latency is counted, and
no growth of the loss with N, which make it look better.

What communication takes is measured too: the same ranks, in turn, take steps that tell the others nothing. The model is
checked by it: with the bandwidth that the fewest ranks had, what more ranks' communication takes is set against what is
measured of theirs.
"""

import json
import os
import signal
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from catclip.compare.ratios import median_figures, ratio_figures
from catclip.config import MeasureConfig, PretrainConfig
from catclip.data.loader import Batch, Loader, TrainingBatches
from catclip.data.pairs import Pairs
from catclip.data.stream import Stream
from catclip.errors import UserError
from catclip.objectives.build import build_objective
from catclip.train.compiling import wants_compile
from catclip.train.distributed import process_group, rank, ranks
from catclip.train.memory import is_out_of_memory
from catclip.train.run import synchronize
from catclip.train.trainer import Trainer

GPUS = (8, 64, 256, 1024)
ROUNDS = 3  # each starts processes of its own for every side, which takes longer than the steps
_BILLION = 1e9  # pictures
_WARM = 3  # steps: the first makes what later ones only use, in the second DDP arranges its buckets anew


@dataclass
class Traffic:
    """Bytes that a rank gives to the collective operations of a step, and the step's time.

    Attributes:
        gradients: all-reduced by DDP; `reduced`: by everything else; `gathered`: to all ranks.
        seconds: of a step.
        communication: of those, what a step that tells the other ranks nothing does not take; below 0 where that is
            less than the noise.
    """

    gradients: int = 0
    reduced: int = 0
    gathered: int = 0
    seconds: float = 0.0
    communication: float = 0.0

    def sent(self, count: int) -> float:
        """Bytes that a rank of `count`, on which this was measured, sends in a step over a ring."""
        return 2 * (count - 1) / count * (self.gradients + self.reduced) + (count - 1) * self.gathered

    def on(self, count: int, measured: int) -> "Traffic":
        """The same of other ranks than the `measured`."""
        return replace(self, reduced=round(self.reduced / measured * count))


# ---- measured -------------------------------------------------------------------------------------------------------


def scaling_figures(
    configs: Mapping[str, PretrainConfig], device: torch.device, measure: MeasureConfig
) -> dict[str, Any]:
    """Measure the objectives' steps on some numbers of ranks, and predict those on many.

    Args:
        configs: by the objective's name; `run.batch` is a rank's here.
        device: `cuda`: a GPU a rank, as far as there are any; `cpu`.
        measure: ranks to measure, 1 first and rising; the prediction's bandwidth; steps in a turn, of which the median
            counts. The objectives take `ROUNDS` turns each on every number of ranks.

    Returns:
        `scaling.measured_ranks`, `.gpus` (those predicted), `.bandwidth`, `.batch_per_rank`; of each objective
        `scaling.<name>.bytes_per_step`, what a rank sends on the most ranks measured; of each number of ranks
        `.bytes_per_step_at_<n>`, `.gradient_bytes_at_<n>`, `.gathered_bytes_at_<n>`, `.seconds_at_<n>` with `.spread`;
        of more than one rank `.communication_seconds_at_<n>` with `.low` and `.high`, from the least to the most that a
        round saw; where three were measured `.bytes_error_at_<n>` and `.communication_error_at_<n>`, the model's
        relative errors in what is sent and in how long that takes, with the bytes of two ranks and the bandwidth that
        they had (`.fitted_bandwidth`); `.predicted_images_per_second_at_<n>`,
        `.predicted_gpu_hours_per_billion_at_<n>`; of all but the first
        `scaling.ratio.<name>_to_<first>.seconds_at_<n>` as `ratio_figures`.

    Raises:
        UserError: what the builders raise; too little memory.
    """
    counts, bandwidth = measure.ranks, measure.bandwidth
    batch = next(iter(configs.values())).run.batch
    results: dict[str, Any] = {
        "scaling.measured_ranks": list(counts), "scaling.gpus": list(GPUS), "scaling.bandwidth": bandwidth,
        "scaling.batch_per_rank": batch,
    }  # fmt: skip
    rounds = [_round(configs, counts, device, measure.steps, turn) for turn in range(ROUNDS)]
    first = next(iter(configs))
    for name in configs:
        seconds = {count: [each[name, count].seconds for each in rounds] for count in counts}
        found = {count: _median([each[name, count] for each in rounds]) for count in counts}
        results |= {f"scaling.{name}.{key}": value for key, value in _figures(found, batch, bandwidth).items()}
        for count in counts:
            results |= median_figures(f"scaling.{name}.seconds_at_{count}", seconds[count])
            if count > 1:
                results |= _communication(name, count, [each[name, count] for each in rounds])
            if name != first:
                others = [each[first, count].seconds for each in rounds]
                results |= ratio_figures(f"scaling.ratio.{name}_to_{first}.seconds_at_{count}", seconds[count], others)
    return results


def _round(
    configs: Mapping[str, PretrainConfig], counts: Sequence[int], device: torch.device, steps: int, turn: int
) -> dict[tuple[str, int], Traffic]:
    """Measure every objective once on every number of ranks; who comes first alternates."""
    names = list(configs) if turn % 2 else list(configs)[::-1]
    return {(name, count): measure_on(count, configs[name], device.type, steps) for count in counts for name in names}


def _median(rounds: Sequence[Traffic]) -> Traffic:
    """What they sent, which is the same in all, and the medians of their times."""
    return replace(
        rounds[0],
        seconds=statistics.median(each.seconds for each in rounds),
        communication=statistics.median(each.communication for each in rounds),
    )


def _communication(name: str, count: int, rounds: Sequence[Traffic]) -> dict[str, float]:
    longer = [each.communication for each in rounds]
    key = f"scaling.{name}.communication_seconds_at_{count}"
    return {key: statistics.median(longer), f"{key}.low": min(longer), f"{key}.high": max(longer)}


def _figures(found: Mapping[int, Traffic], batch: int, bandwidth: float) -> dict[str, float]:
    counts = list(found)
    figures: dict[str, float] = {"bytes_per_step": found[counts[-1]].sent(counts[-1])}
    for count, traffic in found.items():
        figures |= {
            f"bytes_per_step_at_{count}": traffic.sent(count), f"gradient_bytes_at_{count}": traffic.gradients,
            f"gathered_bytes_at_{count}": traffic.gathered, f"seconds_at_{count}": traffic.seconds,
        }  # fmt: skip
    second = found[counts[1]]
    if second.communication > 0:
        figures["fitted_bandwidth"] = second.sent(counts[1]) / second.communication
    for count in counts[2:]:
        sent = second.on(count, counts[1]).sent(count)
        figures[f"bytes_error_at_{count}"] = sent / found[count].sent(count) - 1
        if second.communication > 0 and found[count].communication > 0:
            seconds = sent / figures["fitted_bandwidth"]
            figures[f"communication_error_at_{count}"] = seconds / found[count].communication - 1
    for count in GPUS:
        seconds = found[1].seconds + second.on(count, counts[1]).sent(count) / bandwidth
        rate = count * batch / seconds
        figures[f"predicted_images_per_second_at_{count}"] = rate
        figures[f"predicted_gpu_hours_per_billion_at_{count}"] = count * _BILLION / rate / 3600
    return figures


def measure_on(count: int, config: PretrainConfig, device: str, steps: int) -> Traffic:
    """Take steps on so many ranks, processes of their own, and return what rank 0 saw."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        try:
            mp.start_processes(_rank, (count, port, folder, config, device, steps), nprocs=count, start_method="spawn")
        except (mp.ProcessRaisedException, mp.ProcessExitedException) as error:
            failed = sorted(Path(folder).glob("failed-*"), key=lambda file: file.stat().st_mtime_ns)
            if failed:  # the others fail then, for one is gone
                raise UserError(failed[0].read_text()) from error
            if getattr(error, "exit_code", 0) == -signal.SIGKILL:
                raise UserError(
                    f"A rank was killed, most likely for want of memory. {_too_large(count, config)}"
                ) from error
            raise
        return Traffic(**json.loads((Path(folder) / "traffic.json").read_text()))


def _rank(own: int, count: int, port: int, folder: str, config: PretrainConfig, device: str, steps: int) -> None:
    """One rank's process: what rank 0 saw is left in `folder`, and what a user's mistake a rank fails by."""
    try:
        _take_part(own, count, port, folder, config, device, steps)
    except (UserError, RuntimeError, MemoryError) as error:
        if isinstance(error, UserError):
            (Path(folder) / f"failed-{own}").write_text(str(error))
        elif is_out_of_memory(error):
            (Path(folder) / f"failed-{own}").write_text(f"Out of memory. {_too_large(count, config)}")
        raise


def _too_large(count: int, config: PretrainConfig) -> str:
    return (
        f"Scaling is that of whole batches, without run.micro_batch, here {count} of {config.run.batch:,} pictures: "
        "give a smaller run.batch, or fewer compare.ranks."
    )


def _take_part(own: int, count: int, port: int, folder: str, config: PretrainConfig, device: str, steps: int) -> None:
    os.environ |= {"RANK": str(own), "LOCAL_RANK": str(own), "WORLD_SIZE": str(count)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(max(1, torch.get_num_threads() // count))  # ranks of one machine share its cores
    with process_group():
        traffic = measure_here(config, device, steps)
    if own == 0:
        (Path(folder) / "traffic.json").write_text(json.dumps(asdict(traffic)))


def measure_here(config: PretrainConfig, kind: str, steps: int) -> Traffic:
    """What a step moves and takes on the ranks of the process group, each with `config.run.batch` pictures."""
    trainer, batch = rank_trainer(config, torch.device(kind), 2 * steps + _WARM + 1)
    for _ in range(_WARM):
        trainer.step(batch)
    seconds, longer = [], []
    for t in range(steps):  # in turn: what else the machine does hits both alike
        taken = {}
        for tells in (True, False) if t % 2 else (False, True):
            with nullcontext() if tells else silenced(trainer):
                taken[tells] = _timed(trainer, batch)
        seconds.append(taken[True])
        longer.append(taken[True] - taken[False])
    with counted(trainer) as traffic:
        trainer.step(batch)
    return replace(traffic, seconds=statistics.median(seconds), communication=statistics.median(longer))


def rank_trainer(config: PretrainConfig, device: torch.device, steps: int) -> tuple[Trainer, Batch]:
    """What trains the objective on this rank for so many steps, and a batch of its own."""
    pairs = Pairs(config.data.sources, config.data)
    objective = build_objective(config.objective, config.backbone, pairs, config.run.seed)
    stream = Stream(pairs.order(config.run.seed, config.data.shuffle, ranks()), config.run.batch, rank())
    batches = TrainingBatches(pairs, [objective.targets], config.data, config.backbone.image_size, stream)
    (batch,) = Loader(batches, 0, 1, workers=0, max_bad=1.0, pin=device.type == "cuda")
    optim, run = replace(config.optim, warmup=0, cooldown=0), config.run
    trainer = Trainer(
        objective, optim, steps, device, run.precision, wants_compile(run.compile, device), run.seed, tf32=run.tf32
    )
    return trainer, batch


def _timed(trainer: Trainer, batch: Batch) -> float:
    start = time.perf_counter()
    trainer.step(batch)
    synchronize(trainer.device)
    return time.perf_counter() - start


@contextmanager
def silenced(trainer: Trainer) -> Iterator[None]:
    """Steps in the block compute as ever and tell the other ranks nothing but how many pictures they have.

    Gradients stay where they are, and for what would be gathered each takes its own.
    """
    reduce = dist.all_reduce

    def all_reduce(tensor: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        # Counts are whole numbers: with them ranks wait for each other, as they do in any step.
        return None if tensor.is_floating_point() else reduce(tensor, *arguments, **options)

    def all_gather(parts: list[torch.Tensor], tensor: torch.Tensor, *_: Any, **__: Any) -> None:
        for part in parts:
            part.copy_(tensor)

    def reduce_scatter(own: torch.Tensor, parts: torch.Tensor, *_: Any, **__: Any) -> None:
        own.copy_(parts[: len(own)])

    with ExitStack() as stack:
        for module in _parallel(trainer):
            stack.enter_context(module.no_sync())
        stack.enter_context(_in_place_of(all_reduce, all_gather, reduce_scatter))
        yield


@contextmanager
def _in_place_of(all_reduce: Any, all_gather: Any, reduce_scatter: Any) -> Iterator[None]:
    """Have what steps call do something else: `dist.all_reduce`, `all_gather` and `reduce_scatter_tensor`."""
    names = ("all_reduce", "all_gather", "reduce_scatter_tensor")
    own = [getattr(dist, name) for name in names]
    for name, other in zip(names, (all_reduce, all_gather, reduce_scatter), strict=True):
        setattr(dist, name, other)
    try:
        yield
    finally:
        for name, each in zip(names, own, strict=True):
            setattr(dist, name, each)


def _parallel(trainer: Trainer) -> list[DistributedDataParallel]:
    return [each for each in trainer.shared.modules() if isinstance(each, DistributedDataParallel)]


@contextmanager
def counted(trainer: Trainer) -> Iterator[Traffic]:
    """Count what a rank gives to collective operations in the block; once a trainer."""
    traffic = Traffic()
    reduce, gather, scatter = dist.all_reduce, dist.all_gather, dist.reduce_scatter_tensor

    def all_reduce(tensor: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        traffic.reduced += tensor.nbytes
        return reduce(tensor, *arguments, **options)

    def reduce_scatter(own: torch.Tensor, parts: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        traffic.reduced += parts.nbytes // 2  # a ring sends half of what an all-reduce of it sends
        return scatter(own, parts, *arguments, **options)

    def all_gather(parts: list[torch.Tensor], tensor: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        traffic.gathered += tensor.nbytes
        return gather(parts, tensor, *arguments, **options)

    def gradients(_: Any, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        traffic.gradients += bucket.buffer().nbytes
        work: Any = reduce(bucket.buffer().div_(ranks()), async_op=True)
        return work.get_future().then(lambda done: done.value()[0])

    for module in _parallel(trainer):
        module.register_comm_hook(None, gradients)
    with _in_place_of(all_reduce, all_gather, reduce_scatter):
        yield traffic

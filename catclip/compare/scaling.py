"""What ranks send each other in a step, measured; and what steps would take on many of them, PREDICTED by a model.

Every rank has `batch` pictures, so N ranks have N times as many. A step on N ranks takes

    t(N) = t(1) + sent(N) / bandwidth,   sent(N) = 2 (N - 1) / N · (G + E · N) + (N - 1) · F

with t(1) measured on one rank; G the bytes of gradients that are all-reduced, E · N those of every other all-reduce
(the gradients of what was gathered, which grow with N), F what a rank gives to be gathered. A ring sends that much.
Nothing is taken to overlap with computing, which makes communication look worse than it is; no latency is counted, and
no growth of the loss with N, which make it look better.
"""

import json
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from catclip.compare.ratios import median_figures, ratio_figures
from catclip.config import MeasureConfig, PretrainConfig
from catclip.data.loader import Loader, TrainingBatches
from catclip.data.pairs import Pairs
from catclip.data.stream import Stream
from catclip.objectives.build import build_objective
from catclip.train.distributed import process_group, rank, ranks
from catclip.train.run import synchronize
from catclip.train.trainer import Trainer

GPUS = (8, 64, 256, 1024)
ROUNDS = 3  # each starts processes of its own for every side, which takes longer than the steps
_BILLION = 1e9  # pictures


@dataclass
class Traffic:
    """Bytes that a rank gives to the collective operations of a step, and the step's time.

    Attributes:
        gradients: all-reduced by DDP; `reduced`: by everything else; `gathered`: to all ranks.
    """

    gradients: int = 0
    reduced: int = 0
    gathered: int = 0
    seconds: float = 0.0

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
        where three were measured `.bytes_error_at_<n>` and `.seconds_error_at_<n>`, the model's relative errors, fitted
        to the two lowest; `.predicted_images_per_second_at_<n>`, `.predicted_gpu_hours_per_billion_at_<n>`; of all but
        the first `scaling.ratio.<name>_to_<first>.seconds_at_<n>` as `ratio_figures`.

    Raises:
        torch.multiprocessing.ProcessRaisedException: a rank fails.
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
        found = {n: replace(rounds[0][name, n], seconds=statistics.median(seconds[n])) for n in counts}
        results |= {f"scaling.{name}.{key}": value for key, value in _figures(found, batch, bandwidth).items()}
        for count in counts:
            results |= median_figures(f"scaling.{name}.seconds_at_{count}", seconds[count])
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


def _figures(found: Mapping[int, Traffic], batch: int, bandwidth: float) -> dict[str, float]:
    counts = list(found)
    figures: dict[str, float] = {"bytes_per_step": found[counts[-1]].sent(counts[-1])}
    for count, traffic in found.items():
        figures |= {
            f"bytes_per_step_at_{count}": traffic.sent(count), f"gradient_bytes_at_{count}": traffic.gradients,
            f"gathered_bytes_at_{count}": traffic.gathered, f"seconds_at_{count}": traffic.seconds,
        }  # fmt: skip
    second = found[counts[1]]
    # What these ranks can send a second, by the time that the second of them takes longer.
    slower = second.seconds - found[1].seconds
    for count in counts[2:]:
        sent = second.on(count, counts[1]).sent(count)
        figures[f"bytes_error_at_{count}"] = sent / found[count].sent(count) - 1
        if slower > 0:
            seconds = found[1].seconds + sent / (second.sent(counts[1]) / slower)
            figures[f"seconds_error_at_{count}"] = seconds / found[count].seconds - 1
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
        mp.start_processes(_rank, (count, port, folder, config, device, steps), nprocs=count, start_method="spawn")
        return Traffic(**json.loads((Path(folder) / "traffic.json").read_text()))


def _rank(own: int, count: int, port: int, folder: str, config: PretrainConfig, device: str, steps: int) -> None:
    os.environ |= {"RANK": str(own), "LOCAL_RANK": str(own), "WORLD_SIZE": str(count)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with process_group():
        traffic = measure_here(config, device, steps)
    if own == 0:
        (Path(folder) / "traffic.json").write_text(json.dumps(asdict(traffic)))


def measure_here(config: PretrainConfig, kind: str, steps: int) -> Traffic:
    """What a step moves and takes on the ranks of the process group, each with `config.run.batch` pictures."""
    pairs = Pairs(config.data.sources, config.data)
    objective = build_objective(config.objective, config.backbone, pairs, config.run.seed)
    stream = Stream(pairs.order(config.run.seed, config.data.shuffle, ranks()), config.run.batch, rank())
    batches = TrainingBatches(pairs, [objective.targets], config.data, config.backbone.image_size, stream)
    (batch,) = Loader(batches, 0, 1, workers=0, max_bad=1.0)
    device = torch.device(kind)
    optim = replace(config.optim, warmup=0, cooldown=0)
    trainer = Trainer(objective, optim, steps + 2, device, config.run.precision)
    trainer.step(batch)  # the first makes what later ones only use
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        trainer.step(batch)
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    with counted(trainer) as traffic:
        trainer.step(batch)
    traffic.seconds = statistics.median(seconds)
    return traffic


@contextmanager
def counted(trainer: Trainer) -> Iterator[Traffic]:
    """Count what a rank gives to collective operations in the block; once a trainer."""
    traffic = Traffic()
    reduce, gather = dist.all_reduce, dist.all_gather

    def all_reduce(tensor: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        traffic.reduced += tensor.nbytes
        return reduce(tensor, *arguments, **options)

    def all_gather(parts: list[torch.Tensor], tensor: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        traffic.gathered += tensor.nbytes
        return gather(parts, tensor, *arguments, **options)

    def gradients(_: Any, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        traffic.gradients += bucket.buffer().nbytes
        work: Any = reduce(bucket.buffer().div_(ranks()), async_op=True)
        return work.get_future().then(lambda done: done.value()[0])

    for module in trainer.shared.modules():
        if isinstance(module, DistributedDataParallel):
            module.register_comm_hook(None, gradients)
    dist.all_reduce, dist.all_gather = all_reduce, all_gather  # type: ignore[assignment]
    try:
        yield traffic
    finally:
        dist.all_reduce, dist.all_gather = reduce, gather

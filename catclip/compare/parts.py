"""What a training step of each objective takes at the same batch, stage by stage, beside others' steps.

All sides are in one process and take turns, each on the same pictures. In its turn a side makes a batch, takes steps as
in training, and takes steps of which each stage is waited for.
"""

import copy
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from catclip.compare.full_step import STEPS_OF_A_RUN, Setting, seconds_a_step
from catclip.compare.peers import Peer, peer_steps
from catclip.compare.ratios import median_figures, ratio_figures
from catclip.compare.stages import STAGES, staged_bytes, staged_operations, staged_step
from catclip.compare.step import MEMORY_ROUNDS, peak_memory_bytes, training_batches
from catclip.config import MeasureConfig, PretrainConfig
from catclip.data.loader import Batch, Loader, TrainingBatches
from catclip.objectives.base import Objective
from catclip.train.compiling import wants_compile
from catclip.train.flops import peak_rate
from catclip.train.run import synchronize
from catclip.train.trainer import Trainer

PARTS = ("data", *STAGES, "communication")  # of one process, which has nobody to talk to


@dataclass(frozen=True)
class Side:
    """One of our objectives in training: what makes its batches, and the one that it trains on."""

    trainer: Trainer
    batches: TrainingBatches
    batch: Batch


def step_figures(configs: Mapping[str, PretrainConfig], device: torch.device, measure: MeasureConfig) -> dict[str, Any]:
    """Measure the steps of several objectives, which differ in nothing else.

    Args:
        configs: by the objective's name. A batch is computed as a whole, whatever `run.micro_batch` says.
        device: where.
        measure: rounds, steps, peers.

    Returns:
        Of each side, peers too, `step.<side>.milliseconds`, its median over rounds, with `.spread`; of an objective
        also `step.<name>.<part>.milliseconds|flops|bytes` by `PARTS`, data by one process; `.images_per_second`,
        `.peak_memory_bytes`, `.flops`, `.bytes`, `.flops_per_second`, and `.mfu` where the device's peak rate is known.
        `step.ratio.<side>_to_<name>.milliseconds|peak_memory_bytes|flops` as `ratio_figures`.

    Raises:
        UserError: what the builders raise.
    """
    run = next(iter(configs.values())).run
    setting = Setting(device, run.precision, wants_compile(run.compile, device), measure.steps, measure.rounds)
    results: dict[str, Any] = {
        "step.batch": run.batch, "step.precision": run.precision, "step.compile": setting.compile, "step.ranks": 1,
        "step.rounds": measure.rounds, "step.steps": measure.steps,
    }  # fmt: skip
    memory = _memory(configs, device)  # before anything else is on the device
    objectives, makers, batches = {}, {}, {}
    for name, config in configs.items():
        objectives[name], makers[name] = training_batches(config)
        (batches[name],) = Loader(makers[name], 0, 1, workers=0, max_bad=1.0, pin=device.type == "cuda")
        results |= _counts(name, config, objectives[name], batches[name], device)
    # What runs in fp16 scales its gradients, which the others leave to whoever calls them.
    wanted = measure.peers and run.precision in ("bf16", "fp32")
    optim = next(iter(configs.values())).optim
    peers = peer_steps(objectives, batches, setting, optim) if wanted else {}
    sides = {
        name: Side(_trainer(objectives[name], config, setting), makers[name], batches[name])
        for name, config in configs.items()
    }
    rounds = _rounds(sides, peers, setting)
    for name in sides:
        results |= _figures(name, rounds, memory[name], results, setting)
    results |= _ratios(list(sides), peers, rounds, memory, results)
    return results


def _trainer(objective: Objective, config: PretrainConfig, setting: Setting) -> Trainer:
    optim = replace(config.optim, warmup=0, cooldown=0)
    run = config.run
    return Trainer(
        objective, optim, STEPS_OF_A_RUN, setting.device, run.precision, setting.compile, run.seed, tf32=run.tf32
    )


# ---- counted, once ------------------------------------------------------------------------------------------------


def _counts(
    name: str, config: PretrainConfig, objective: Objective, batch: Batch, device: torch.device
) -> dict[str, float]:
    """Operations and bytes of each part, of a copy that is not compiled."""
    operations = Counter(staged_operations(objective, batch))
    plain = _trainer(copy.deepcopy(objective), config, Setting(device, config.run.precision, False, 1, 1))
    plain.step(batch)
    moved = Counter(staged_bytes(plain, batch))
    # Made there, and read once more on the way to the device.
    moved["data"] = moved["to_device"] = sum(
        each.numel() * each.element_size() for each in batch.values() if isinstance(each, torch.Tensor)
    )
    counts: dict[str, float] = {}
    for key, found in (("flops", operations), ("bytes", moved)):
        counts |= {f"step.{name}.{part}.{key}": float(found[part]) for part in PARTS}
        counts[f"step.{name}.{key}"] = float(found.total())
    return counts


# ---- measured, in turn --------------------------------------------------------------------------------------------


def _rounds(sides: Mapping[str, Side], peers: Mapping[str, Peer], setting: Setting) -> list[dict[str, float]]:
    """Of each round the seconds of a step by side, and of its parts by `side.part`."""
    turns: dict[str, Callable[[int], dict[str, float]]] = {
        name: lambda t, name=name, side=side: _turn(name, side, t, setting)  # type: ignore[misc]
        for name, side in sides.items()
    }
    for name, peer in peers.items():
        turns[name] = lambda _, name=name, peer=peer: {name: seconds_a_step(peer.step, setting)}  # type: ignore[misc]
    rounds = []
    for t in range(setting.rounds + 1):
        # Who comes first alternates: neither always finds the caches as the same other left them.
        names = list(turns) if t % 2 else list(reversed(turns))
        taken = [turns[name](t) for name in names]
        rounds.append({key: value for each in taken for key, value in each.items()})
    return rounds[1:]


def _turn(name: str, side: Side, t: int, setting: Setting) -> dict[str, float]:
    start = time.perf_counter()
    side.batches[t]
    parts = Counter({"data": time.perf_counter() - start})
    taken = {name: seconds_a_step(lambda: side.trainer.step(side.batch), setting)}

    def clock() -> float:
        synchronize(setting.device)
        return time.perf_counter()

    for _ in range(setting.steps):
        for part, seconds in staged_step(side.trainer, side.batch, clock).items():
            parts[part] += seconds / setting.steps  # type: ignore[assignment]  # seconds, where a Counter is said to count
    return taken | {f"{name}.{part}": float(parts[part]) for part in PARTS}


def _memory(configs: Mapping[str, PretrainConfig], device: torch.device) -> dict[str, list[float]]:
    memory: dict[str, list[float]] = {name: [] for name in configs}
    for _ in range(MEMORY_ROUNDS):
        for name, config in configs.items():
            whole = replace(config, run=replace(config.run, micro_batch=None))
            memory[name].append(float(peak_memory_bytes(whole, device)))
    return memory


# ---- told ---------------------------------------------------------------------------------------------------------


def _figures(
    name: str, rounds: list[dict[str, float]], memory: list[float], counts: Mapping[str, Any], setting: Setting
) -> dict[str, float]:
    figures = median_figures(f"step.{name}.peak_memory_bytes", memory)
    for part in PARTS:
        figures |= median_figures(
            f"step.{name}.{part}.milliseconds", [1000 * each[f"{name}.{part}"] for each in rounds]
        )
    figures |= median_figures(f"step.{name}.milliseconds", [1000 * each[name] for each in rounds])
    seconds = figures[f"step.{name}.milliseconds"] / 1000
    figures[f"step.{name}.images_per_second"] = counts["step.batch"] / seconds
    rate = figures[f"step.{name}.flops_per_second"] = counts[f"step.{name}.flops"] / seconds
    if setting.device.type == "cuda":
        gpu, tf32 = torch.cuda.get_device_name(setting.device), torch.backends.cuda.matmul.allow_tf32
        if peak := peak_rate(gpu, setting.precision, tf32):
            figures[f"step.{name}.mfu"] = rate / peak
    return figures


def _ratios(
    names: list[str],
    peers: Mapping[str, Peer],
    rounds: list[dict[str, float]],
    memory: Mapping[str, list[float]],
    counts: Mapping[str, Any],
) -> dict[str, Any]:
    """Of each other objective to the first, and of each peer to its counterpart."""
    ratios: dict[str, Any] = {}
    compared = [(name, names[0]) for name in names[1:]] + [(name, peer.beside) for name, peer in peers.items()]
    for name, base in compared:
        key = f"step.ratio.{name}_to_{base}"
        ratios |= ratio_figures(f"{key}.milliseconds", *([each[side] for each in rounds] for side in (name, base)))
    for name in peers:
        ratios |= median_figures(f"step.{name}.milliseconds", [1000 * each[name] for each in rounds])
    for name in names[1:]:
        key = f"step.ratio.{name}_to_{names[0]}"
        ratios |= ratio_figures(f"{key}.peak_memory_bytes", memory[name], memory[names[0]])
        ratios[f"{key}.flops"] = counts[f"step.{name}.flops"] / counts[f"step.{names[0]}.flops"]
    return ratios

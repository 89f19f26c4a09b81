"""From configurations to runs in training: what `pretrain`, with one objective, and `compare`, with several, share."""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape

from catclip.config import OptimConfig, PretrainConfig
from catclip.data.batch_sizes import BatchSizes
from catclip.data.device_decoding import DeviceDecoder, device_decoder
from catclip.data.loader import Loader, TrainingBatches
from catclip.data.order import Order
from catclip.data.pairs import Pairs
from catclip.data.stream import Stream
from catclip.data.targets import keep_apart
from catclip.errors import UserError, check_choice
from catclip.evaluate.held_out import HeldOut
from catclip.files import locked
from catclip.objectives.base import Objective
from catclip.objectives.build import build_objective
from catclip.train.checkpoint import list_checkpoints, step_of
from catclip.train.compiling import wants_compile
from catclip.train.distributed import kept_on_first, on_first, rank, ranks
from catclip.train.durations import Duration, Every, Length, in_steps, parse_duration, parse_interval, run_length
from catclip.train.finite import FiniteWatch
from catclip.train.fit import Plan, fit
from catclip.train.flops import Utilization
from catclip.train.folder import RunFolder
from catclip.train.precision import SETTINGS, multiplies_bf16, pick_precision
from catclip.train.run import Evaluation, Run, tracked
from catclip.train.track import Tracker, TrainingConsole, check_tensorboard
from catclip.train.trainer import Trainer
from catclip.verbs.batch_sizes import plan_batch_sizes
from catclip.verbs.evaluators import build_evaluators, check_evaluators
from catclip.verbs.indexing import open_pairs
from catclip.verbs.retrieval_evaluator import Retrieval


def check(config: PretrainConfig) -> None:
    """Raise `UserError` for settings that no run can have, before its folder is made with them."""
    run, optim, track, decay = config.run, config.optim, config.track, config.optim.layer_decay
    check_choice("run.precision", run.precision, SETTINGS)
    check_choice("run.sharding", run.sharding, ["ddp", "fsdp"])
    check_choice("optim.schedule", optim.schedule, ["cosine", "linear", "constant"])
    check_choice("track.wandb", track.wandb, ["disabled", "offline", "online"])
    limits = [
        ("run.skip_nonfinite", run.skip_nonfinite, run.skip_nonfinite >= 0, "at least 0"),
        ("run.batch", run.batch, run.batch % ranks() == 0, f"a multiple of the ranks, of which there are {ranks()}"),
        ("run.micro_batch", run.micro_batch, run.micro_batch is None or run.micro_batch >= 1, "at least 1, or null"),
        ("run.keep", run.keep, run.keep >= 1, "at least 1"),
        ("run.seed", run.seed, run.seed >= 0, "at least 0"),
        ("data.workers", config.data.workers, config.data.workers >= 0, "at least 0"),
        ("optim.lr", optim.lr, optim.lr >= 0, "at least 0"),
        ("optim.min_lr", optim.min_lr, 0 <= optim.min_lr <= optim.lr, f"at least 0 and at most optim.lr={optim.lr}"),
        ("optim.weight_decay", optim.weight_decay, optim.weight_decay >= 0, "at least 0"),
        ("optim.betas", optim.betas, len(optim.betas) == 2 and all(0 <= b < 1 for b in optim.betas), "two below 1"),
        ("optim.layer_decay", decay, decay is None or 0 < decay <= 1, "above 0 and at most 1, or null"),
        ("optim.clip", optim.clip, optim.clip is None or optim.clip > 0, "above 0, or null"),
        ("optim.ema", optim.ema, optim.ema is None or 0 < optim.ema <= 1, "above 0 and at most 1, or null"),
    ]
    for key, value, fine, wanted in limits:
        if not fine:
            raise UserError(f"{key}={value} must be {wanted}.")
    wants_compile(run.compile, torch.device("cpu"))
    parse_duration(optim.warmup, "optim.warmup")
    parse_duration(optim.cooldown, "optim.cooldown")
    if run.evaluate_every is not None:
        parse_interval(run.evaluate_every, "run.evaluate_every")
    intervals(config)
    check_evaluators(config)
    if track.tensorboard:
        check_tensorboard()


def intervals(config: PretrainConfig) -> tuple[Duration, Duration]:
    """Between two rows of numbers, and between two checkpoints."""
    return (
        parse_interval(config.track.log_every, "track.log_every"),
        parse_interval(config.run.checkpoint_every, "run.checkpoint_every"),
    )


def optim_in_steps(optim: OptimConfig, length: Length) -> OptimConfig:
    """The optimiser's configuration with its durations as numbers of steps."""
    warmup, cooldown = parse_duration(optim.warmup, "optim.warmup"), parse_duration(optim.cooldown, "optim.cooldown")
    return replace(optim, warmup=in_steps(warmup, length), cooldown=in_steps(cooldown, length))


def pick_device(name: str, key: str = "run.device") -> torch.device:
    """`auto` is the GPU where there is one; `key` is what the user calls the choice.

    Raises:
        UserError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"{key}={name} is no device: {str(error).splitlines()[0]}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"{key}={name}: this machine has {torch.cuda.device_count()} CUDA device(s).")
    return device


def train(configs: Mapping[str, PretrainConfig], folders: Mapping[str, Path], label: str) -> list[Run]:
    """Train the configured runs together, each on every batch, resuming what was begun.

    Args:
        configs: by the run's name; they share everything but the objective.
        folders: the run folders, by the same names.
        label: what the progress bar says.

    Raises:
        UserError: another process trains in one of the folders; what `fit` and the builders of its parts raise.
    """
    config = next(iter(configs.values()))
    for each in configs.values():
        check(each)
    device = pick_device(config.run.device)
    decoder = device_decoder(config.data.decode, device)
    pairs = open_pairs(Console(quiet=rank() > 0), config.data.sources, config.data)
    order = pairs.order(config.run.seed, config.data.shuffle, ranks())
    sizes_in = plan_batch_sizes(config, order.ranks)
    seen_in = None if sizes_in is None else lambda steps: sizes_in(steps).before
    length = run_length(config.run, order.epoch_length, seen_in)
    sizes = None if sizes_in is None else sizes_in(length.steps)
    optim = optim_in_steps(config.optim, length)
    objectives = {
        name: build_objective(each.objective, each.backbone, pairs, each.run.seed) for name, each in configs.items()
    }
    built = build_evaluators(config, device)
    evaluations = [Evaluation(name, each, Every(interval, length)) for name, (each, interval) in built.items()]
    with ExitStack() as locks:

        def lock() -> None:
            for folder in folders.values():
                locks.enter_context(locked(folder, "trains in"))

        on_first(lock)
        runs = make_runs(configs, folders, objectives, evaluations, optim, length.steps, device)
        with tracked(runs):
            _fit(runs, pairs, order, config, length, sizes, label, decoder)
    return runs


def make_runs(
    configs: Mapping[str, PretrainConfig],
    folders: Mapping[str, Path],
    objectives: Mapping[str, Objective],
    evaluations: list[Evaluation],
    optim: OptimConfig,
    steps: int,
    device: torch.device,
) -> list[Run]:
    """Each run, fresh or at the last step of which all have a checkpoint."""
    run_folders = on_first(lambda: {name: RunFolder(folders[name], each) for name, each in configs.items()})
    start = on_first(lambda: common_step(run_folders.values()))
    runs: list[Run] = []
    for name, each in configs.items():
        setting, folder = each.run, run_folders[name]
        precision = pick_precision(setting.precision, device)
        utilization = Utilization(objectives[name], device, precision, setting.tf32)
        trainer = Trainer(
            objectives[name], optim, steps, device, precision, wants_compile(setting.compile, device),
            setting.seed, skip_nonfinite=setting.skip_nonfinite > 0, tf32=setting.tf32,
            micro_batch=setting.micro_batch, sharding=setting.sharding,
        )  # fmt: skip
        finite = FiniteWatch(name, folder, setting.skip_nonfinite)
        runs.append(Run(name, folder, trainer, None, evaluations, finite, utilization))
        runs[-1].resume(start)
    for run in runs:  # last: what fails before has none to close
        run.tracker = kept_on_first(lambda: _tracker(run, start))  # noqa: B023
    return runs


def _tracker(run: Run, start: int) -> Tracker:
    config = run.folder.config
    return Tracker(run.folder.path, config.track, config.run.name or run.name, start, asdict(config))


def _fit(
    runs: list[Run],
    pairs: Pairs,
    order: Order,
    config: PretrainConfig,
    length: Length,
    sizes: BatchSizes | None,
    label: str,
    decoder: DeviceDecoder | None,
) -> None:
    trainers = [run.trainer for run in runs]
    start = trainers[0].step_number
    own = config.run.batch // ranks()
    stream = Stream(order, own, rank(), sizes=sizes)
    if start:
        stream = Stream.resume(order, own, rank(), start, runs[0].data, sizes)
    targets = keep_apart([trainer.objective.targets for trainer in trainers])
    batches = TrainingBatches(pairs, targets, config.data, config.backbone.image_size, stream, decoder is not None)
    pin = trainers[0].device.type == "cuda"
    loader = Loader(
        batches, start, length.steps, workers=config.data.workers, max_bad=config.data.max_bad, pin=pin, finish=decoder
    )
    # The share of unreadable samples is judged over the whole run, whatever part of it this is.
    if rank() == 0:
        loader.samples, loader.bad = length.seen(start), Counter(runs[0].skipped)
    console = TrainingConsole(length.steps, start, Console(quiet=rank() > 0), label)
    _announce(console, runs, pairs, loader, stream.note)
    if config.run.batch > order.epoch_length:
        console.line(
            f"[yellow]A batch of {config.run.batch:,} is more than an epoch's {order.epoch_length:,} samples: it has "
            "some of them several times. Give a smaller run.batch."
        )
    log, checkpoint = (Every(interval, length) for interval in intervals(config))
    fit(runs, loader, stream.state, Plan(log, checkpoint, config.run.keep, config.run.best), console)
    # What comes first has scrolled away by the end.
    _say_damaged(console, runs, pairs)
    for each in _on_shards(runs):
        if each.report:
            console.line(f"[yellow]{escape(f'{each.what}: {each.report}')}")


def _on_shards(runs: list[Run]) -> list[HeldOut | Retrieval]:
    """Those of the runs' evaluators that read pairs; they share them."""
    return [each.evaluator for each in runs[0].evaluations if isinstance(each.evaluator, HeldOut | Retrieval)]


def _say_damaged(console: TrainingConsole, runs: list[Run], pairs: Pairs) -> None:
    """Name the shards that are not whole: how many samples they have lost is not known, and counted nowhere."""
    sets = [pairs, *(each.pairs for each in _on_shards(runs))]
    damaged = {shard.path: shard for each in sets for shard in each.shards.damaged()}  # several may read the same
    for shard in damaged.values():
        given = f"{len(shard):,} sample{'s' * (len(shard) != 1)}"
        console.line(f"[yellow]{escape(f'{shard.path}: {shard.problem}; it gives {given}.')}")


def _announce(console: TrainingConsole, runs: list[Run], pairs: Pairs, loader: Loader, note: str | None) -> None:
    console.line(f"Run folder: {escape(runs[0].folder.out)}")
    if note:
        console.line(f"[yellow]{note}")
    _say_damaged(console, runs, pairs)
    if loader.start:
        console.line(f"Resuming after step {loader.start:,} of {loader.stop:,}.")
    for run in runs:
        millions = sum(parameter.numel() for parameter in run.trainer.objective.parameters()) / 1e6
        console.line(
            f"[bold]{run.name:<12}[/] {millions:.1f} M parameters, {loader.stop:,} step{'s' * (loader.stop != 1)} "
            f"on {len(pairs):,} pairs, {run.trainer.precision} on {run.trainer.device}{_among_ranks(run)}"
        )
    trainer = runs[0].trainer
    if trainer.precision == "bf16" and not multiplies_bf16(trainer.device):
        console.line(
            f"[yellow]This {trainer.device.type.upper()} has no instructions for bf16, which is many times slower here "
            "than fp32: give run.precision=auto."
        )


def _among_ranks(run: Run) -> str:
    return f", {ranks()} ranks ({run.folder.config.run.sharding})" if ranks() > 1 else ""


def common_step(folders: Iterable[RunFolder]) -> int:
    """The last step of which every folder has a checkpoint; 0 when there is none."""
    steps = [{step_of(path) for path in list_checkpoints(folder.checkpoints)} for folder in folders]
    return max(set.intersection(*steps), default=0)

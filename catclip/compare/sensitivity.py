"""What a step of each objective takes when one thing about it changes: text length, labels, resolution and so on.

Each variant is measured in processes of its own, for its memory to be its own. All take turns, those of all objectives,
and every other round goes backwards: what the machine does as time passes hits all alike.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from catclip.compare.full_step import STEPS_OF_A_RUN
from catclip.compare.ratios import median_figures, ratio_figures
from catclip.compare.step import MEMORY_STEPS, in_fresh_process, resident_bytes, training_batches
from catclip.config import MeasureConfig, PretrainConfig
from catclip.data.loader import Batch, Loader
from catclip.errors import UserError
from catclip.models.backbone import build_backbone
from catclip.models.heads import LabelHead
from catclip.models.text import text_settings
from catclip.objectives.base import Objective
from catclip.objectives.categorical import Categorical
from catclip.objectives.label_frequency import LabelFrequency
from catclip.train.compiling import wants_compile
from catclip.train.memory import memory_bytes
from catclip.train.precision import multiplies_bf16, pick_precision
from catclip.train.run import synchronize
from catclip.train.trainer import Trainer

PREFETCH = 2  # batches that each worker of the loader makes ahead, torch's default


@dataclass(frozen=True)
class Variant:
    """A configuration that differs from the objective's own in one thing.

    Attributes:
        key, value: what that is, and to what it is set; of the configuration itself empty.
        labels: in place of the vocabulary's; None: as many as that has.
        fed: whether its steps wait for the loader, as in training, rather than get the same batch again and again.
    """

    config: PretrainConfig
    key: str = ""
    value: str = ""
    labels: int | None = None
    fed: bool = False

    @property
    def name(self) -> str:
        return f".{self.key}={self.value}" if self.key else ""


class Trial(NamedTuple):
    """Seconds of a step, the median, and the peak memory in bytes."""

    seconds: float
    memory: int


def sensitivity_figures(
    configs: Mapping[str, PretrainConfig], device: torch.device, measure: MeasureConfig
) -> dict[str, Any]:
    """Measure each objective as configured, and with each of the changes of `measure.sensitivity` that concern it.

    Args:
        configs: by the objective's name.
        device: where.
        measure: what to change; steps.

    Returns:
        `sensitivity.<name>.milliseconds|peak_memory_bytes` as configured, and the same of `<name>.<key>=<value>`, with
        `.spread`, and `.milliseconds.ratio` to what is configured as `ratio_figures`. Of `workers` the step's time is
        what it takes with waiting for the loader, and its ratio is to as many as are configured.
        `.note`, why a variant could not be measured.
    """
    rounds = measure.sensitivity.rounds
    made = {name: list(variants(config, measure, device)) for name, config in configs.items()}
    trials: dict[str, list[Trial]] = {f"{name}{each.name}": [] for name in made for each in made[name]}
    turns = [(f"{name}{each.name}", each) for name in made for each in made[name]]
    notes: dict[str, Any] = {}
    for turn in range(rounds):
        for key, variant in turns[::-1] if turn % 2 else turns:
            if f"sensitivity.{key}.note" in notes:
                continue
            try:
                trials[key].append(in_fresh_process(_try, variant, device, measure.steps))
            except UserError as error:  # a backbone that drops no patches, torch.compile without a compiler
                notes[f"sensitivity.{key}.note"] = str(error)
    figures: dict[str, Any] = {"sensitivity.rounds": rounds}
    for name, each in made.items():
        for variant in each:
            base = trials[f"{name}{_base(each, variant).name}"]
            figures |= _figures(f"sensitivity.{name}{variant.name}", trials[f"{name}{variant.name}"], base)
    return figures | notes


def _base(made: list[Variant], variant: Variant) -> Variant:
    """That of the variants which is as configured; of those that the loader feeds, that with as many workers."""
    return next(each for each in made if each.fed == variant.fed and each.config == made[0].config)


def _figures(key: str, trials: list[Trial], base: list[Trial]) -> dict[str, Any]:
    if not trials:
        return {}
    figures: dict[str, Any] = median_figures(f"{key}.milliseconds", [1000 * each.seconds for each in trials])
    figures |= median_figures(f"{key}.peak_memory_bytes", [float(each.memory) for each in trials])
    if trials is not base and len(trials) == len(base):
        ratio = ([each.seconds for each in trials], [each.seconds for each in base])
        figures |= ratio_figures(f"{key}.milliseconds.ratio", *ratio)
    return figures


# ---- the variants ---------------------------------------------------------------------------------------------------


def variants(config: PretrainConfig, measure: MeasureConfig, device: torch.device) -> Iterator[Variant]:
    """The configuration itself, and what differs from it in one of the things that concern its objective."""
    wanted, shape = measure.sensitivity, config.backbone
    run = replace(config.run, micro_batch=None, precision=pick_precision(config.run.precision, device))
    own = config = replace(config, run=run)
    yield Variant(own)
    changed: list[tuple[str, Any, PretrainConfig]] = []
    for length in wanted.text_length:
        objective = with_text_length(config.objective, length)
        if objective is not None and length != text_length(config.objective):
            changed.append(("text_length", length, replace(config, objective=objective)))
    for side in wanted.resolution if wanted.resolution is not None else _resolutions(config):
        changed.append(("resolution", side, replace(config, backbone=replace(shape, image_size=side))))
    for share in wanted.patch_dropout:
        changed.append(("patch_dropout", share, replace(config, backbone=replace(shape, patch_dropout=share))))
    for precision in wanted.precision:
        changed.append(("precision", precision, replace(config, run=replace(run, precision=precision))))
    compiled = wants_compile(run.compile, device)
    for setting in wanted.compile:
        if setting != compiled:
            changed.append(("compile", str(setting).lower(), replace(config, run=replace(run, compile=setting))))
    yield from (Variant(each, key, str(value)) for key, value, each in changed if each != own)
    if with_labels(config.objective):
        yield from (Variant(own, "vocabulary", str(labels), labels=labels) for labels in wanted.vocabulary)
    for workers in sorted({*wanted.workers, config.data.workers}) if wanted.workers else ():
        data = replace(config.data, workers=workers)
        yield Variant(replace(config, data=data), "workers", str(workers), fed=True)


def _resolutions(config: PretrainConfig) -> list[int]:
    """Half the side, and one and a half times, in whole patches; without patches, in steps of 16 or 8 pixels."""
    shape, side = config.backbone, config.backbone.image_size
    built = build_backbone(shape.name, side, shape.options, seed=0)  # what its patches are, the model itself knows
    step = built.patch or (16 if side >= 128 else 8)
    return [max(step, round(factor * side / step) * step) for factor in (0.5, 1.5)]


def with_text_length(options: Mapping[str, Any], length: int) -> dict[str, Any] | None:
    """An objective's options with texts of that many tokens, or None where it has no text."""
    if "text_length" in options or str(options.get("_target_", "")).endswith(".Contrastive"):
        return {**options, "text_length": length}
    if isinstance(inner := options.get("contrastive"), Mapping):
        return {**options, "contrastive": {**inner, "text_length": length}}
    return None


def text_length(options: Mapping[str, Any]) -> int | None:
    """Tokens of an objective's texts, or None where it has no text."""
    if with_text_length(options, 1) is None:
        return None
    text: Any = options.get("contrastive", options)
    settings, *_ = text_settings(text.get("text") or "ViT-B-16", context_length=text.get("text_length"))
    return settings["context_length"]


def with_labels(options: Mapping[str, Any]) -> bool:
    """Whether an objective has a vocabulary of labels."""
    return "vocabulary" in options


# ---- in a process of its own ----------------------------------------------------------------------------------------


def _try(variant: Variant, device: torch.device, steps: int) -> Trial:
    config = variant.config
    if config.run.precision == "bf16" and not multiplies_bf16(device):
        raise UserError("This CPU has no instructions for bf16: a step takes about a hundred times as long.")
    objective, batches = training_batches(config)
    if variant.labels is not None:
        set_labels(objective, variant.labels)
    workers = config.data.workers if variant.fed else 0
    # What the workers have made before the first step is no measure of how fast they are.
    ahead, timed = MEMORY_STEPS - 1 + PREFETCH * workers, max(steps, PREFETCH * workers)
    loader = Loader(batches, 0, ahead + timed if variant.fed else 1, workers=workers, max_bad=1.0,
                    pin=device.type == "cuda")  # fmt: skip
    made = iter(loader)
    first = next(made)
    if variant.labels is not None:
        first = relabelled(first, variant.labels)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in objective.state_dict().values())
    before = resident_bytes() - weights
    run, optim = config.run, replace(config.optim, warmup=0, cooldown=0)
    trainer = Trainer(
        objective, optim, STEPS_OF_A_RUN, device, run.precision, wants_compile(run.compile, device), run.seed,
        tf32=run.tf32,
    )  # fmt: skip
    trainer.step(first)
    following: Callable[[], Batch] = (lambda: next(made)) if variant.fed else (lambda: first)
    seconds = []
    for _ in range(ahead - 1 + timed):
        start = time.perf_counter()
        trainer.step(following())
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    peak = memory_bytes(device)
    taken = seconds[ahead - 1 :]
    # Workers deliver in bursts: of those that are waited for, some steps wait for all.
    typical = statistics.fmean(taken) if workers else statistics.median(taken)
    return Trial(typical, peak if device.type == "cuda" else peak - before)


def set_labels(objective: Objective, labels: int) -> None:
    """Give an objective as many labels, with random weights."""
    for module in objective.modules():
        if isinstance(module, Categorical):
            module.head = LabelHead(module.head.in_features, labels)
            module.frequency = LabelFrequency(labels) if module.frequency is not None else None


def relabelled(batch: Batch, labels: int) -> Batch:
    """A batch whose pictures have as many labels each as they had, of so many in all: each its own stretch of them."""
    counts = batch["label_offsets"].diff()
    if int(counts.max()) > labels:
        raise UserError(f"A picture has {int(counts.max())} labels: compare.sensitivity.vocabulary must be larger.")
    starts = torch.randint(0, labels, (len(counts),), generator=torch.Generator().manual_seed(0))
    places = torch.arange(len(batch["label_ids"])) - batch["label_offsets"][:-1].repeat_interleave(counts)
    return {**batch, "label_ids": (starts.repeat_interleave(counts) + places) % labels}

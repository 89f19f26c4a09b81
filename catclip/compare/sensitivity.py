"""What a step of each objective takes when one thing about it changes: text length, labels, resolution and so on.

Each variant has a process of its own, where it takes turns with what is configured: what the machine does as time
passes, and what one process has that another has not, hits both alike. Its memory is another process's.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from catclip.compare.full_step import STEPS_OF_A_RUN, Setting, seconds_a_step
from catclip.compare.ratios import median_figures, ratio_figures
from catclip.compare.step import (
    MEMORY_ROUNDS,
    MEMORY_STEPS,
    first_batches,
    in_fresh_process,
    training_batches,
    training_memory,
)
from catclip.config import MeasureConfig, PretrainConfig
from catclip.data.loader import Batch, Loader, TrainingBatches
from catclip.errors import UserError
from catclip.models.backbone import build_backbone
from catclip.models.heads import LabelHead
from catclip.models.text import text_settings
from catclip.objectives.base import Objective
from catclip.objectives.categorical import Categorical
from catclip.objectives.label_frequency import LabelFrequency
from catclip.train.compiling import wants_compile
from catclip.train.memory import is_out_of_memory
from catclip.train.precision import multiplies_bf16, pick_precision
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


class Turns(NamedTuple):
    """Seconds of a step, of each round: as configured, and of the variant."""

    base: list[float]
    variant: list[float]


def sensitivity_figures(
    configs: Mapping[str, PretrainConfig], device: torch.device, measure: MeasureConfig
) -> dict[str, Any]:
    """Measure each objective as configured, and with each of the changes of `measure.sensitivity` that concern it.

    Args:
        configs: by the objective's name.
        device: where.
        measure: what to change; rounds, steps.

    Returns:
        `sensitivity.<name>.milliseconds|peak_memory_bytes` as configured, and the same of `<name>.<key>=<value>`, with
        `.spread`, and `.milliseconds.ratio` to what is configured as `ratio_figures`. Of `workers` the step's time is
        what it takes with waiting for the loader, and its ratio is to as many as are configured; what they take of the
        memory is not this process's.
        `.note`, why a variant could not be measured.
    """
    figures: dict[str, Any] = {"sensitivity.rounds": measure.rounds, "sensitivity.steps": measure.steps}
    for name, config in configs.items():
        own, *others = variants(config, measure, device)
        fed = Variant(own.config, "workers", str(config.data.workers), fed=True)
        for base in (own, fed):
            changed = [each for each in others if each.fed == base.fed]
            figures |= _figures(f"sensitivity.{name}", base, changed, device, measure)
    return figures


def _figures(
    name: str, base: Variant, changed: list[Variant], device: torch.device, measure: MeasureConfig
) -> dict[str, Any]:
    """What is configured, then what is changed."""
    first, configured = f"{name}{base.name}", []
    own = _memory_figures(first, base, device)
    rows: dict[str, Any] = {}
    for variant in changed:
        key = f"{name}{variant.name}"
        try:
            turns = in_fresh_process(take_turns, base, variant, device, measure)
            rows |= _memory_figures(key, variant, device)
        except UserError as error:  # a backbone that drops no patches, torch.compile without a compiler
            rows[f"{key}.note"] = str(error)
        except (RuntimeError, MemoryError) as error:
            if not (is_out_of_memory(error) or isinstance(error, BrokenProcessPool)):
                raise
            rows[f"{key}.note"] = _lack(error)
        else:
            configured += turns.base
            rows |= _time_figures(key, turns.variant)
            rows |= ratio_figures(f"{key}.milliseconds.ratio", turns.variant, turns.base)
    return own | (_time_figures(first, configured) if configured else {}) | rows


def _lack(error: Exception) -> str:
    if isinstance(error, BrokenProcessPool):
        return "Its process was killed, as for want of memory."
    return "There is not enough memory for it beside what is configured."


def _time_figures(key: str, seconds: list[float]) -> dict[str, float]:
    return median_figures(f"{key}.milliseconds", [1000 * each for each in seconds])


def _memory_figures(key: str, variant: Variant, device: torch.device) -> dict[str, float]:
    if variant.fed:  # what the loader's processes take is not this one's
        return {}
    # A GPU's is counted by torch's allocator, the same each time.
    count = 1 if device.type == "cuda" else MEMORY_ROUNDS
    peaks = [float(in_fresh_process(_measure_memory, variant, device)) for _ in range(count)]
    return median_figures(f"{key}.peak_memory_bytes", peaks)


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
    for workers in wanted.workers:
        if workers != config.data.workers:
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


# ---- in processes of their own --------------------------------------------------------------------------------------


def take_turns(base: Variant, variant: Variant, device: torch.device, measure: MeasureConfig) -> Turns:
    """Train a configuration and its variant in turn, in this process, each on its batch or on what a loader gives.

    Raises:
        UserError: the variant cannot be measured here; what the builders raise.
    """
    if variant.config.run.precision == "bf16" and not multiplies_bf16(device):
        raise UserError("This CPU has no instructions for bf16: a step takes about a hundred times as long.")
    # Shapes of its own, or torch.compile would give the second side graphs for shapes that change.
    with torch._dynamo.config.patch(automatic_dynamic_shapes=False):
        sides = [_side(each, device, measure) for each in (base, variant)]
        rounds = []
        for t in range(measure.rounds + 1):  # the first, which warms up, does not count
            order = (1, 0) if t % 2 else (0, 1)
            taken = {side: sides[side]() for side in order}
            rounds.append(taken)
    return Turns(*([taken[side] for taken in rounds[1:]] for side in (0, 1)))


def _side(variant: Variant, device: torch.device, measure: MeasureConfig) -> Callable[[], float]:
    """What takes a turn of steps and returns the seconds of one."""
    run, optim = variant.config.run, replace(variant.config.optim, warmup=0, cooldown=0)
    objective, batches = training_batches(variant.config)
    (batch,) = Loader(batches, 0, 1, workers=0, max_bad=1.0, pin=device.type == "cuda")
    if variant.labels is not None:
        set_labels(objective, variant.labels)
        batch = relabelled(batch, variant.labels)
    setting = Setting(device, run.precision, wants_compile(run.compile, device), measure.steps, measure.rounds)
    trainer = Trainer(
        objective, optim, STEPS_OF_A_RUN, device, setting.precision, setting.compile, run.seed, tf32=run.tf32
    )
    if variant.fed:
        return lambda: _fed_turn(trainer, batches, variant.config.data.workers, setting)
    return lambda: seconds_a_step(lambda: trainer.step(batch), setting)


def _fed_turn(trainer: Trainer, batches: TrainingBatches, workers: int, setting: Setting) -> float:
    """Seconds of a step that waits for the loader, beyond what its workers had made before the first."""
    ahead = PREFETCH * workers
    timed = replace(setting, steps=max(setting.steps, ahead))  # they deliver in bursts
    pin = setting.device.type == "cuda"
    # As many are left over: workers that had no batch to make would leave the step the cores that training does not.
    with closing(iter(Loader(batches, 0, timed.steps + 2 * ahead, workers=workers, max_bad=1.0, pin=pin))) as made:
        for _ in range(ahead):
            trainer.step(next(made))
        return seconds_a_step(lambda: trainer.step(next(made)), timed)


def _measure_memory(variant: Variant, device: torch.device) -> int:
    objective, batches = first_batches(variant.config, MEMORY_STEPS)
    if variant.labels is not None:
        set_labels(objective, variant.labels)
        batches = [relabelled(each, variant.labels) for each in batches]
    return training_memory(objective, batches, variant.config, device)


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

"""What a training step takes: ours beside the sum of its parts, a bare loop, and timm's and open_clip's own steps.

All have the same backbone, batch and precision, take turns in one process, and train on the same random pictures, which
a loader would have made: only the step is measured. Where the others leave a choice, theirs is the cheaper one.
"""

import copy
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from open_clip.loss import ClipLoss
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from timm.loss import BinaryCrossEntropy
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3, dispatch_clip_grad
from torch import nn

from catclip.config import OptimConfig
from catclip.data.loader import Batch
from catclip.models.backbone import Backbone
from catclip.models.heads import LabelHead
from catclip.objectives.categorical import Categorical
from catclip.objectives.contrastive import Contrastive
from catclip.objectives.label_losses import ragged_bce
from catclip.train.run import synchronize
from catclip.train.trainer import Trainer

LABELS_A_PICTURE = 4
# What must not be passed: our step over the bare loop's and over the sum of its parts, and over the others'.
LIMITS = {
    "ratio.step_to_bare_loop": 1.03, "ratio.step_to_parts": 1.03,
    "ratio.step_to_timm": 1.0, "ratio.contrastive_step_to_open_clip": 1.0,
}  # fmt: skip
_PAIRS = {
    "ratio.step_to_bare_loop": ("step", "bare_loop"), "ratio.step_to_parts": ("step", "parts"),
    "ratio.step_to_timm": ("step", "timm"),
    "ratio.contrastive_step_to_open_clip": ("contrastive_step", "open_clip"),
}  # fmt: skip
PARTS = ("forward", "backward", "optimizer", "ema")
STEPS_OF_A_RUN = 1_000_000  # which the schedule spans
NORM = 1.0  # to which gradients are clipped
OPTIM = OptimConfig(clip=NORM)


@dataclass(frozen=True)
class Setting:
    """What all sides share.

    Attributes:
        steps: in a turn of each side.
        rounds: turns; one before them does not count.
    """

    device: torch.device
    precision: str
    compile: bool
    steps: int
    rounds: int

    def autocast(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def compiled(self, module: nn.Module) -> Any:
        return torch.compile(module) if self.compile else module


def random_batch(batch: int, size: int, labels: int, length: int, tokens: int, device: torch.device) -> Batch:
    """Random pictures, labels and texts as the loader gives them, pinned where they go to a GPU."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.stack([torch.randperm(labels, generator=generator)[:LABELS_A_PICTURE] for _ in range(batch)])
    made = {
        "images": torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, generator=generator),
        "label_ids": ids.sort(1).values.flatten(),
        "label_offsets": torch.arange(0, ids.numel() + 1, ids.shape[1]),
        "tokens": torch.randint(1, tokens, (batch, length), generator=generator),
    }
    if device.type == "cuda":
        made = {name: tensor.pin_memory() for name, tensor in made.items()}
    return {**made, "keys": [str(number) for number in range(batch)]}


def step_figures(categorical: Categorical, contrastive: Contrastive, batch: Batch, setting: Setting) -> dict[str, Any]:
    """The ratios of `LIMITS`, medians over the rounds; `<side>.milliseconds`; of each the `.spread`, a share of it."""
    sides = make_sides(categorical, contrastive, batch, setting)
    rounds: list[dict[str, float]] = []
    for turn in range(setting.rounds + 1):
        # Who comes first alternates: neither always finds the caches as the same other left them.
        names = list(sides) if turn % 2 else list(reversed(sides))
        taken = {name: sides[name]() for name in names}
        rounds.append({key: value for each in taken.values() for key, value in each.items()})
    results: dict[str, Any] = {}
    for name, (ours, theirs) in _PAIRS.items():
        results |= _summary(name, [each[ours] / each[theirs] for each in rounds[1:]])
    for name in rounds[0]:
        results |= _summary(f"{name}.milliseconds", [1000 * each[name] for each in rounds[1:]])
    return results


def _summary(name: str, values: list[float]) -> dict[str, float]:
    median = statistics.median(values)
    return {name: median, f"{name}.spread": (max(values) - min(values)) / median}


def make_sides(
    categorical: Categorical, contrastive: Contrastive, batch: Batch, setting: Setting
) -> dict[str, Callable[[], dict[str, float]]]:
    """By name, what takes a side's turn and returns the seconds a step that its figures took."""
    # Copies before any of them is compiled: a compiled module cannot be copied.
    bare, of_timm = (copy.deepcopy(categorical) for _ in range(2))
    of_open_clip = copy.deepcopy(contrastive)
    ours = _trainer(categorical, OPTIM, setting)
    # open_clip averages no weights: neither does what is compared with it.
    text = _trainer(contrastive, OptimConfig(ema=None), setting)
    return {
        "step": lambda: {"step": seconds_a_step(lambda: ours.step(batch), setting)},
        "parts": lambda: parts_of(ours, batch, setting),
        "bare_loop": _side("bare_loop", bare_loop(bare, batch, setting), setting),
        "timm": _side("timm", timm_step(of_timm, batch, setting), setting),
        "contrastive_step": lambda: {"contrastive_step": seconds_a_step(lambda: text.step(batch), setting)},
        "open_clip": _side("open_clip", open_clip_step(of_open_clip, batch, setting), setting),
    }


def _trainer(objective: Categorical | Contrastive, optim: OptimConfig, setting: Setting) -> Trainer:
    optim = copy.deepcopy(optim)
    optim.warmup = 0
    return Trainer(
        objective, optim, STEPS_OF_A_RUN, setting.device, precision=setting.precision, compile=setting.compile
    )


def _side(name: str, step: Callable[[], object], setting: Setting) -> Callable[[], dict[str, float]]:
    return lambda: {name: seconds_a_step(step, setting)}


def seconds_a_step(step: Callable[[], object], setting: Setting) -> float:
    """Seconds a step, of `setting.steps` in a row as in training: on a GPU nothing waits between them."""
    synchronize(setting.device)
    start = time.perf_counter()
    for _ in range(setting.steps):
        step()
    synchronize(setting.device)
    return (time.perf_counter() - start) / setting.steps


def parts_of(trainer: Trainer, batch: Batch, setting: Setting) -> dict[str, float]:
    """Seconds of the parts of our step, each waited for, `part.forward` and so on, and `parts`, their sum."""
    objective, optimizer, average = trainer.objective, trainer.optimizer, trainer.average
    assert average is not None
    objective.train()
    seconds = dict.fromkeys(PARTS, 0.0)

    def timed(part: str, work: Callable[[], Any]) -> Any:
        synchronize(setting.device)
        start = time.perf_counter()
        done = work()
        synchronize(setting.device)
        seconds[part] += (time.perf_counter() - start) / setting.steps
        return done

    def forward() -> torch.Tensor:
        with setting.autocast():
            return objective(trainer.to_device(batch))["loss"]

    def update() -> None:
        nn.utils.clip_grad_norm_(objective.parameters(), NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for _ in range(setting.steps):
        loss = timed("forward", forward)
        timed("backward", loss.backward)
        timed("optimizer", update)
        timed("ema", lambda: average.update_parameters(objective))
    return {f"part.{name}": value for name, value in seconds.items()} | {"parts": sum(seconds.values())}


def bare_loop(objective: Categorical, batch: Batch, setting: Setting) -> Callable[[], None]:
    """The same step by hand, on the timm model itself."""
    backbone, head = objective.backbone.to(setting.device), objective.head.to(setting.device)
    model = nn.Sequential(backbone.trunk, head).train()
    averaged = [each.detach().clone() for each in model.parameters()]
    forward = setting.compiled(backbone.trunk)
    optimizer = torch.optim.AdamW(_groups(model), lr=OPTIM.lr, betas=_betas(OPTIM.betas), fused=True)
    parameters = list(model.parameters())

    def step() -> None:
        images, ids, offsets = (
            batch[name].to(setting.device, non_blocking=True) for name in ("images", "label_ids", "label_offsets")
        )
        with setting.autocast():
            logits = head(forward((images - backbone.mean) / backbone.std))
            loss = ragged_bce(logits, ids, offsets)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        torch._foreach_lerp_(averaged, [each.detach() for each in parameters], 5e-4)

    return step


def _groups(model: nn.Module) -> list[dict[str, Any]]:
    matrices = [each for each in model.parameters() if each.ndim > 1]
    others = [each for each in model.parameters() if each.ndim < 2]
    return [{"params": matrices, "weight_decay": OPTIM.weight_decay}, {"params": others, "weight_decay": 0.0}]


def _betas(betas: Iterable[float]) -> tuple[float, float]:
    first, second = betas
    return first, second


def timm_step(objective: Categorical, batch: Batch, setting: Setting, optim: OptimConfig = OPTIM) -> Callable[[], None]:
    """The step of timm's train.py with its optimiser and, where `optim` has them, clipping and averaged weights.

    Its loss takes dense targets. They are on the device beforehand: what it takes to make them and to bring them there
    is not counted.
    """
    backbone = objective.backbone.to(setting.device)
    model = nn.Sequential(backbone.trunk, objective.head.to(setting.device)).train()
    average = ModelEmaV3(model, decay=1 - 5e-4, device=setting.device) if optim.ema is not None else None
    optimizer = create_optimizer_v2(model, opt="adamw", lr=OPTIM.lr, weight_decay=OPTIM.weight_decay)
    criterion = BinaryCrossEntropy(smoothing=0.0, sum_classes=True).to(setting.device)
    target = dense_targets(batch, objective.head.out_features, setting.device)
    forward = setting.compiled(model)
    count = 0

    def step() -> None:
        nonlocal count
        images = batch["images"].to(setting.device, non_blocking=True)
        images = images.float().sub_(backbone.mean).div_(backbone.std)  # as its PrefetchLoader does
        with setting.autocast():
            loss = criterion(forward(images), target)
        loss.backward()
        if optim.clip is not None:
            dispatch_clip_grad(model.parameters(), optim.clip, mode="norm")
        optimizer.step()
        optimizer.zero_grad()
        count += 1
        if average is not None:
            average.update(model, step=count)

    return step


def dense_targets(batch: Mapping[str, torch.Tensor], labels: int, device: torch.device) -> torch.Tensor:
    """The batch's labels as float32 [B, V]."""
    offsets = batch["label_offsets"].to(device)
    rows = torch.arange(len(offsets) - 1, device=device).repeat_interleave(offsets.diff())
    dense = torch.zeros(len(offsets) - 1, labels, device=device)
    dense[rows, batch["label_ids"].to(device)] = 1
    return dense


def open_clip_step(
    objective: Contrastive, batch: Batch, setting: Setting, clip: float | None = NORM
) -> Callable[[], None]:
    """The step of open_clip's train.py: its CLIP on our timm model; pictures are float32, as its loader gives them."""
    backbone = objective.backbone.to(setting.device)
    # Its own image tower is built small and replaced: it takes no options for timm's models.
    small, text = CLIPVisionCfg(layers=1, width=64, image_size=32), CLIPTextCfg(**objective.text_settings)
    model = CLIP(objective.projection.out_features, small, text, objective.quick_gelu, output_dict=True)
    model.visual = nn.Sequential(backbone.trunk, objective.projection)
    model.load_state_dict(objective.text.state_dict(), strict=False)
    model.to(setting.device).train()
    optimizer = torch.optim.AdamW(_groups(model), lr=OPTIM.lr, betas=_betas(OPTIM.betas))
    criterion, forward = ClipLoss(), setting.compiled(model)
    images = batch["images"].to(setting.device)
    images = ((images - backbone.mean) / backbone.std).cpu()
    if setting.device.type == "cuda":
        images = images.pin_memory()

    def step() -> None:
        pictures = images.to(setting.device, non_blocking=True)
        tokens = batch["tokens"].to(setting.device, non_blocking=True)
        optimizer.zero_grad()
        with setting.autocast():
            out = forward(pictures, tokens)
            loss = criterion(**out)
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))

    return step


def build_categorical(backbone: Backbone, labels: int) -> Categorical:
    """The categorical objective with as many labels, none of which is asked for by its name."""
    objective = Categorical(copy.deepcopy(backbone), None, vocabulary=None, labels="subword", bias="zero")
    objective.head = LabelHead(backbone.width, labels)
    return objective

"""`catclip finetune`: a run's backbone learns the classes of labelled pictures."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape

from catclip.captions import Vocabulary
from catclip.config import BackboneConfig, FinetuneConfig
from catclip.data.labelled import LabelledImages, Splits, open_splits
from catclip.data.labelled.fraction import take_fraction
from catclip.data.labelled.training import LabelledTrainingBatches
from catclip.data.loader import Loader
from catclip.data.order import Order
from catclip.data.stream import Stream
from catclip.errors import UserError
from catclip.evaluate.zeroshot import figures, score
from catclip.files import locked, write_atomically, writing
from catclip.models.weights import load_weights
from catclip.objectives.base import Objective
from catclip.objectives.build import build_objective
from catclip.train import score as one_figure
from catclip.train.checkpoint import list_checkpoints
from catclip.train.distributed import on_first, process_group, rank, ranks
from catclip.train.durations import Every, Length, parse_interval, run_length
from catclip.train.fit import Plan, fit
from catclip.train.folder import RunFolder, load_objective, read_config
from catclip.train.run import Evaluation, Evaluator, Run
from catclip.train.track import TrainingConsole, read_metrics
from catclip.transfer.finetune import Classification, start_head
from catclip.transfer.mapping import Mapping
from catclip.verbs.evaluators import build_evaluators
from catclip.verbs.training import check, intervals, make_runs, optim_in_steps, pick_device

EPOCHS = 10.0  # as published (CatLIP, arXiv 2404.15653, appendix)
_HEADLINES = {"top_1": "top-1", "map": "mAP"}


def run(config: FinetuneConfig) -> float | None:
    """Fine-tune, or resume, into `config.run.out`, and return the accuracy; a run that is done is left as it is.

    Under torchrun this is one of the ranks.
    """
    with process_group():
        config.run.out = on_first(lambda: config.run.out)  # it may be named after the time
        return _run(config)


def _run(config: FinetuneConfig) -> float | None:
    assert config.run.out is not None
    out, console = Path(config.run.out), Console(highlight=False, quiet=rank() > 0)
    if config.run.steps is None and config.run.samples is None and config.run.epochs is None:
        config = replace(config, run=replace(config.run, epochs=EPOCHS))
    # `run.best` needs evaluators, and this run always has one.
    check(replace(config, run=replace(config.run, best=None)))
    device = pick_device(config.run.device)
    splits = _open(config)
    config = _settled(config, splits.train)
    if on_first((out / "summary.json").exists):
        RunFolder(out, config)  # refuses when what is done is not what was asked for
        if rank() == 0 and not (out / "finetune.json").exists():  # a kill came between the two files
            _write_results(config, splits, out)
        console.print(f"{out} is done already: see its finetune.json.", markup=False)
        return one_figure.score(json.loads((out / "summary.json").read_text()))
    # Before the folder is made: much of what can be wrong is found here.
    _length(config, splits.train)
    start = _start(config, splits.train, not list_checkpoints(out / "checkpoints"), device)
    with ExitStack() as locks:
        if rank() == 0:
            locks.enter_context(locked(out, "trains in"))
        return _train(config, splits, start, out, device, console)


def _open(config: FinetuneConfig) -> Splits:
    data = config.data
    if data.folder is None and data.train is None and data.test is None:
        raise UserError(
            "Give labelled pictures as data.folder=FOLDER, with train/ and test/ in it, or as data.train=… and "
            "data.test=…"
        )
    train, test = open_splits(data)
    return Splits(take_fraction(train, data.fraction, config.run.seed), test)


# ---------------------------------------------------------------- what is asked for


def _settled(config: FinetuneConfig, images: LabelledImages) -> FinetuneConfig:
    """The configuration with what the run and the pictures say: with it, the run folder alone gives the objective."""
    own = {"classes": images.classes, "multilabel": images.multilabel}
    return replace(config, backbone=_backbone(config), objective={**config.objective, **own})


def _backbone(config: FinetuneConfig) -> BackboneConfig:
    given = {key: value for key, value in vars(config.backbone).items() if value is not None}
    if config.model is None:
        if "name" not in given:
            raise UserError("Give what is fine-tuned: model=RUN_FOLDER, or a backbone of timm's, as backbone=vit_b_16.")
        return BackboneConfig(**given)
    if "weights" in given:
        raise UserError(f"Give model={config.model} or backbone.weights={given['weights']}, not both.")
    known = read_config(Path(config.model))["backbone"]
    if given.get("name", known["name"]) != known["name"]:
        raise UserError(f"model={config.model} has the backbone {known['name']}, not {given['name']}: leave that out.")
    options = {**known.get("options", {}), **given.pop("options")}
    return BackboneConfig(**{**known, "weights": None, "patch_dropout": 0.0, **given, "options": options})


def _start(
    config: FinetuneConfig, images: LabelledImages, fresh: bool, device: torch.device
) -> tuple[Classification, Mapping | None]:
    """The model before its first step, and which labels its head starts from.

    Raises:
        UserError: there is nothing to start from as asked; what the builders raise.
    """
    objective = build_objective(config.objective, config.backbone, None, config.run.seed)
    if not isinstance(objective, Classification):
        raise UserError(f"objective._target_={config.objective['_target_']}: fine-tuning is for Classification.")
    weights = config.model or config.backbone.weights
    if fresh and weights is not None:
        load_weights(objective.backbone, weights)
    if config.init == "random":
        return objective, None
    if config.init != "transfer" and not config.init.endswith(".tsv"):
        raise UserError(f"init={config.init}: give transfer, random, or a .tsv that `catclip map` wrote.")
    if config.model is None:
        raise UserError(
            f"init={config.init} starts the head from a run's labels: give model=RUN_FOLDER, or init=random."
        )
    if not fresh:  # the checkpoint has the head
        return objective, None
    source, how = load_objective(config.model), "nearest" if config.init == "transfer" else config.init
    if not isinstance(getattr(source, "vocabulary", None), Vocabulary):
        raise UserError(
            f"init={config.init} starts the head from a run's labels, and model={config.model} "
            f"({type(source).__name__}) has none that are synsets: give init=random."
        )
    seed, workers = config.run.seed, config.data.workers
    return objective, start_head(objective, source, how, images, device, workers, seed)


# ---------------------------------------------------------------- training


def _train(
    config: FinetuneConfig,
    splits: Splits,
    start: tuple[Classification, Mapping | None],
    out: Path,
    device: torch.device,
    console: Console,
) -> float | None:
    images, (objective, mapping) = splits.train, start
    order, length = _length(config, images)
    optim = optim_in_steps(config.optim, length)
    evaluations = _evaluations(config, splits.test, length, device)
    (trained,) = make_runs(
        {"finetune": config}, {"finetune": out}, {"finetune": objective}, evaluations, optim, length.steps, device
    )
    if mapping is not None and rank() == 0:
        mapping.save(out / "classes.tsv", model=config.model, init=config.init)
    _fit(trained, images, order, config, length, _announcement(config, splits, mapping))
    if rank() > 0:
        return None
    results = _write_results(config, splits, out)
    console.print(f"Done: {_describe(results)}")
    console.print(f"Weights, metrics and configuration: {out}", markup=False)
    return one_figure.score(trained.summary())


def _length(config: FinetuneConfig, images: LabelledImages) -> tuple[Order, Length]:
    order = Order(np.array([len(images)]), config.run.seed, len(images), ranks=ranks())
    return order, run_length(config.run, order.epoch_length)


def _evaluations(
    config: FinetuneConfig, test: LabelledImages, length: Length, device: torch.device
) -> list[Evaluation]:
    interval = config.run.evaluate_every
    due = Every(None if interval is None else parse_interval(interval, "run.evaluate_every"), length)
    built = build_evaluators(config, device)
    others = [Evaluation(name, each, Every(every, length)) for name, (each, every) in built.items()]
    return [Evaluation("test", _evaluator(test, device, config.data.workers), due), *others]


def _evaluator(test: LabelledImages, device: torch.device, workers: int) -> Evaluator:
    def evaluate(objective: Objective) -> Iterator[tuple[str, float]]:
        assert isinstance(objective, Classification)
        found = score(objective.predict, test, objective.backbone.image_size, device, workers)
        yield from figures(found, test.multilabel)

    return evaluate


def _fit(
    trained: Run, images: LabelledImages, order: Order, config: FinetuneConfig, length: Length, announcement: str
) -> None:
    start, own = trained.trainer.step_number, config.run.batch // ranks()
    stream = Stream(order, own, rank())
    if start:
        stream = Stream.resume(order, own, rank(), start, trained.data)
    batches = LabelledTrainingBatches(images, config.data, config.backbone.image_size, stream)
    loader = Loader(
        batches, start, length.steps, workers=config.data.workers, max_bad=config.data.max_bad,
        pin=trained.trainer.device.type == "cuda",
    )  # fmt: skip
    if rank() == 0:
        loader.samples = length.seen(start)
        loader.bad.update(trained.skipped)
    console = TrainingConsole(length.steps, start, Console(quiet=rank() > 0), "fine-tuning")
    console.line(f"Run folder: {escape(trained.folder.out)}")
    for note in (stream.note, f"Resuming after step {start:,} of {length.steps:,}." if start else announcement):
        if note:
            console.line(escape(note))
    if config.run.batch > order.epoch_length:
        console.line(
            f"[yellow]A batch of {config.run.batch:,} is more than the {order.epoch_length:,} training pictures: it "
            "has some of them several times. Give a smaller run.batch."
        )
    log, checkpoint = (Every(interval, length) for interval in intervals(config))
    fit([trained], loader, stream.state, Plan(log, checkpoint, config.run.keep, config.run.best), console)


# ---------------------------------------------------------------- in words and figures


def _announcement(config: FinetuneConfig, splits: Splits, mapping: Mapping | None) -> str:
    train, test = splits
    lines = [f"{len(train):,} pictures to learn {len(train.classes):,} classes from, {len(test):,} to test."]
    if mapping is not None:
        lines += [mapping.summary(), "Step 0 is zero-shot: the head as it starts."]
    return "\n".join(lines)


def _write_results(config: FinetuneConfig, splits: Splits, out: Path) -> dict[str, Any]:
    """Write finetune.json, flat keys, of what a run that is done has said of itself; return them."""
    results = _results(config, splits, out)
    with writing(out):
        write_atomically(out / "finetune.json", json.dumps(results, indent=1))
    return results


def _results(config: FinetuneConfig, splits: Splits, out: Path) -> dict[str, Any]:
    first, summary = read_metrics(out / "metrics.jsonl")[0], json.loads((out / "summary.json").read_text())
    measured = [key for key in first if key not in ("step", "samples", "seconds")]
    data = {f"data.{key}": value for key, value in asdict(config.data).items() if value is not None}
    return {
        "model": config.model, "backbone": config.backbone.name, "image_size": config.backbone.image_size,
        "init": config.init, **data, "seed": config.run.seed, "classes": len(splits.train.classes),
        "train_images": len(splits.train), "test_images": len(splits.test), "steps": summary["steps"],
        **{f"zeroshot_{key}": first[key] for key in measured},
        **{key: summary[key] for key in measured},
        **{key: value for key, value in summary.items() if key in ("best_step", "best_value")},
    }  # fmt: skip


def _describe(results: dict[str, Any]) -> str:
    name = next(name for name in _HEADLINES if name in results)
    return (
        f"{_HEADLINES[name]} [bold]{results[name]:.3f}[/] on {results['test_images']:,} test pictures, after "
        f"{results['steps']:,} steps on {results['train_images']:,}; {results[f'zeroshot_{name}']:.3f} before them."
    )

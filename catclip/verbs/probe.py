"""`catclip probe`: how good are a run's frozen features?"""

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from catclip.config import LabelledConfig, ProbeConfig
from catclip.data.labelled import LabelledImages, Splits, open_splits
from catclip.errors import UserError, check_choice
from catclip.evaluate.zeroshot import Scores, figures
from catclip.train.folder import load_objective
from catclip.transfer.features import FeatureCache
from catclip.transfer.few_shot import Draw, few_shot
from catclip.transfer.knn import knn_scores
from catclip.transfer.multilabel_probe import fit_multilabel_probe
from catclip.transfer.probe import check_classes, check_counts, fit_probe
from catclip.transfer.sgd_probe import sgd_scores
from catclip.verbs.limits import check_at_least, check_file
from catclip.verbs.measured import check_replaces, write_measured
from catclip.verbs.training import pick_device

METHODS = ("lbfgs", "sgd", "knn", "few_shot")
_TITLES = {"lbfgs": "Linear probe", "sgd": "Linear probe by SGD", "knn": "Nearest neighbours", "few_shot": "Few-shot"}


def run(config: ProbeConfig) -> None:
    """Probe a run and write `probe.json`, or of another method `probe_<method>.json`."""
    console, device = Console(highlight=False), pick_device(config.device, "device")
    _check(config)
    objective = load_objective(Path(config.model), config.weights, device)
    with console.status("reading labels"):
        splits = open_splits(config.data)
    check_classes(splits.train)
    if config.method == "lbfgs" and not splits.train.multilabel:
        check_counts(splits.train)
    own = "" if config.method == "lbfgs" else f"_{config.method}"
    out = Path(config.out) if config.out else Path(config.model) / f"probe{own}.json"
    settings = _settings(config, splits.train)
    check_replaces(out, settings)
    cache = FeatureCache(Path(config.model) / "features", objective, device, config.workers)
    with console.status("extracting features"):
        train, test = cache(splits.train), cache(splits.test)
    with console.status("fitting"):
        results = settings | _probe(config, settings, splits, train, test, device)
    write_measured(out, results)
    if cache.unkept:
        console.print(f"Features are not kept for another probe. {cache.unkept}", markup=False)
    if left := sorted(set(config.shots) - set(results.get("shots", config.shots))):
        console.print(f"shots={left} are left out: a class has {splits.train.counts().min()} training pictures.")
    console.print(f"{_TITLES[config.method]}: {_describe(config.method, results)} {out}")


def _check(config: ProbeConfig) -> None:
    check_choice("method", config.method, METHODS)
    sgd = config.sgd
    limits: dict[str, tuple[int | None, int]] = {
        "workers": (config.workers, 0), "sgd.epochs": (sgd.epochs, 1), "sgd.batch": (sgd.batch, 1),
        "neighbours": (config.neighbours, 1), "draws": (config.draws, 1), "seed": (config.seed, 0),
    }  # fmt: skip
    check_at_least(limits)
    check_file(config.out)
    if not config.shots or min(config.shots) < 1:
        raise UserError(f"shots={config.shots}: give numbers of pictures a class, as [1,2,4].")
    if sgd.lr <= 0 or sgd.min_lr < 0:
        raise UserError(f"sgd.lr={sgd.lr} must be above 0 and sgd.min_lr={sgd.min_lr} at least 0.")


def _settings(config: ProbeConfig, train: LabelledImages) -> dict[str, Any]:
    """What was asked for, in flat keys."""
    own: dict[str, Any] = {}
    if config.method == "knn":
        own = {"neighbours": config.neighbours}
    elif config.method == "sgd":
        own = {f"sgd.{key}": value for key, value in asdict(config.sgd).items()} | {"seed": config.seed}
    elif config.method == "few_shot":
        own = {"draws": config.draws, "seed": config.seed, "shots": _shots(config, train)}
    data = _data_keys(config.data)
    return {"model": config.model, **data, "weights": config.weights, "method": config.method, **own}


def _shots(config: ProbeConfig, train: LabelledImages) -> list[int]:
    """Those numbers of pictures a class that every class has."""
    fewest = int(train.counts().min())
    shots = sorted(each for each in set(config.shots) if train.multilabel or each <= fewest)
    if not shots:
        raise UserError(f"shots={config.shots}: a class has {fewest} training pictures. Give smaller numbers.")
    return shots


def _probe(
    config: ProbeConfig,
    settings: dict[str, Any],
    splits: Splits,
    train: np.ndarray,
    test: np.ndarray,
    device: torch.device,
) -> dict[str, Any]:
    """What there is to say of features of training and test pictures, in flat keys."""
    multilabel = splits.train.multilabel
    if config.method == "lbfgs" and not multilabel:  # without a dense table of its classes, which may be large
        return asdict(fit_probe((train, splits.train.label_ids), (test, splits.test.label_ids), device))
    truth, expected = splits.train.multi_hot(), splits.test.multi_hot()
    if config.method == "lbfgs":
        return asdict(fit_multilabel_probe((train, truth), (test, expected), device))
    common = {"classes": truth.shape[1], "train_images": len(train), "test_images": len(test)}
    if config.method == "few_shot":
        draws = few_shot(train, truth, test, multilabel, settings["shots"], config.draws, config.seed, device)
        return common | _over_draws(draws, expected, multilabel)
    if config.method == "knn":
        scores = knn_scores(train, truth, test, config.neighbours, device)
    else:
        scores = sgd_scores(train, truth, test, multilabel, config.sgd, config.seed, device)
    return common | dict(_measured(scores, expected, multilabel))


def _over_draws(draws: Iterable[Draw], expected: np.ndarray, multilabel: bool) -> dict[str, Any]:
    """The mean over draws, and their standard deviation, for each number of pictures a class."""
    name = "map" if multilabel else "accuracy"
    values: dict[int, list[float]] = {}
    for draw in draws:
        values.setdefault(draw.shots, []).append(dict(_measured(draw.scores, expected, multilabel))[name])
    results: dict[str, Any] = {}
    for shots, each in values.items():
        results[f"{name}_{shots}"] = statistics.fmean(each)
        results[f"{name}_{shots}.spread"] = statistics.stdev(each) if len(each) > 1 else None
    return results


def _measured(scores: np.ndarray, truth: np.ndarray, multilabel: bool) -> Iterator[tuple[str, float]]:
    for name, value in figures(Scores(scores, truth), multilabel):
        yield ("accuracy" if name == "top_1" else name), value


def _data_keys(data: str | LabelledConfig) -> dict[str, Any]:
    """What was given of `data`, in flat keys."""
    if isinstance(data, str):
        return {"data": data}
    return {f"data.{key}": value for key, value in asdict(data).items() if value is not None}


def _describe(method: str, results: dict[str, Any]) -> str:
    if method == "few_shot":
        name = "map" if f"map_{results['shots'][0]}" in results else "accuracy"
        each = [f"{shots}: [bold]{results[f'{name}_{shots}']:.3f}[/]" for shots in results["shots"]]
        spreads = [results[f"{name}_{shots}.spread"] for shots in results["shots"]]
        shown = [text + (f" ±{one:.3f}" if one is not None else "") for text, one in zip(each, spreads, strict=True)]
        title = "mAP" if name == "map" else "share right"
        return f"{title} by pictures a class, mean of {results['draws']} draws: {', '.join(shown)}."
    learned = f"{results['train_images']:,} training pictures"
    if method == "lbfgs":
        learned += f", C = {results['strength']:g}"
    if "accuracy" in results:
        return (
            f"[bold]{results['accuracy']:.3f}[/] of {results['test_images']:,} test pictures right "
            f"({results['classes']} classes, {learned})."
        )
    occurring = results.get("classes_evaluated", results.get("labels_evaluated"))
    return (
        f"mAP [bold]{results['map']:.3f}[/] on {results['test_images']:,} test pictures "
        f"({occurring} of {results['classes']} classes occur there, {learned})."
    )

"""`catclip zeroshot`: classes that a run was never told about, by text or by its labels."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from sklearn.metrics import average_precision_score

from catclip.config import LabelledConfig, ZeroshotConfig
from catclip.data.labelled import LabelledImages, open_labelled
from catclip.data.labelled.opening import check_shown
from catclip.errors import UserError, check_choice
from catclip.evaluate.zeroshot import Classifier, Scores, class_accuracies, figures, score
from catclip.objectives.base import Objective
from catclip.train.folder import load_objective
from catclip.transfer.init import find_mapping, label_head
from catclip.transfer.mapping import STRATEGIES, Mapping
from catclip.transfer.pooling import POOLS, LabelClassifier, check_hypernyms
from catclip.verbs.classifying import choose_way, make_text_classifier
from catclip.verbs.limits import check_at_least, check_file
from catclip.verbs.measured import check_replaces, write_measured
from catclip.verbs.training import pick_device


def run(config: ZeroshotConfig) -> None:
    """Classify what `config` names, write `zeroshot.json`, and say how much was right."""
    console, device = Console(highlight=False), pick_device(config.device, "device")
    check_at_least({"workers": (config.workers, 0)})
    check_file(config.out)
    check_choice("pool", config.pool, POOLS)
    check_hypernyms(config.hypernyms)
    objective = load_objective(Path(config.model), config.weights, device)
    by = choose_way(objective, config.by)
    settings, out = _settings(config, by), Path(config.out or Path(config.model) / "zeroshot.json")
    check_replaces(out, settings)
    with console.status("reading labels"):
        images = open_pictures(config.data)
    with console.status("classifying"):
        classify, mapping = _classifier(objective, images, by, config, device)
        found = score(classify, images, objective.backbone.image_size, device, config.workers)
    results = settings | _results(found, images, mapping)
    write_measured(out, results)
    if mapping:
        console.print(mapping.summary(), markup=False)
    console.print(f"Zero-shot by {by}: {_describe(results)} {out}", markup=False)


def open_pictures(data: str | LabelledConfig) -> LabelledImages:
    """The labelled pictures of `data`: of a folder with test/ or val/ those in it.

    Raises:
        UserError: there are none, something is wrong with them, or none of them shows a class.
    """
    images = _open(data)
    check_shown(images)
    return images


def _open(data: str | LabelledConfig) -> LabelledImages:
    config = LabelledConfig(folder=data) if isinstance(data, str) else data
    if (config.folder is None) == (config.test is None) or config.train is not None:
        raise UserError("Give labelled pictures as data=FOLDER or data.test=SOURCE: there is nothing to train.")
    if config.test is not None:
        return open_labelled(config.test, config)
    folder = Path(str(config.folder)).expanduser()
    split = next((each for each in (folder / "test", folder / "val") if each.is_dir()), folder)
    return open_labelled(str(split), config)


def _classifier(
    objective: Objective, images: LabelledImages, by: str, config: ZeroshotConfig, device: torch.device
) -> tuple[Classifier, Mapping | None]:
    if by == "text":
        return make_text_classifier(objective, images.classes, config.templates, device), None
    if not config.map.endswith(".tsv"):
        check_choice("map", config.map, STRATEGIES)
    mapping = find_mapping(images.classes, label_head(objective).vocabulary, config.map)
    classifier = LabelClassifier(objective, mapping, config.pool, config.hypernyms, multilabel=images.multilabel)
    return classifier, mapping


def _settings(config: ZeroshotConfig, by: str) -> dict[str, Any]:
    data = {"data": config.data} if isinstance(config.data, str) else {}
    if isinstance(config.data, LabelledConfig):
        data = {f"data.{key}": value for key, value in asdict(config.data).items() if value is not None}
    # Not `map`, which is a figure.
    by_labels = {"mapping": config.map, "pool": config.pool, "hypernyms": config.hypernyms}
    own = {"templates": config.templates} if by == "text" else by_labels
    return {"model": config.model, **data, "weights": config.weights, "by": by, **own}


def _results(found: Scores, images: LabelledImages, mapping: Mapping | None) -> dict[str, Any]:
    results: dict[str, Any] = {"images": len(images), "classes": len(images.classes)}
    results |= dict(figures(found, images.multilabel))
    if mapping:
        results |= {f"share_{how}": share for how, share in mapping.shares().items()}
    names = _keys(images.classes)
    if images.multilabel:
        shown = np.flatnonzero(found.truth.any(axis=0)).tolist()
        each = {label: float(average_precision_score(found.truth[:, label], found.scores[:, label])) for label in shown}
        return results | {f"average_precision.{names[label]}": value for label, value in each.items()}
    return results | {f"top_1.{names[label]}": value for label, value in class_accuracies(found).items()}


def _keys(classes: list[str]) -> list[str]:
    """What classes are called in results: their names, and of several that have the same their indices too."""
    counts = Counter(classes)
    return [f"{name} ({index})" if counts[name] > 1 else name for index, name in enumerate(classes)]


def _describe(results: dict[str, Any]) -> str:
    of = f"{results['images']:,} pictures of {results['classes']:,} classes"
    if "top_1" not in results:
        return f"mAP {results['map']:.3f} on {of} ({results['map_prior']:.3f} by chance)."
    among = f", {results['top_5']:.3f} among the first five" if "top_5" in results else ""
    return f"{results['top_1']:.3f} of {of} right{among} (chance {1 / results['classes']:.3f})."

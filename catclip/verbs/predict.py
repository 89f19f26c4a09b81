"""`catclip predict`: the top labels of pictures, as a table and drawn on them."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console

from catclip.config import PredictConfig
from catclip.data.annotate import annotate
from catclip.data.images import decode
from catclip.data.labelled.classes import read_classes
from catclip.data.unlabelled import find_pictures, picture_batches
from catclip.errors import UserError
from catclip.evaluate.ranking import label_log_probabilities
from catclip.evaluate.zeroshot import Classifier
from catclip.files import write_atomically, writing
from catclip.models.finite import check_finite
from catclip.objectives.base import Objective
from catclip.train.folder import load_objective
from catclip.transfer.finetune import Classification
from catclip.verbs.classifying import choose_way, make_text_classifier
from catclip.verbs.limits import check_at_least
from catclip.verbs.training import pick_device

_SHOWN = 10  # pictures printed, and reasons why some cannot be read


class _Label(NamedTuple):
    wnid: str  # "" for what is no synset
    name: str


class _Guess(NamedTuple):
    label: _Label
    score: float


def run(config: PredictConfig) -> None:
    """Predict, write `labels.tsv` and the annotated pictures, and print the first."""
    console, device = Console(highlight=False), pick_device(config.device, "device")
    check_at_least({"top": (config.top, 1), "batch": (config.batch, 1), "workers": (config.workers, 0)})
    out = Path(config.out or Path("runs") / "predict" / time.strftime("%Y%m%d-%H%M%S"))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"out={out} is there already: give a folder that is not, or an empty one.")
    paths = find_pictures(config.images)
    objective = load_objective(Path(config.model), config.weights, device)
    classify, labels = _classifier(objective, config, device)
    with console.status("looking at pictures"):
        guesses, bad = _guess(paths, objective.backbone.image_size, classify, labels, config, device)
    if not guesses:
        path, reason = next(iter(bad.items()))
        raise UserError(f"None of the {len(bad):,} files can be read; {_shown(path)}: {reason}.")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "labels.tsv", _table(guesses))
        if config.annotate:
            _draw(guesses, out / "annotated")
    _say(guesses, bad, console)
    console.print(f"Labels{' and annotated pictures' if config.annotate else ''}: {out}", markup=False)


def _classifier(objective: Objective, config: PredictConfig, device: torch.device) -> tuple[Classifier, list[_Label]]:
    """From pictures to scores of labels, and those labels: the run's own, its classes, or those that are given."""
    if config.classes is not None:
        if not hasattr(objective, "embed_texts"):
            raise UserError(
                f"classes={config.classes} are chosen among by text, and this run ({type(objective).__name__}) has no "
                "text tower: leave classes out, and its own labels are predicted."
            )
        names = read_classes(config.classes)
        return make_text_classifier(objective, names, config.templates, device), [_Label("", name) for name in names]
    if isinstance(objective, Classification):
        return objective.probabilities, [_Label("", name) for name in objective.classes]
    if choose_way(objective, None) == "text" and not hasattr(objective, "head"):
        raise UserError(
            f"This run ({type(objective).__name__}) has no labels of its own: give classes=FILE, names to choose among."
        )
    choose_way(objective, "labels")
    vocabulary: Any = objective.vocabulary  # of synsets, words or subwords
    wnids = getattr(vocabulary, "wnids", [""] * len(vocabulary))
    labels = [_Label(wnid, name) for wnid, name in zip(wnids, vocabulary.names, strict=True)]
    return lambda images: label_log_probabilities(objective, images).exp(), labels


@torch.no_grad()
def _guess(
    paths: list[Path],
    size: int,
    classify: Classifier,
    labels: list[_Label],
    config: PredictConfig,
    device: torch.device,
) -> tuple[dict[Path, list[_Guess]], dict[Path, str]]:
    """The likeliest labels of each picture, and why some cannot be read.

    Raises:
        UserError: scores that are not finite.
    """
    guesses: dict[Path, list[_Guess]] = {}
    bad: dict[Path, str] = {}
    for batch in picture_batches(paths, size, config.batch, config.workers):
        bad |= batch.bad
        if batch.paths:
            scored = classify(batch.images.to(device))
            check_finite(scored)
            best = scored.topk(min(config.top, len(labels)))
            for path, scores, ids in zip(batch.paths, best.values.tolist(), best.indices.tolist(), strict=True):
                guesses[path] = [_Guess(labels[i], score) for i, score in zip(ids, scores, strict=True)]
    return guesses, bad


def _table(guesses: dict[Path, list[_Guess]]) -> str:
    lines = ["image\trank\twnid\tname\tscore"]
    for path, some in guesses.items():
        name = _shown(path).translate({ord("\t"): "\\t", ord("\n"): "\\n"})
        for rank, (label, score) in enumerate(some, 1):
            lines.append(f"{name}\t{rank}\t{label.wnid}\t{label.name}\t{score:.4f}")
    return "\n".join(lines) + "\n"


def _draw(guesses: dict[Path, list[_Guess]], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    taken: set[str] = set()
    for path, some in guesses.items():
        drawn = annotate(decode(path.read_bytes()), [(_short(label.name), score) for label, score in some])
        stem, number = path.stem, 1
        while stem in taken:
            number += 1
            stem = f"{path.stem}-{number}"
        taken.add(stem)
        drawn.save(folder / f"{stem}.jpg", quality=92)


def _shown(path: Path) -> str:
    """A path as text: names of files may be none in UTF-8."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _short(name: str) -> str:
    """`traffic_light.n.01`, or the subword `light</w>`, as people say it."""
    return name.partition(".n.")[0].removesuffix("</w>").replace("_", " ")


def _say(guesses: dict[Path, list[_Guess]], bad: dict[Path, str], console: Console) -> None:
    for path, some in list(guesses.items())[:_SHOWN]:
        said = ", ".join(f"{_short(label.name)} {score:.2f}" for label, score in some)
        console.print(f"{_shown(path)}: {said}", markup=False)
    if len(guesses) > _SHOWN:
        console.print(f"… and {len(guesses) - _SHOWN:,} more pictures.")
    for path, reason in list(bad.items())[:_SHOWN]:
        console.print(f"{_shown(path)} is left out: {reason}.", markup=False)
    if len(bad) > _SHOWN:
        console.print(f"… and {len(bad) - _SHOWN:,} more files that cannot be read.")

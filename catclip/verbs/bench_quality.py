"""`catclip bench captions quality=true`: how good the labels are, against their targets."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from catclip.captions.taggers import NltkTagger, SpacyTagger, Tagger
from catclip.compare.captions_quality import (
    AT_MOST,
    TARGETS,
    CocoClass,
    coco_figures,
    imagenet_figures,
    is_reached,
    label_figures,
    make_extractors,
    noun_figures,
    read_coco,
)
from catclip.config import BenchCaptionsConfig
from catclip.errors import UserError

CHECKS = {
    "noun_precision": "nouns: precision",
    "noun_recall": "nouns: recall",
    "no_noun_share": "labels that are no nouns",
    "imagenet_names": "ImageNet: by first name",
    "imagenet_reachable": "ImageNet: reachable",
    "coco_classes": "COCO: named",
}
SIDES = {"published": "published", "first_sense": "1st sense", "unreviewed": "no table", "default": "reached"}


def measure(config: BenchCaptionsConfig, console: Console) -> dict[str, float]:
    """Measure what `config` gives the data for, and say what it does not."""
    captions = _held_out(config)
    models, missing = _models(config) if captions else ([], ["The first three rows need captions=FILE."])
    classes = _coco(config)
    missing += [] if classes else ["The row of COCO's classes needs coco=FILE: benchmarks/coco80.tsv of the sources."]
    for line in missing:
        console.print(line, markup=False, soft_wrap=True)
    results: dict[str, float] = {f"target.{key}": target for key, target in TARGETS.items()}
    extractors = make_extractors()
    for side, extractor in extractors.items():
        figures = coco_figures(extractor, classes) if classes else {}
        results |= {f"{side}.{key}": value for key, value in figures.items()}
    try:
        for side, extractor in extractors.items():
            results |= {f"{side}.{key}": value for key, value in imagenet_figures(extractor).items()}
    except UserError as error:
        console.print(f"ImageNet's rows stay empty: {error}", markup=False, soft_wrap=True)
    if models:
        results |= {"captions": len(captions)} | noun_figures(captions, models)
        for side in ("published", "default"):
            figures = label_figures(extractors[side], captions, models)
            results |= {f"{side}.{key}": value for key, value in figures.items()}
    return results


def table(results: dict[str, float]) -> Table:
    """Return the checks as rows: each side's figure, what must be reached and what is."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column("check")
    for title in [*list(SIDES.values())[:-1], "target", "reached"]:
        grid.add_column(title, justify="right", no_wrap=True)
    for key, name in CHECKS.items():
        value = results.get(f"default.{key}")
        style = "" if value is None else "[green]" if is_reached(key, value) else "[red]"
        sides = [_show(key, results.get(f"{side}.{key}")) for side in list(SIDES)[:-1]]
        target = f"{'≤' if key in AT_MOST else '≥'} {_show(key, TARGETS[key])}"
        grid.add_row(name, *sides, target, style + _show(key, value))
    return grid


def _show(key: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1%}" if TARGETS[key] < 1 else f"{value:,.0f}"


def _held_out(config: BenchCaptionsConfig) -> list[str]:
    """The last captions of the file, one a line: see captions_quality for why the last."""
    if config.captions is None:
        return []
    path = Path(config.captions)
    if not path.is_file():
        raise UserError(f"captions={path} is no file.")
    captions = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(captions) < config.count:
        raise UserError(f"{path} has {len(captions):,} captions: count={config.count} of them cannot be judged.")
    return captions[-config.count :]


def _coco(config: BenchCaptionsConfig) -> list[CocoClass]:
    """COCO's classes; none where they are not asked for, or where the usual file is only in the sources."""
    if config.coco is None or (config.coco == BenchCaptionsConfig.coco and not Path(config.coco).is_file()):
        return []
    return read_coco(Path(config.coco))


def _models(config: BenchCaptionsConfig) -> tuple[list[Tagger], list[str]]:
    """The two taggers whose agreement is taken for the truth, or none and what they lack."""
    try:
        return [NltkTagger(), SpacyTagger(config.pipeline)], []
    except UserError as error:
        return [], [f"The first three rows stay empty. {error}"]

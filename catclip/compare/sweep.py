"""Runs of a sweep, finished or not, as configurations: what differs between them, and their figures over seeds."""

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catclip.errors import UserError
from catclip.train.folder import flat, is_free, read_config
from catclip.train.score import SCORES
from catclip.train.track import read_metrics

# What is compared, and whether more is better.
FIGURES = {
    "probe_accuracy": True, "map": True, "precision_at_1": True, "image_to_text_recall_at_10": True,
    "text_to_image_recall_at_10": True, "retrieval_recall_at_10": True, "zeroshot_top_1": True, "top_1": True,
    "loss": False,
    "images_per_second": True, "seconds": False,
}  # fmt: skip
# Of keys that differ together these name a configuration best.
_TELLING = ("objective._target_", "objective.loss", "objective.labels")
_REPEATS = "run.seed"  # runs that differ in nothing else are one configuration


@dataclass(frozen=True)
class SweptRun:
    """A run folder as it stands.

    Attributes:
        settings: the configuration's keys that change what is computed, dotted, with their values.
        figures: the latest of each.
        step: reached.
        curve: of each evaluation, the step, the seconds of training and the evaluation's figures.
    """

    path: Path
    settings: dict[str, Any]
    figures: dict[str, float]
    step: int
    finished: bool
    curve: list[dict[str, float]] = field(repr=False)


@dataclass(frozen=True)
class Configuration:
    """Runs that differ in their seeds alone.

    Attributes:
        settings: the swept keys and their values, as `swept_keys` chose them.
    """

    name: str
    settings: dict[str, Any]
    runs: list[SweptRun]

    @property
    def finished(self) -> list[SweptRun]:
        return [run for run in self.runs if run.finished]

    def values(self, figure: str) -> list[float]:
        """A figure of the finished runs; where none is, of those that are not."""
        return [run.figures[figure] for run in self.finished or self.runs if figure in run.figures]


def find_runs(patterns: Any) -> list[SweptRun]:
    """Read every run folder that the globs lead to, or that lies below.

    Raises:
        UserError: there is none.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    found = {folder.resolve(): folder for each in patterns for path in _glob(each) for folder in _run_folders(path)}
    if not found:
        raise UserError(f"runs={', '.join(patterns)}: there is no run folder, which has a config.yaml.")
    return [read_run(folder) for folder in found.values()]


def _glob(pattern: str) -> list[Path]:
    if Path(pattern).is_dir():  # a run's name may have the signs of a pattern in it
        return [Path(pattern)]
    root = Path(pattern).anchor
    return sorted(Path(root or ".").glob(pattern.removeprefix(root)))


def _run_folders(path: Path) -> Iterable[Path]:
    if path.name.startswith(".") or not path.is_dir():
        return
    if (path / "config.yaml").is_file():
        yield path
    else:
        for child in sorted(path.iterdir()):
            yield from _run_folders(child)


def read_run(path: Path) -> SweptRun:
    """A run folder, finished or not.

    Raises:
        UserError: it is none.
    """
    settings = {key: value for key, value in flat(read_config(path)).items() if not is_free(key)}
    rows = read_metrics(path / "metrics.jsonl")
    latest: dict[str, Any] = {}
    for row in rows:
        latest |= row
    finished = (path / "summary.json").is_file()
    if finished:
        latest |= json.loads((path / "summary.json").read_text())
    figures = {name: float(latest[name]) for name in FIGURES if _is_number(latest.get(name))}
    curve = [row for row in rows if any(name in row for name in SCORES)]
    return SweptRun(path, settings, figures, int(latest.get("step", 0)), finished, curve)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def configurations(runs: Sequence[SweptRun]) -> list[Configuration]:
    """Runs by what they were asked for, seeds aside, in the order in which they come."""
    groups: dict[str, list[SweptRun]] = {}
    for run in runs:
        identity = json.dumps({key: value for key, value in run.settings.items() if key != _REPEATS}, sort_keys=True)
        groups.setdefault(identity, []).append(run)
    settings = [members[0].settings for members in groups.values()]
    keys = swept_keys(settings)
    short = _short_names(keys)
    made = []
    for members in groups.values():
        mine = {short[key]: _shown(key, members[0].settings[key]) for key in keys if key in members[0].settings}
        name = ",".join(f"{key}={value}" for key, value in mine.items()) or members[0].path.name
        made.append(Configuration(name, mine, sorted(members, key=lambda run: run.settings.get(_REPEATS, 0))))
    return made


def swept_keys(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fewest plain keys that tell configurations apart.

    A key counts if those that have it differ in it: the options of one objective that another lacks follow from the
    objective. Of keys that always differ together, as a setting and another that is derived from it, one is enough.
    """
    # What evaluators are given comes last: most of it is derived.
    keys = sorted(
        {key for each in settings for key in each} - {_REPEATS},
        key=lambda key: (key not in _TELLING, "evaluators." in key, key),
    )
    kept: dict[tuple[str, ...], str] = {}
    for key in keys:
        values = tuple(json.dumps(each[key], sort_keys=True) if key in each else "" for each in settings)
        if len(set(values) - {""}) > 1:
            kept.setdefault(_pattern(values), key)
    chosen = list(kept.values())
    if len({tuple(str(each.get(key)) for key in chosen) for each in settings}) == len(settings):
        return chosen
    return [key for key in keys if len({str(each.get(key)) for each in settings}) > 1]


def _pattern(values: Sequence[str]) -> tuple[str, ...]:
    """Which of the values are equal, whatever they are; absence is no value."""
    numbers: dict[str, str] = {"": ""}
    return tuple(numbers.setdefault(value, str(len(numbers))) for value in values)


def _short_names(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each key, or all of it where that is another's too."""
    last = [_last(key) for key in keys]
    return {key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)}


def _last(key: str) -> str:
    return "objective" if key == "objective._target_" else key.rpartition(".")[2]


def _shown(key: str, value: Any) -> Any:
    return str(value).rpartition(".")[2].lower() if key == "objective._target_" else value


def spread(values: Sequence[float]) -> float | None:
    """The sample standard deviation; None of fewer than two."""
    return statistics.stdev(values) if len(values) > 1 else None


def best(made: Sequence[Configuration], figure: str) -> Configuration | None:
    """The configuration whose finished runs have the best mean of a figure; None where none is finished."""
    ranked = [each for each in made if each.finished and each.values(figure)]
    if not ranked:
        return None
    return (max if FIGURES[figure] else min)(ranked, key=lambda each: statistics.fmean(each.values(figure)))


def curve_figure(made: Sequence[Configuration]) -> str | None:
    """Which of `SCORES` the curves show: the first that any run has."""
    rows = [row for each in made for run in each.runs for row in run.curve]
    return next((name for name in SCORES if any(name in row for row in rows)), None)


def mean_curve(runs: Sequence[SweptRun], figure: str, against: str = "seconds") -> list[tuple[float, float, float]]:
    """Mean seconds, mean figure and its spread (0 of one run) at every step at which all of the runs were evaluated.

    In place of seconds, `against` may be `samples` or `step`.
    """
    by_step = [{row["step"]: row for row in run.curve if figure in row} for run in runs]
    points = []
    for step in sorted(set.intersection(*map(set, by_step))) if by_step else []:
        values = [rows[step][figure] for rows in by_step]
        spent = statistics.fmean(rows[step][against] for rows in by_step)
        points.append((spent, statistics.fmean(values), spread(values) or 0.0))
    return points


def flat_results(made: Sequence[Configuration]) -> dict[str, Any]:
    """What `compare.json` holds: `<configuration>.<figure>` with `.spread`, settings, curves; `best.<figure>`."""
    results: dict[str, Any] = {"configurations": [each.name for each in made]}
    shown = curve_figure(made)
    for each in made:
        results |= {f"{each.name}.{key}": value for key, value in each.settings.items()}
        results[f"{each.name}.finished_runs"] = len(each.finished)
        results[f"{each.name}.unfinished_runs"] = len(each.runs) - len(each.finished)
        results[f"{each.name}.step"] = min(run.step for run in each.finished or each.runs)
        for figure in FIGURES:
            if values := each.values(figure):
                results[f"{each.name}.{figure}"] = statistics.fmean(values)
                results[f"{each.name}.{figure}.spread"] = spread(values)
        if shown and (points := mean_curve(each.finished or each.runs, shown)):
            columns = zip(*points, strict=True)
            names = ("seconds", shown, f"{shown}.spread")
            results |= {f"{each.name}.curve_{name}": list(column) for name, column in zip(names, columns, strict=True)}
    for figure in FIGURES:
        if winner := best(made, figure):
            results[f"best.{figure}"] = winner.name
    return results

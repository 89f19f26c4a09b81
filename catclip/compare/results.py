"""What runs that were trained side by side have learned, and at what cost, as flat figures over their seeds."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from catclip.compare.over_seeds import ratio_of
from catclip.compare.sweep import SweptRun, mean_curve, read_run, spread

RATIOS = ("images_per_second", "step_milliseconds", "peak_memory_bytes", "parameters", "flops_per_image")
LEARNED = {  # what curves show, and the baseline's best is taken of
    "probe_accuracy": "linear probe accuracy", "zeroshot_top_1": "zero-shot accuracy",
    "retrieval_recall_at_10": "caption → picture recall@10", "map": "held-out mAP",
}  # fmt: skip
BUDGETS = ("seconds", "samples", "flops")
KEPT = (
    *RATIOS, "samples", "seconds", "data_wait", "map", "map_prior", "labels_evaluated",
    "precision_at_1", "precision_at_5", "pairs_evaluated", "probe_accuracy", "zeroshot_top_1",
    *(f"{way}_recall_at_{k}" for way in ("image_to_text", "text_to_image", "retrieval") for k in (1, 5, 10)),
)  # fmt: skip


def collect(folders: Mapping[str, Sequence[Path]], costs: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Flat results of runs that were trained together.

    Args:
        folders: of each objective its finished runs, one a seed, in the same order.
        costs: by the objective's name, further figures of a step.

    Returns:
        `objectives`, their names in order, the second being the baseline; figures by `<name>.<figure>`, means over
        the seeds, with `.spread`, their standard deviation, of several; `<name>.curve_*`, see `_curves`;
        `ratio.<figure>`, the second objective's divided by the first's, where `Ratio.supported` says that it may be
        printed, and `.low` and `.high` of several seeds; what `_to_accuracy` says of the first and the baseline. Of
        each further objective `beside.<name>.ratio.<figure>`, its own divided by the first's, and as
        `beside.<name>.…` what `_to_accuracy` says of it and the baseline.

    Raises:
        UserError: one of the folders is no run's.
    """
    runs = {name: [read_run(path) for path in paths] for name, paths in folders.items()}
    figures = {name: [_summary(run) for run in each] for name, each in runs.items()}
    results: dict[str, Any] = {"objectives": list(runs), "seeds": [_seed(run) for run in next(iter(runs.values()))]}
    for name, each in runs.items():
        for key in KEPT:
            _add_mean(results, f"{name}.{key}", _seen(key, figures[name], costs[name]))
        results |= _curves(name, each, costs[name].get("flops_per_image"))
    first, *others = runs
    for index, name in enumerate(others):
        learner, baseline = name if index else first, others[0]
        found = _cost_ratios(figures, costs, name, first) | _to_accuracy(runs, learner, baseline, costs)
        own = tuple(f"{each}." for each in runs) if index else ""
        results |= {key if key.startswith(own) else f"beside.{name}.{key}": value for key, value in found.items()}
    return results


def _seed(run: SweptRun) -> int:
    return int(run.settings["run.seed"])


def _summary(run: SweptRun) -> dict[str, Any]:
    return json.loads((run.path / "summary.json").read_text())


def _seen(key: str, figures: Sequence[Mapping[str, Any]], costs: Mapping[str, float]) -> list[float]:
    """A figure of each seed; what was measured once, and is none of a seed, once."""
    values = [costs[key]] if key in costs else [each.get(key) for each in figures]
    return [value for value in values if value is not None]


def _add_mean(results: dict[str, Any], key: str, values: Sequence[float]) -> None:
    if values:
        results[key] = statistics.fmean(values)
    if len(values) > 1:
        results[f"{key}.spread"] = spread(values)


def _cost_ratios(
    figures: Mapping[str, Sequence[Mapping[str, Any]]],
    costs: Mapping[str, Mapping[str, float]],
    above: str,
    below: str,
) -> dict[str, float]:
    """`ratio.<figure>` of `RATIOS`."""
    found: dict[str, float] = {}
    for key in RATIOS:
        over, under = (_seen(key, figures[name], costs[name]) for name in (above, below))
        if over and len(over) == len(under):
            found |= _ratio(key, over, under)
    return found


def _ratio(key: str, above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """`ratio.<key>`, if it may be printed, with `.low` and `.high` of several."""
    ratio = ratio_of(above, below)
    found = {f"ratio.{key}": ratio.value} if ratio.supported else {}
    if ratio.low is not None and ratio.high is not None:
        found |= {f"ratio.{key}.low": ratio.low, f"ratio.{key}.high": ratio.high}
    return found


def _curves(name: str, runs: Sequence[SweptRun], flops_per_image: float | None) -> dict[str, list[float]]:
    """Means over the seeds, at every step at which all were evaluated: `<name>.curve_<figure>`, with `.spread` of
    several seeds, and `<name>.curve_<figure>_<budget>`, what had been spent by then."""
    results: dict[str, list[float]] = {}
    for figure in LEARNED:
        points = mean_curve(runs, figure)
        if not points:
            continue
        key = f"{name}.curve_{figure}"
        results[key] = [mean for _, mean, _ in points]
        if len(runs) > 1:
            results[f"{key}.spread"] = [around for _, _, around in points]
        results[f"{key}_seconds"] = [seconds for seconds, _, _ in points]
        results[f"{key}_samples"] = [samples for samples, _, _ in mean_curve(runs, figure, "samples")]
        if flops_per_image is not None:
            results[f"{key}_flops"] = [samples * flops_per_image for samples in results[f"{key}_samples"]]
    return results


# ---- how much it takes to reach the baseline's best -----------------------------------------------------------------


def _to_accuracy(
    runs: Mapping[str, Sequence[SweptRun]], learner: str, baseline: str, costs: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """What an objective and the baseline spend until the baseline's best accuracy, of the same seed.

    Returns:
        Of each figure of `LEARNED`: `<name>.<budget>_to_<figure>`, the mean over seeds; `reached.<figure>`, the share
        of the seeds in which the objective gets there; and where it does in all, `ratio.<budget>_to_<figure>`, the
        baseline's divided by its own. Where a baseline was best before any training there is nothing to reach: then
        `untrained.<figure>`, the share of the seeds in which it was. Where one is there before its first evaluation
        after the start, when is not known: then `too_coarse.<figure>`, and what `_at_least` says.
    """
    results: dict[str, Any] = {}
    for figure in LEARNED:
        results |= _to_accuracy_in(figure, runs, learner, baseline, costs)
    return results


def _to_accuracy_in(
    figure: str,
    runs: Mapping[str, Sequence[SweptRun]],
    learner: str,
    baseline: str,
    costs: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    pairs = list(zip(runs[learner], runs[baseline], strict=True))
    if any(not _rows(run, figure) for pair in pairs for run in pair):
        return {}
    if figure == "map" and not all(same_labels(_summary(one), _summary(other)) for one, other in pairs):
        return {}
    goals = [max(row[figure] for row in _rows(other, figure)) for _, other in pairs]
    spent = {
        name: [_spent(run, figure, goal, costs[name].get("flops_per_image"))
               for run, goal in zip(runs[name], goals, strict=True)] for name in (learner, baseline)
    }  # fmt: skip
    results: dict[str, Any] = {f"reached.{figure}": statistics.fmean(each is not None for each in spent[learner])}
    if any(each is None for name in spent for each in spent[name]):
        return results
    untrained = [each is not None and each[1] == 0 for each in spent[baseline]]
    if any(untrained):
        return results | {f"untrained.{figure}": statistics.fmean(untrained)}
    if any(_is_guess(run, figure, each) for name in spent for run, each in zip(runs[name], spent[name], strict=True)):
        return results | {f"too_coarse.{figure}": True} | _at_least(figure, pairs, goals)
    for index, budget in enumerate(BUDGETS[: len(spent[learner][0] or ())]):
        values = {name: [each[index] for each in spent[name] if each] for name in spent}
        for name in values:
            _add_mean(results, f"{name}.{budget}_to_{figure}", values[name])
        results |= _ratio(f"{budget}_to_{figure}", values[baseline], values[learner])
    return results


def _rows(run: SweptRun, figure: str) -> list[dict[str, float]]:
    """The evaluations that have a figure."""
    return [row for row in run.curve if figure in row]


def same_labels(one: Mapping[str, Any], other: Mapping[str, Any], prefixes: tuple[str, str] = ("", "")) -> bool:
    """Whether two mean average precisions are of the same labels: of others, rare ones say, the same ranking has
    another. Labels that are as many, and as frequent on average, are taken to be the same."""
    keys = ("labels_evaluated", "map_prior")
    return all(one.get(prefixes[0] + key) == other.get(prefixes[1] + key) for key in keys)


def _is_guess(run: SweptRun, figure: str, spent: tuple[float, ...] | None) -> bool:
    """Whether the goal was passed before the first evaluation after the start: when, is not known."""
    rows = _rows(run, figure)
    return spent is not None and (len(rows) < 2 or spent[1] < rows[1]["samples"])


def _at_least(figure: str, pairs: Sequence[tuple[SweptRun, SweptRun]], goals: Sequence[float]) -> dict[str, float]:
    """`at_least.<budget>_to_<figure>`: what the baseline had spent when it was last seen below its best, divided by
    what the other had when it was first seen there; of the seed in which that is least. Only of time and pictures, and
    where it is above 1."""
    bounds: dict[str, float] = {}
    for budget in BUDGETS[:2]:
        ratios = []
        for (ours, theirs), goal in zip(pairs, goals, strict=True):
            (there, _), (_, before) = (_around(run, figure, goal, budget) for run in (ours, theirs))
            ratios.append(before / there if there else 0.0)
        if min(ratios) > 1:
            bounds[f"at_least.{budget}_to_{figure}"] = min(ratios)
    return bounds


def _around(run: SweptRun, figure: str, goal: float, budget: str) -> tuple[float, float]:
    """What had been spent when a run that gets there was first seen at a goal, and at the evaluation before."""
    rows = _rows(run, figure)
    index = next(index for index, row in enumerate(rows) if row[figure] >= goal)
    return rows[index][budget], rows[max(0, index - 1)][budget]


def _spent(run: SweptRun, figure: str, goal: float, flops_per_image: float | None) -> tuple[float, ...] | None:
    """Seconds, samples and, where they are known, FLOPs until a run reaches a goal; None if it never does."""
    rows = _rows(run, figure)
    values = [row[figure] for row in rows]
    seconds, samples = (crossing(goal, [row[key] for row in rows], values) for key in ("seconds", "samples"))
    if seconds is None or samples is None:
        return None
    return (seconds, samples) if flops_per_image is None else (seconds, samples, samples * flops_per_image)


def crossing(accuracy: float, spent: Sequence[float], accuracies: Sequence[float]) -> float | None:
    """What was spent when a curve first reaches an accuracy, with straight lines between its points; None if never."""
    previous = None
    for now, value in zip(spent, accuracies, strict=True):
        if value >= accuracy:
            if previous is None or value == previous[1]:
                return now
            share = (accuracy - previous[1]) / (value - previous[1])
            return previous[0] + share * (now - previous[0])
        previous = (now, value)
    return None

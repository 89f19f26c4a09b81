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
        printed, and `.low` and `.high` of several seeds; `ratio.<budget>_to_<figure>`, see `_add_to_accuracy`.

    Raises:
        UserError: one of the folders is no run's.
    """
    runs = {name: [read_run(path) for path in paths] for name, paths in folders.items()}
    figures = {name: [_summary(run) | dict(costs[name]) for run in each] for name, each in runs.items()}
    results: dict[str, Any] = {"objectives": list(runs), "seeds": [_seed(run) for run in next(iter(runs.values()))]}
    for name, each in runs.items():
        for key in KEPT:
            _add_mean(results, f"{name}.{key}", [one[key] for one in figures[name] if one.get(key) is not None])
        results |= _curves(name, each, costs[name].get("flops_per_image"))
    if len(runs) > 1:
        first, second = list(runs)[:2]
        for key in RATIOS:
            if all(one.get(key) for name in (first, second) for one in figures[name]):
                values = [[one[key] for one in figures[name]] for name in (second, first)]
                _add_ratio(results, key, *values)
        for figure in LEARNED:
            _add_to_accuracy(results, runs, first, second, figure, costs)
    return results


def _seed(run: SweptRun) -> int:
    return int(run.settings["run.seed"])


def _summary(run: SweptRun) -> dict[str, Any]:
    return json.loads((run.path / "summary.json").read_text())


def _add_mean(results: dict[str, Any], key: str, values: Sequence[float]) -> None:
    if values:
        results[key] = statistics.fmean(values)
    if len(values) > 1:
        results[f"{key}.spread"] = spread(values)


def _add_ratio(results: dict[str, Any], key: str, seconds: Sequence[float], firsts: Sequence[float]) -> None:
    ratio = ratio_of(seconds, firsts)
    if ratio.supported:
        results[f"ratio.{key}"] = ratio.value
    if ratio.low is not None:
        results |= {f"ratio.{key}.low": ratio.low, f"ratio.{key}.high": ratio.high}


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


def _add_to_accuracy(
    results: dict[str, Any],
    runs: Mapping[str, Sequence[SweptRun]],
    first: str,
    second: str,
    figure: str,
    costs: Mapping[str, Mapping[str, float]],
) -> None:
    """What each of two objectives spends until the second's best accuracy, of the same seed.

    Adds `<name>.<budget>_to_<figure>`, the mean over seeds; `reached.<figure>`, the share of the seeds in which the
    first gets there; and where it does in all, `ratio.<budget>_to_<figure>`, the second's divided by the first's.
    Where a baseline was best before any training there is nothing to reach: then `untrained.<figure>`, the share of
    the seeds in which it was. Where one is
    there before its first evaluation after the start, when is not known: then `too_coarse.<figure>`, and what
    `_at_least` says.
    """
    spent: dict[str, list[tuple[float, ...] | None]] = {first: [], second: []}
    for one, other in zip(runs[first], runs[second], strict=True):
        if figure == "map" and not same_labels(_summary(one), _summary(other)):
            return
        goals = [row[figure] for row in other.curve if figure in row]
        if not goals or not any(figure in row for row in one.curve):
            return
        for name, run in ((first, one), (second, other)):
            spent[name].append(_spent(run, figure, max(goals), costs[name].get("flops_per_image")))
    results[f"reached.{figure}"] = statistics.fmean(each is not None for each in spent[first])
    if any(each is None for name in spent for each in spent[name]):
        return
    untrained = [each is not None and each[1] == 0 for each in spent[second]]
    if any(untrained):
        results[f"untrained.{figure}"] = statistics.fmean(untrained)
        return
    if any(_is_guess(run, figure, each) for name in spent for run, each in zip(runs[name], spent[name], strict=True)):
        results[f"too_coarse.{figure}"] = True
        results |= _at_least(figure, [_first_seen(run, figure) for run in runs[first]], spent[first], spent[second])
        return
    for index, budget in enumerate(BUDGETS[: len(spent[first][0] or ())]):
        values = {name: [each[index] for each in spent[name] if each] for name in spent}
        for name in values:
            _add_mean(results, f"{name}.{budget}_to_{figure}", values[name])
        _add_ratio(results, f"{budget}_to_{figure}", values[second], values[first])


def same_labels(one: Mapping[str, Any], other: Mapping[str, Any], prefixes: tuple[str, str] = ("", "")) -> bool:
    """Whether two mean average precisions are of the same labels: of others, rare ones say, the same ranking has
    another. Labels that are as many, and as frequent on average, are taken to be the same."""
    keys = ("labels_evaluated", "map_prior")
    return all(one.get(prefixes[0] + key) == other.get(prefixes[1] + key) for key in keys)


def _is_guess(run: SweptRun, figure: str, spent: tuple[float, ...] | None) -> bool:
    """Whether the goal was passed before the first evaluation after the start: when, is not known."""
    seen = _first_seen(run, figure)
    return spent is not None and (seen is None or spent[1] < seen[1])


def _first_seen(run: SweptRun, figure: str) -> tuple[float, float] | None:
    """Seconds and samples at the first evaluation after the start."""
    rows = [row for row in run.curve if figure in row]
    return (rows[1]["seconds"], rows[1]["samples"]) if len(rows) > 1 else None


def _at_least(
    figure: str,
    seen: Sequence[tuple[float, float] | None],
    firsts: Sequence[tuple[float, ...] | None],
    seconds: Sequence[tuple[float, ...] | None],
) -> dict[str, float]:
    """`at_least.<budget>_to_<figure>`: what the second spends, divided by the most that the first can have; of the seed
    in which that is least. Only of time and pictures, and where it is above 1."""
    bounds: dict[str, float] = {}
    for index, budget in enumerate(BUDGETS[:2]):
        ratios = [
            theirs[index] / max(ours[index], early[index]) if theirs and ours and early else 0.0
            for early, ours, theirs in zip(seen, firsts, seconds, strict=True)
        ]
        if min(ratios) > 1:
            bounds[f"at_least.{budget}_to_{figure}"] = min(ratios)
    return bounds


def _spent(run: SweptRun, figure: str, goal: float, flops_per_image: float | None) -> tuple[float, ...] | None:
    """Seconds, samples and, where they are known, FLOPs until a run reaches a goal; None if it never does."""
    rows = [row for row in run.curve if figure in row]
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

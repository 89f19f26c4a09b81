"""What a comparison found, as flat figures: `<objective>.<figure>`, and `ratio.<figure>` between the first two."""

from collections.abc import Sequence
from typing import Any

from catclip.train.run import Run
from catclip.train.track import read_metrics

RATIOS = ("images_per_second", "step_milliseconds", "peak_memory_bytes", "parameters", "flops_per_image")
KEPT = (
    *RATIOS, "samples", "seconds", "data_wait", "map", "map_prior", "labels_evaluated",
    "precision_at_1", "precision_at_5", "pairs_evaluated", "probe_accuracy",
    *(f"{way}_recall_at_{k}" for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)),
)  # fmt: skip


def collect(runs: Sequence[Run], costs: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Flat results of runs that were trained together.

    Args:
        runs: done.
        costs: by the run's name, further figures of a step.

    Returns:
        `objectives`, their names in order; figures by `<name>.<figure>`; `<name>.curve_*`, lists of what the
        evaluations found; `ratio.<figure>`, the second objective's figure divided by the first's;
        `ratio.seconds_to_probe_accuracy`, see `seconds_to`.
    """
    results: dict[str, Any] = {"objectives": [run.name for run in runs]}
    for run in runs:
        figures = run.summary() | costs[run.name]
        results |= {f"{run.name}.{key}": figures[key] for key in KEPT if figures.get(key) is not None}
        results |= _curve(run)
    if len(runs) > 1:
        first, second = (run.name for run in runs[:2])
        for key in RATIOS:
            if results.get(f"{first}.{key}") and results.get(f"{second}.{key}"):
                results[f"ratio.{key}"] = results[f"{second}.{key}"] / results[f"{first}.{key}"]
        _add_time_to_accuracy(results, first, second)
    return results


def _curve(run: Run) -> dict[str, list[float]]:
    rows = [row for row in read_metrics(run.folder.path / "metrics.jsonl") if "probe_accuracy" in row]
    keys = ("seconds", "samples", "probe_accuracy")
    return {f"{run.name}.curve_{key}": [row[key] for row in rows] for key in keys} if rows else {}


def _add_time_to_accuracy(results: dict[str, Any], first: str, second: str) -> None:
    """How much longer the second took to its own best probe accuracy than the first took to the same accuracy."""
    seconds, accuracy = f"{second}.curve_seconds", f"{second}.curve_probe_accuracy"
    if not results.get(accuracy) or f"{first}.curve_seconds" not in results:
        return
    best = max(results[accuracy])
    took = seconds_to(best, results[seconds], results[accuracy])
    other = seconds_to(best, results[f"{first}.curve_seconds"], results[f"{first}.curve_probe_accuracy"])
    if took and other:
        results["ratio.seconds_to_probe_accuracy"] = took / other


def seconds_to(accuracy: float, seconds: Sequence[float], accuracies: Sequence[float]) -> float | None:
    """When a curve first reaches an accuracy, straight lines between its points; None if it never does."""
    previous = None
    for time, value in zip(seconds, accuracies, strict=True):
        if value >= accuracy:
            if previous is None or value == previous[1]:
                return time
            share = (accuracy - previous[1]) / (value - previous[1])
            return previous[0] + share * (time - previous[0])
        previous = (time, value)
    return None

"""How good a run is, in one figure: what a search maximises, and curves show."""

from collections.abc import Mapping
from typing import Any

# Figures of the evaluations, higher being better; the first that a run has stands for it.
SCORES = ("probe_accuracy", "map", "image_to_text_recall_at_10", "retrieval_recall_at_10", "zeroshot_top_1", "top_1")


def score(summary: Mapping[str, Any]) -> float | None:
    """A run's best figure by `run.best`; without that, its last of `SCORES`; None where nothing was evaluated."""
    return next((summary[name] for name in ("best_value", *SCORES) if summary.get(name) is not None), None)

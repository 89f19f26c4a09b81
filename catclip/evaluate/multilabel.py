"""Multi-label accuracy of label logits on held-out pairs: do the predicted synsets stand in the caption?"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from sklearn.metrics import average_precision_score

from catclip.data.loader import Batch
from catclip.models.finite import check_finite
from catclip.objectives.categorical import Categorical


def evaluate(objective: Categorical, batches: Iterable[Batch]) -> Iterator[tuple[str, float]]:
    """Mean average precision over labels and precision among the top predictions.

    Args:
        objective: in evaluation mode.
        batches: held-out batches with label targets. What stands there at reduced weight, hypernyms, is no label here.

    Yields:
        `map`: mean over the labels that occur of their average precision; `map_prior`: the same for a random ranking,
        which is the label's share of the pictures; `labels_evaluated`; `precision_at_1`, `precision_at_5`: the share
        of the k likeliest labels that are right, over pictures with at least one label.

    Raises:
        UserError: logits that are not finite.
    """
    device = next(objective.parameters()).device
    scores, truths = [], []
    for batch in batches:
        logits = objective.predict(batch["images"].to(device)).float().cpu()
        truth = torch.zeros(logits.shape, dtype=torch.bool)
        labels = torch.repeat_interleave(batch["label_offsets"].diff()), batch["label_ids"]
        truth[labels] = batch["label_weights"] == 1 if "label_weights" in batch else torch.tensor(True)
        scores.append(logits)
        truths.append(truth)
    check_finite(*scores)
    yield from multilabel_figures(torch.cat(scores).numpy(), torch.cat(truths).numpy())


def multilabel_figures(scores: np.ndarray, truth: np.ndarray) -> Iterator[tuple[str, float]]:
    """The figures of `evaluate`, from scores float [N, V] and truth bool [N, V]."""
    occurring = truth.any(axis=0)
    if not occurring.any():
        return
    yield "labels_evaluated", int(occurring.sum())
    yield "map", float(np.mean(average_precision_score(truth[:, occurring], scores[:, occurring], average=None)))
    yield "map_prior", float(truth[:, occurring].mean())
    labelled = truth.any(axis=1)
    best = np.argsort(-scores[labelled], axis=1)[:, :5]
    hits = np.take_along_axis(truth[labelled], best, axis=1)
    for k in (1, 5):
        yield f"precision_at_{k}", float(hits[:, :k].mean())

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torchmetrics.classification import MultilabelAveragePrecision

from catclip.errors import UserError
from catclip.evaluate.multilabel import evaluate, multilabel_figures
from tests import tiny


def made(seed: int, pictures: int = 60, labels: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random((pictures, labels)) < 0.2
    scores = rng.normal(size=truth.shape).astype(np.float32) + truth
    return scores, truth


@pytest.mark.parametrize("seed", range(4))
def test_map_agrees_with_torchmetrics_and_scikit_learn(seed):
    scores, truth = made(seed)
    truth[:, 3] = False  # a label that does not occur: it has no average precision
    occurring = truth.any(axis=0)
    figures = dict(multilabel_figures(scores, truth))
    metric = MultilabelAveragePrecision(int(occurring.sum()), average="macro", thresholds=None)
    theirs = metric(torch.from_numpy(scores[:, occurring]), torch.from_numpy(truth[:, occurring]).long())
    assert figures["map"] == pytest.approx(theirs.item(), abs=1e-6)
    each = [average_precision_score(truth[:, label], scores[:, label]) for label in np.flatnonzero(occurring)]
    assert figures["map"] == pytest.approx(np.mean(each))
    assert figures["labels_evaluated"] == occurring.sum() == 11


def test_map_by_hand():
    # Label 0 ranks its pictures 1st and 3rd: (1/1 + 2/3) / 2. Label 1 ranks its only one last of four.
    scores = np.array([[0.9, 0.8], [0.8, 0.7], [0.7, 0.6], [0.1, 0.5]])
    truth = np.array([[1, 0], [0, 0], [1, 0], [0, 1]], dtype=bool)
    figures = dict(multilabel_figures(scores, truth))
    assert figures["map"] == pytest.approx(((1 + 2 / 3) / 2 + 1 / 4) / 2)
    assert figures["map_prior"] == pytest.approx((2 / 4 + 1 / 4) / 2)


def test_map_of_a_random_ranking_is_the_prior():
    rng = np.random.default_rng(0)
    truth = rng.random((4000, 20)) < np.linspace(0.02, 0.4, 20)
    figures = dict(multilabel_figures(rng.random(truth.shape), truth))
    assert figures["map"] == pytest.approx(figures["map_prior"], abs=0.01)


def test_precision_by_hand():
    scores = np.array([[6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]], dtype=float)
    truth = np.zeros((3, 6), dtype=bool)
    truth[0, [0, 2, 5]] = True  # the likeliest is right, and two of the five likeliest
    truth[1, [0]] = True  # neither
    figures = dict(multilabel_figures(scores, truth))  # the third picture has no label and does not count
    assert figures["precision_at_1"] == pytest.approx(1 / 2)
    assert figures["precision_at_5"] == pytest.approx((2 / 5 + 0 / 5) / 2)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_precision_equals_a_naive_loop(seed):
    scores, truth = made(seed, pictures=15, labels=8)
    naive: dict[int, list[float]] = {1: [], 5: []}
    for row, right in zip(scores.tolist(), truth.tolist(), strict=True):
        if any(right):
            ranked = sorted(range(len(row)), key=lambda label: -row[label])
            for k, values in naive.items():
                values.append(sum(right[label] for label in ranked[:k]) / k)
    figures = dict(multilabel_figures(scores, truth))
    for k, values in naive.items():
        assert figures[f"precision_at_{k}"] == pytest.approx(np.mean(values))


def test_without_a_single_label_there_are_no_figures():
    assert dict(multilabel_figures(np.zeros((3, 4)), np.zeros((3, 4), dtype=bool))) == {}


def test_evaluate_reads_ragged_labels_and_does_not_depend_on_the_batches(glyphs):
    config = tiny.config("categorical", glyphs)
    objective = tiny.build(config).eval()
    labels = len(objective.targets.vocabulary)
    batches = tiny.batches(config, objective, 6)
    with torch.no_grad():
        figures = dict(evaluate(objective, batches))
        scores = torch.cat([objective.predict(batch["images"]) for batch in batches]).numpy()
    truth = np.zeros((48, labels), dtype=bool)
    row = 0
    for batch in batches:
        offsets = batch["label_offsets"].tolist()
        for start, stop in pairwise(offsets):
            for label in batch["label_ids"][start:stop].tolist():
                truth[row, label] = True
            row += 1
    assert row == 48
    assert figures == pytest.approx(dict(multilabel_figures(scores, truth)))
    assert figures["labels_evaluated"] == labels  # an epoch of training pictures shows every label
    torch.nn.init.constant_(objective.head.bias, torch.nan)
    with torch.no_grad(), pytest.raises(UserError, match="not finite"):
        dict(evaluate(objective, batches))

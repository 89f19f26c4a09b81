import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from catclip.transfer.few_shot import STRENGTH, choose_shots, few_shot
from tests.transfer.test_probe import blobs


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 8), st.booleans())
def test_each_class_has_its_shots(seed, shots, multilabel):
    rng = np.random.default_rng(seed)
    truth = rng.random((60, 4)) < 0.3 if multilabel else np.eye(4, dtype=bool)[np.arange(60) % 4]
    fewer, rows = (choose_shots(truth, each, np.random.default_rng(seed)) for each in (shots - 1, shots))
    assert set(fewer) <= set(rows)
    have, all_ = truth[rows].sum(axis=0), truth.sum(axis=0)
    assert (have >= np.minimum(shots, all_)).all()
    if not multilabel:
        assert (have == shots).all()


@pytest.mark.parametrize("multilabel", [False, True])
def test_few_shot_is_scikit_learns_logistic_regression(multilabel):
    train, labels = blobs(0, 80)
    test, _ = blobs(1, 30)
    truth = np.eye(4, dtype=bool)[labels]
    if multilabel:
        truth[::3, 0] = True
    draws = list(few_shot(train, truth, test, multilabel, [1, 4], 2, 0))
    assert [(draw.shots, draw.number) for draw in draws] == [(1, 0), (1, 1), (4, 0), (4, 1)]
    rows = choose_shots(truth, 4, np.random.default_rng((0, 1)))
    assert draws[-1].train_images == len(rows)
    model = LogisticRegression(C=STRENGTH, max_iter=5000, tol=1e-8)
    pipeline = make_pipeline(StandardScaler(), OneVsRestClassifier(model) if multilabel else model)
    pipeline.fit(train[rows], truth[rows] if multilabel else labels[rows])
    expected = pipeline.decision_function(test) if multilabel else pipeline.predict_proba(test)
    assert draws[-1].scores == pytest.approx(expected, abs=2e-3)


def test_what_a_class_has_too_few_pictures_for_is_left_out():
    train, labels = blobs(0, 24)
    truth = np.eye(4, dtype=bool)[labels]
    assert {draw.shots for draw in few_shot(train, truth, train, False, [1, 6, 7], 1, 0)} == {1, 6}

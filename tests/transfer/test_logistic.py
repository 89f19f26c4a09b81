"""Softmax heads are scikit-learn's, and the search finds what a full sweep finds."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from catclip.transfer.logistic import Head, choose_strength, fit_logistic
from tests.transfer.test_probe import blobs

GRID = [10 ** (place / 8) for place in range(-32, 33)]


@pytest.mark.parametrize("strength", [1e-4, 1e-2, 1.0])
def test_softmax_heads_are_scikit_learns(strength):
    features, labels = blobs(0, 200)
    x = StandardScaler().fit_transform(features).astype(np.float64)
    model = LogisticRegression(C=strength, tol=1e-9, max_iter=10_000).fit(x, labels)
    start = Head(torch.randn(10, 4, dtype=torch.float64), torch.randn(4, dtype=torch.float64))
    for begin in (None, start):
        head = fit_logistic(torch.from_numpy(x), torch.from_numpy(labels), 4, strength, begin, 1e-6)
        found = head.logits(torch.from_numpy(x)).softmax(1).numpy()
        assert found == pytest.approx(model.predict_proba(x), abs=1e-4)


@pytest.mark.parametrize("multilabel", [False, True])
def test_many_classes_are_fitted_as_far_as_few(multilabel):
    """The more classes there are, the smaller their gradients."""
    torch.manual_seed(0)
    x, y = torch.randn(1500, 2, dtype=torch.float64), torch.arange(1500)
    truth = torch.eye(1500, dtype=torch.float64) if multilabel else y
    loss_of = F.binary_cross_entropy_with_logits if multilabel else F.cross_entropy

    def loss(tolerance):
        return float(loss_of(fit_logistic(x, truth, 1500, 10.0, None, tolerance).logits(x), truth))

    best, found = loss(1e-7), loss(1e-3)
    start = float(loss_of(torch.zeros(1500, 1500, dtype=torch.float64), truth))
    assert start - found > 0.9 * (start - best)


@given(st.floats(-5, 5), st.sampled_from([0.5, 1.0, 3.0]))
def test_of_one_peak_the_search_finds_the_top(peak, width):
    tried = []

    def score(strength):
        tried.append(strength)
        return -(abs(np.log10(strength) - peak) ** width)

    strength, best = choose_strength(score)
    assert best == max(map(score, GRID))
    assert strength == pytest.approx(GRID[int(np.argmax([score(each) for each in GRID]))])


def test_of_equals_the_more_regularised_and_the_weak_ones_are_not_tried():
    tried = []
    strength, score = choose_strength(lambda c: tried.append(c) or 0.5)
    assert (strength, score) == (pytest.approx(1e-4), 0.5)
    assert max(tried) == pytest.approx(1)


def test_each_strength_is_tried_once():
    tried = []
    choose_strength(lambda c: tried.append(round(8 * np.log10(c))) or -abs(np.log10(c) - 3.9))
    assert len(tried) == len(set(tried)) <= 13
    assert all(-32 <= place <= 32 for place in tried)

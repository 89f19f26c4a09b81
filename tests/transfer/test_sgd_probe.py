import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from catclip.config import SgdProbeConfig
from catclip.errors import UserError
from catclip.transfer.sgd_probe import sgd_scores
from tests.transfer.test_probe import blobs


def test_many_large_steps_come_to_logistic_regression():
    train, test = blobs(0, 200), blobs(1, 400)
    scaler = StandardScaler().fit(train[0])
    model = LogisticRegression(C=np.inf, max_iter=5000).fit(scaler.transform(train[0]), train[1])
    config = SgdProbeConfig(epochs=150, lr=0.03, min_lr=1e-5, batch=50)
    scores = sgd_scores(train[0], np.eye(4, dtype=bool)[train[1]], test[0], False, config, 0)
    found = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert found == pytest.approx(model.predict_proba(scaler.transform(test[0])), abs=0.1)
    assert (scores.argmax(1) == test[1]).mean() == pytest.approx(
        model.score(scaler.transform(test[0]), test[1]), abs=0.02
    )


def test_no_weight_moves_further_than_the_rates_allow_in_sum():
    """AdamW's steps are the rate or less: 30 epochs of 1 step at 3e-5, falling to 1e-6."""
    train = np.random.default_rng(0).normal(size=(40, 3))
    truth = np.random.default_rng(1).random((40, 2)) < 0.5
    unit = StandardScaler().fit(train)
    test = unit.inverse_transform(np.concatenate([np.zeros((1, 3)), np.eye(3)]))
    scores = sgd_scores(train, truth, test, True, SgdProbeConfig(), 0)
    moved = np.abs(np.concatenate([scores[:1], scores[1:] - scores[:1]]))
    most = 30 * (3e-5 + 1e-6) / 2  # the mean of a cosine
    assert 0 < moved.max() <= most * 1.05


def test_the_seed_is_of_the_order():
    train, test = blobs(0, 100), blobs(1, 20)
    truth, config = np.eye(4, dtype=bool)[train[1]], SgdProbeConfig(epochs=2, lr=0.01, batch=10)
    one, again, other = (sgd_scores(train[0], truth, test[0], False, config, seed) for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    train[0][0, 0] = np.nan
    with pytest.raises(UserError, match="not finite"):
        sgd_scores(train[0], truth, test[0], False, config, 0)

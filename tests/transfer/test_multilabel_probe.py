"""Sigmoid heads are scikit-learn's logistic regressions, and their figure is the evaluator's."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from catclip.config import LabelledConfig
from catclip.data.labelled import open_splits
from catclip.errors import UserError
from catclip.evaluate.multilabel import multilabel_figures
from catclip.transfer.logistic import Head, fit_logistic
from catclip.transfer.multilabel_probe import fit_multilabel_probe, probe_multilabel
from tests import tiny
from tests.data.making import encode, picture


def labelled(seed: int, pictures: int, classes: int = 5, width: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Features that tell each of several classes from noise, on very different scales; the last class never occurs."""
    directions = np.random.default_rng(99).normal(size=(width, classes))
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(pictures, width))
    truth = features @ directions + rng.normal(size=(pictures, classes)) > np.linspace(0, 3, classes)
    truth[:, -1] = False
    return (features * np.logspace(-2, 2, width) + 5).astype(np.float32), truth


@pytest.mark.parametrize("strength", [1e-3, 1e-2, 1e-1, 1.0])
def test_heads_are_logistic_regressions(strength):
    features, truth = labelled(0, 200)
    x = StandardScaler().fit_transform(features).astype(np.float64)
    start = Head(torch.randn(12, 5, dtype=torch.float64), torch.randn(5, dtype=torch.float64))
    for begin in (None, start):
        weight, bias = fit_logistic(torch.from_numpy(x), torch.from_numpy(truth).double(), 5, strength, begin, 1e-6)
        for label in range(4):
            model = LogisticRegression(C=strength, tol=1e-9, max_iter=10_000).fit(x, truth[:, label])
            assert weight[:, label].numpy() == pytest.approx(model.coef_[0], abs=2e-3)
            assert float(bias[label]) == pytest.approx(model.intercept_[0], abs=2e-3)
        assert float(bias[4]) < -5, "what never occurs is never likely"


def test_the_figure_is_the_evaluators():
    train, test = labelled(0, 300), labelled(1, 200)
    result = fit_multilabel_probe(train, test)
    scaler = StandardScaler().fit(train[0])
    x, test_x = scaler.transform(train[0]), scaler.transform(test[0])
    models = [LogisticRegression(C=result.strength, max_iter=5000).fit(x, train[1][:, label]) for label in range(4)]
    scores = np.stack([*(model.decision_function(test_x) for model in models), np.zeros(200)], axis=1)
    assert result.map == pytest.approx(dict(multilabel_figures(scores, test[1]))["map"], abs=1e-3)
    assert result.map > 2 * dict(multilabel_figures(scores, test[1]))["map_prior"]
    assert 1e-4 <= result.strength <= 1e4
    assert (result.classes, result.classes_evaluated, result.train_images, result.test_images) == (5, 4, 300, 200)
    assert result == fit_multilabel_probe(train, test)


def test_what_cannot_be_probed_is_the_users_error():
    train, test = labelled(0, 50), labelled(1, 50)
    nothing = (test[0], np.zeros_like(test[1]))
    for one, other in ((train, nothing), (nothing, test), ((train[0][:1], train[1][:1]), test)):
        with pytest.raises(UserError, match="A probe needs pictures with labels"):
            fit_multilabel_probe(one, other)
    test[0][3, 2] = np.nan
    with pytest.raises(UserError, match="not finite"):
        fit_multilabel_probe(train, test)


def test_probe_of_an_objective(glyphs, tmp_path):
    for number in range(24):
        (tmp_path / f"{number}.png").write_bytes(encode(picture(number), "PNG"))
    rows = [f"{number}.png,{'a b' if number % 3 else 'b' if number % 2 else ''}\n" for number in range(24)]
    for split, some in (("train", rows[:16]), ("test", rows[16:])):
        (tmp_path / f"{split}.csv").write_text("image,labels\n" + "".join(some))
    config = LabelledConfig(train=str(tmp_path / "train.csv"), test=str(tmp_path / "test.csv"), delimiter=" ")
    objective = tiny.build(tiny.config("categorical", glyphs)).eval()
    result = probe_multilabel(objective, open_splits(config), torch.device("cpu"))
    assert (result.classes, result.train_images, result.test_images) == (2, 16, 8)
    assert 0 < result.map <= 1

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from catclip.errors import UserError
from catclip.transfer.knn import TEMPERATURE, knn_scores


@pytest.mark.parametrize("k", [1, 5, 20])
def test_knn_agrees_with_scikit_learns(k):
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(150, 8)).astype(np.float32), rng.normal(size=(1100, 8)).astype(np.float32)
    labels = rng.integers(0, 4, 150)

    def weights(distances):  # of cosines
        return np.exp((1 - distances) / TEMPERATURE)

    model = KNeighborsClassifier(k, metric="cosine", weights=weights).fit(train, labels)
    assert knn_scores(train, np.eye(4, dtype=bool)[labels], test, k) == pytest.approx(
        model.predict_proba(test), abs=1e-4
    )


def test_pictures_of_any_classes_and_few_neighbours():
    train, truth = np.eye(3), np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]], bool)
    scores = knn_scores(train, truth, np.array([[2.0, 0, 0], [0, 0, 5.0]]), k=100)
    near, far = np.exp(1 / TEMPERATURE), 1.0
    everything = near + 2 * far
    assert scores[0] == pytest.approx([near / everything, (near + far) / everything, 0])
    assert scores[1] == pytest.approx([far / everything, 2 * far / everything, 0])


def test_features_that_are_not_finite_are_said():
    lost = np.array([[1.0, np.nan]])
    for train, test in ((lost, np.ones((1, 2))), (np.ones((1, 2)), lost)):
        with pytest.raises(UserError, match="not finite"):
            knn_scores(train, np.ones((1, 1), bool), test, 1)

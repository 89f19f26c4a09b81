import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from catclip.data.labelled import open_labelled
from catclip.errors import UserError
from catclip.transfer.probe import extract_features, fit_probe, probe, probe_evaluator
from tests import tiny

CPU = torch.device("cpu")


def blobs(seed: int, pictures: int, classes: int = 4, width: int = 10, spread: float = 1.6):
    """Features of which some directions tell the class, on very different scales."""
    centres = np.random.default_rng(99).normal(size=(classes, width))
    rng = np.random.default_rng(seed)
    labels = np.arange(pictures) % classes
    features = centres[labels] + spread * rng.normal(size=(pictures, width))
    return (features * np.logspace(-2, 3, width) + 7).astype(np.float32), labels


@pytest.mark.parametrize("spread", [0.8, 1.6, 3.0])
def test_probe_agrees_with_scikit_learn_alone(spread):
    """The same procedure from scikit-learn's parts, each fit from scratch and to convergence."""
    train, test = blobs(0, 200, spread=spread), blobs(1, 400, spread=spread)
    result = fit_probe(train, test)

    scaler = StandardScaler().fit(train[0])

    def fitted(strength, x, y):
        return LogisticRegression(C=strength, max_iter=10_000, tol=1e-8).fit(x, y)

    x, test_x = scaler.transform(train[0]), scaler.transform(test[0])
    fit_x, held_x, fit_y, held_y = train_test_split(x, train[1], test_size=0.2, random_state=0, stratify=train[1])
    strengths = [*10.0 ** np.arange(-4, 4, 0.5), result.strength]
    scores = {strength: fitted(strength, fit_x, fit_y).score(held_x, held_y) for strength in strengths}
    # One picture of the forty held back is .025: how far a fit converges may turn one.
    assert result.validation_accuracy == pytest.approx(scores[result.strength], abs=0.026)
    assert scores[result.strength] > max(scores.values()) - 0.06, "the search may miss a peak that is noise"
    assert result.accuracy == pytest.approx(fitted(result.strength, x, train[1]).score(test_x, test[1]), abs=0.01)
    assert (result.classes, result.train_images, result.test_images) == (4, 200, 400)


def test_probe_of_noise_is_chance_and_of_a_giveaway_is_perfect():
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    noise = rng.normal(size=(300, 5))
    assert fit_probe((noise, labels), (rng.normal(size=(300, 5)), labels)).accuracy == pytest.approx(1 / 3, abs=0.09)
    giveaway = np.eye(3)[labels]
    assert fit_probe((giveaway, labels), (giveaway, labels)).accuracy == 1.0


def test_of_equally_good_strengths_the_more_regularised_is_taken():
    labels = np.arange(100) % 2
    features = np.stack([labels * 2.0 - 1, np.zeros(100)], axis=1)  # a constant feature does no harm
    assert fit_probe((features, labels), (features, labels)).strength == pytest.approx(1e-4)


def test_probe_is_the_same_each_time():
    assert fit_probe(blobs(0, 120), blobs(1, 60)) == fit_probe(blobs(0, 120), blobs(1, 60))


@pytest.mark.parametrize("pictures", [2, 3, 4])
def test_few_pictures_a_class_are_enough(pictures):
    """A fifth of them is fewer than there are classes."""
    train, test = blobs(0, 30 * pictures, classes=30, spread=0.1), blobs(1, 90, classes=30, spread=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit_probe(train, test).accuracy > 0.9


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 0, 0, 1]])
def test_too_few_classes_or_pictures_are_the_users_error(labels):
    data = (np.eye(4), np.array(labels))
    with pytest.raises(UserError, match="at least two classes with at least two training pictures"):
        fit_probe(data, data)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_the_users_error(value):
    train, test = blobs(0, 40), blobs(1, 40)
    test[0][3, 2] = value
    with pytest.raises(UserError, match="not finite"):
        fit_probe(train, test)


# ---------------------------------------------------------------- from folders of pictures


def paint(folder: Path, pictures: int, seed: int) -> Path:
    """Red and green noise in two class folders."""
    rng = np.random.default_rng(seed)
    for label, name in enumerate(("green", "red")):
        (folder / name).mkdir(parents=True)
        for i in range(pictures):
            pixels = rng.integers(0, 90, (40, 40, 3), dtype=np.uint8)
            pixels[..., 1 - label] += 150
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture
def coloured(tmp_path) -> Path:
    paint(tmp_path / "colours" / "train", 6, 0)
    paint(tmp_path / "colours" / "test", 4, 1)
    return tmp_path / "colours"


def test_features_are_the_embeddings_in_the_order_of_the_folder(coloured):
    folder = open_labelled(coloured / "train")

    def mean_colour(images: torch.Tensor) -> torch.Tensor:
        assert images.dtype == torch.uint8
        assert images.shape[1:] == (3, 32, 32)
        return images.double().mean(dim=(2, 3)).half()

    features = extract_features(mean_colour, folder, 32, CPU, workers=0)
    assert features.dtype == np.float32
    paths = [coloured / "train" / name / f"{number}.png" for name in ("green", "red") for number in range(6)]
    for path, feature in zip(paths, features, strict=True):
        assert feature == pytest.approx(np.asarray(Image.open(path)).mean(axis=(0, 1)), abs=1.5)


def test_probe_of_an_objective(glyphs, coloured):
    config = tiny.config("categorical", glyphs)
    objective = tiny.build(config).eval()
    before = objective.head.weight.detach().clone()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = probe(objective, coloured, CPU)
    assert result.accuracy == 1.0
    assert (result.classes, result.train_images, result.test_images) == (2, 12, 8)
    assert torch.equal(objective.head.weight, before)
    assert dict(probe_evaluator(config, CPU, data=coloured)(objective)) == {"probe_accuracy": 1.0}
    assert dict(probe_evaluator(config, CPU, data=coloured, name="colour")(objective)) == {"colour_accuracy": 1.0}


def test_features_are_in_full_precision_whatever_the_run_evaluates_in(glyphs, coloured):
    objective = tiny.build(tiny.config("categorical", glyphs)).eval()
    pictures = open_labelled(coloured / "train")
    expected = extract_features(objective.embed, pictures, tiny.SIZE, CPU, workers=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert np.array_equal(extract_features(objective.embed, pictures, tiny.SIZE, CPU, workers=0), expected)


def test_glyphs_probe_set_of_two_pictures_a_class(glyphs):
    objective = tiny.build(tiny.config("categorical", glyphs)).eval()
    result = probe(objective, glyphs / "probe", CPU)
    assert result.train_images == 2 * result.classes
    assert 0 <= result.accuracy <= 1


def test_a_class_with_one_picture_is_named(glyphs, coloured):
    for picture in range(1, 6):
        (coloured / "train" / "red" / f"{picture}.png").unlink()
    objective = tiny.build(tiny.config("categorical", glyphs)).eval()
    with pytest.raises(UserError, match="two pictures of each class; not so red"):
        probe(objective, coloured, CPU)


def test_splits_with_different_classes_are_refused_before_training(glyphs, coloured):
    config = tiny.config("categorical", glyphs)
    shutil.copytree(coloured / "train" / "red", coloured / "train" / "blue")
    with pytest.raises(UserError, match="blue"):
        probe_evaluator(config, CPU, data=coloured)
    with pytest.raises(UserError, match="No folder"):
        probe_evaluator(config, CPU, data=coloured / "nowhere")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_is_named_in_a_line(glyphs, coloured, workers):
    damaged = coloured / "train" / "red" / "3.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    folder = open_labelled(coloured / "train")
    with pytest.raises(UserError) as error:
        extract_features(lambda images: images.float().mean(dim=(2, 3)), folder, 32, CPU, workers)
    assert str(error.value).startswith(f"{damaged} cannot be decoded")
    assert "\n" not in str(error.value)

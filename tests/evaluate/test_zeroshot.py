"""Zero-shot figures against plain loops, open_clip's classifier and scikit-learn's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.zero_shot_metadata import SIMPLE_IMAGENET_TEMPLATES
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from catclip.data.labelled import open_labelled
from catclip.errors import UserError
from catclip.evaluate.ranking import read_texts
from catclip.evaluate.zeroshot import (
    Scores,
    class_accuracies,
    figures,
    hits,
    score,
    text_classifier,
    zero_shot_evaluator,
)
from tests import tiny

CPU = torch.device("cpu")


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_figures_are_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(7), rng.integers(0, 7, 40)])
    scores = rng.normal(size=(47, 7)).astype(np.float32)
    found = dict(figures(Scores(scores, np.eye(7, dtype=bool)[labels]), multilabel=False))
    assert found["top_1"] == pytest.approx(top_k_accuracy_score(labels, scores, k=1))
    assert found["top_5"] == pytest.approx(top_k_accuracy_score(labels, scores, k=5))
    assert found["top_1_mean_class"] == pytest.approx(balanced_accuracy_score(labels, scores.argmax(1)))


def test_ties_are_broken_evenly_not_in_anybodys_favour():
    truth = np.eye(4, dtype=bool)[[0, 1, 2]]
    scores = np.array([[1, 1, 0, 0], [2, 1, 1, 1], [0, 0, 0, 0]], np.float32)
    assert hits(Scores(scores, truth), 1).tolist() == [1 / 2, 0, 1 / 4]
    assert hits(Scores(scores, truth), 2).tolist() == [1, 1 / 3, 1 / 2]
    assert class_accuracies(Scores(scores, truth)) == {0: 0.5, 1: 0.0, 2: 0.25}
    assert set(dict(figures(Scores(scores, truth), False))) == {"top_1", "top_1_mean_class"}, "four classes: no top 5"


@torch.no_grad()
def test_text_classifier_averages_sentences(glyphs):
    """CLIP's recipe by hand: unit vectors, their mean, a unit vector again."""
    objective = tiny.build(tiny.config("contrastive", glyphs)).eval()
    names, templates = ["dog", "traffic light"], list(SIMPLE_IMAGENET_TEMPLATES)
    classify = text_classifier(objective, lambda texts: read_texts(objective, texts)["tokens"], names, templates, CPU)
    images = torch.randint(0, 256, (3, 3, tiny.SIZE, tiny.SIZE), dtype=torch.uint8)
    for label, name in enumerate(names):
        texts = torch.stack([objective.targets.tokenizer(template(name))[0] for template in templates])
        mean = torch.nn.functional.normalize(objective.embed_texts(texts).mean(0), dim=0)
        assert torch.allclose(classify(images)[:, label], objective.embed_pictures(images) @ mean, atol=1e-6)


def test_evaluator_scores_all_pictures(glyphs):
    objective = tiny.build(tiny.config("categorical", glyphs)).eval()
    images = open_labelled(glyphs / "probe" / "test")
    weight = torch.randn(len(images.classes), objective.backbone.width, generator=torch.Generator().manual_seed(0))

    def make_classifier(given):
        assert given is objective
        return lambda pictures: given.embed(pictures) @ weight.T

    found = dict(zero_shot_evaluator(make_classifier, images, CPU, 0)(objective))
    assert set(found) == {"zeroshot_top_1", "zeroshot_top_5", "zeroshot_top_1_mean_class"}
    with torch.autocast("cpu", torch.bfloat16):  # as a run may evaluate
        again = score(make_classifier(objective), images, objective.backbone.image_size, CPU)
    assert again.scores.shape == (len(images), len(images.classes))
    assert found["zeroshot_top_1"] == pytest.approx(float(hits(again, 1).mean()))
    batch = next(images.batches(tiny.SIZE))
    with torch.no_grad():
        expected = (objective.embed(batch["images"]) @ weight.T).numpy()
    assert again.scores[: len(expected)] == pytest.approx(expected, abs=1e-5)


def test_scores_that_are_not_finite_are_said_and_not_right(glyphs):
    images = open_labelled(glyphs / "probe" / "test")
    with pytest.raises(UserError, match="not finite numbers: these weights are lost"):
        score(lambda pictures: torch.full((len(pictures), 131), torch.nan), images, tiny.SIZE, CPU)

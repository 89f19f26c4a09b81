"""The objective gives its loss what the captions say, and the head starts at the measured log-odds."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from catclip.captions import Vocabulary
from catclip.captions.sources import captions_of
from catclip.config import BackboneConfig
from catclip.data.pairs import Annotation, Pairs
from catclip.data.shards import Shards
from catclip.data.targets import LabelTargets
from catclip.errors import UserError
from catclip.objectives.build import build_objective
from catclip.objectives.categorical import Categorical, count_labels
from tests.tiny import OPTIONS, SIZE, batches, build, config, data_config, objective_config, vocabulary_file


def dense(labels: list[set[int]], width: int) -> torch.Tensor:
    target = torch.zeros(len(labels), width)
    for row, each in enumerate(labels):
        for label in each:
            target[row, label] = 1
    return target


# ---- the loss -------------------------------------------------------------------------------------------------------


def test_forward_is_that_loss_on_a_batch_of_the_loader(glyphs):
    settings_ = config("categorical", glyphs)
    objective = build(settings_)
    for batch in batches(settings_, objective, 2):
        logits = objective.predict(batch["images"])
        features = objective.embed(batch["images"])
        assert features.shape == (8, OPTIONS["embed_dim"])
        torch.testing.assert_close(logits, objective.head(features))
        labels = [
            set(batch["label_ids"][start:stop].tolist()) for start, stop in pairwise(batch["label_offsets"].tolist())
        ]
        assert any(labels)
        expected = F.binary_cross_entropy_with_logits(logits, dense(labels, logits.shape[1]), reduction="sum") / 8
        torch.testing.assert_close(objective(batch)["loss"], expected)


# ---- where the biases start -----------------------------------------------------------------------------------------


def carried(glyphs, take) -> torch.Tensor:
    """How many of the training pictures carry each label, counted by hand."""
    vocabulary = Vocabulary.load(vocabulary_file(glyphs))
    counts = torch.zeros(len(vocabulary), dtype=torch.float64)
    shards = Shards(str(glyphs / "train-*.tar"))
    for place in shards.in_order():
        captions = take(captions_of(shards.read(*place), "json.captions"))
        wnids = {wnid for caption in captions for wnid in vocabulary.extractor(caption)}
        for wnid in wnids & set(vocabulary.wnids):
            counts[vocabulary.index(wnid)] += 1
    return counts


@pytest.mark.parametrize(
    ("mode", "take"), [("all", lambda captions: captions), ("first", lambda captions: captions[:1])]
)
def test_biases_are_the_measured_log_odds(glyphs, mode, take):
    objective = build(config("categorical", glyphs, data={"captions": mode}))
    share = (carried(glyphs, take) + 0.5) / (48 + 1)
    assert share.min() < 0.05 < share.max()  # the comparison would see uniform biases
    torch.testing.assert_close(objective.head.bias.double(), (share / (1 - share)).log(), rtol=1e-5, atol=1e-5)


def test_a_label_that_was_not_met_has_finite_odds(glyphs, tmp_path):
    vocabulary = Vocabulary.load(vocabulary_file(glyphs))
    wnids = [*vocabulary.wnids, "n99999999"]
    path = tmp_path / "more.tsv"
    Vocabulary(wnids, [*vocabulary.names, "unheard.n.01"], [*vocabulary.counts, 1], vocabulary.metadata).save(path)
    settings_ = config("categorical", glyphs)
    settings_.objective["vocabulary"] = str(path)
    bias = build(settings_).head.bias
    assert bias[-1].item() == pytest.approx(torch.logit(torch.tensor(0.5 / 49)).item(), rel=1e-5)
    assert bias.isfinite().all()


def test_biases_are_zero_as_published_when_asked(glyphs):
    settings_ = config("categorical", glyphs)
    settings_.objective["bias"] = "zero"
    zero, prior = build(settings_), build(config("categorical", glyphs))
    assert not zero.head.bias.any()
    assert prior.head.bias.any()
    assert torch.equal(zero.head.weight, prior.head.weight)


def test_without_pairs_nothing_is_measured(glyphs):
    backbone = BackboneConfig("vit_tiny_patch16_224", SIZE, OPTIONS)
    objective = build_objective(objective_config("categorical", glyphs), backbone, None, 0)
    assert isinstance(objective, Categorical)
    assert not objective.head.bias.any()
    assert len(objective.head.bias) == len(Vocabulary.load(vocabulary_file(glyphs)))


def test_labels_are_counted_once_a_picture(glyphs):
    targets = LabelTargets(Vocabulary.load(vocabulary_file(glyphs)))
    name = targets.vocabulary.names[0].split(".")[0].replace("_", " ")
    annotations = [Annotation([f"a {name}, a {name}", f"the {name}"]), Annotation(["nothing"])]
    counts, samples = count_labels(targets, annotations)
    assert samples == 2
    assert counts[0] == 1
    assert counts.sum() == 1


def test_stored_labels_are_counted_where_there_are_some(glyphs):
    targets = LabelTargets(Vocabulary.load(vocabulary_file(glyphs)))
    name = targets.vocabulary.names[0].split(".")[0].replace("_", " ")
    counts, samples = count_labels(targets, [Annotation([f"a {name}"], [1, 2]), Annotation([f"a {name}"], [2])])
    assert (samples, counts[:4].tolist()) == (2, [0, 1, 2, 0])


# ---- what the user hears --------------------------------------------------------------------------------------------


def failure(glyphs, **options) -> str:
    settings_ = config("categorical", glyphs)
    settings_.objective |= options
    with pytest.raises(UserError) as caught:
        build(settings_)
    return str(caught.value)


def test_no_vocabulary_says_how_to_make_one(glyphs):
    assert "catclip vocab" in failure(glyphs, vocabulary=None)


def test_a_missing_vocabulary_file_is_named(glyphs, tmp_path):
    assert str(tmp_path / "none.tsv") in failure(glyphs, vocabulary=str(tmp_path / "none.tsv"))


def test_an_unknown_bias_names_the_nearest(glyphs):
    said = failure(glyphs, bias="priors")
    assert "objective.bias=priors" in said
    assert "'prior'" in said


def test_a_vocabulary_of_other_captions_is_said_with_an_example(glyphs, tmp_path):
    vocabulary = Vocabulary.load(vocabulary_file(glyphs))
    path = tmp_path / "other.tsv"
    Vocabulary(["n99999999"], ["unheard.n.01"], [1], vocabulary.metadata).save(path)
    said = failure(glyphs, vocabulary=str(path))
    assert str(path) in said
    assert "data.caption_key=json.captions" in said
    first = next(Pairs(str(glyphs / "train-*.tar"), data_config(glyphs)).captions())[0]
    assert repr(first[:100]) in said

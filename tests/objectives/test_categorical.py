"""The objective gives its loss what the captions say, and the head starts at the measured log-odds."""

from itertools import pairwise

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from catclip.captions import Vocabulary
from catclip.captions.hierarchy import path
from catclip.captions.lexicon import load_lexicon
from catclip.captions.sources import captions_of
from catclip.captions.words import count_words, make_word_vocabulary
from catclip.config import BackboneConfig
from catclip.data.pairs import Annotation, Pairs
from catclip.data.shards import Shards
from catclip.data.targets import LabelTargets
from catclip.errors import UserError
from catclip.evaluate.multilabel import evaluate
from catclip.objectives.build import build_objective
from catclip.objectives.categorical import Categorical, count_labels
from catclip.objectives.label_frequency import LabelFrequency
from catclip.objectives.label_losses import ragged_asymmetric
from tests.ranks import on_ranks
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


@pytest.mark.parametrize(("bias", "read"), [("prior", 10_000), ("zero", 1_000)])
def test_fewer_captions_are_read_where_only_one_label_must_be_found(glyphs, monkeypatch, bias, read):
    settings_, limits = config("categorical", glyphs), []
    settings_.objective["bias"] = bias
    original = Pairs.annotations
    monkeypatch.setattr(Pairs, "annotations", lambda self, limit=1: limits.append(limit) or original(self, limit))
    build(settings_)
    assert max(limits) == read


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


# ---- other labels and losses ----------------------------------------------------------------------------------------


def made(glyphs, **options) -> Categorical:
    settings_ = config("categorical", glyphs)
    settings_.objective |= options
    return build(settings_)


def first_batch(glyphs, objective):
    return batches(config("categorical", glyphs), objective, 1)[0]


def target_of(batch, width: int) -> torch.Tensor:
    target = torch.zeros(len(batch["label_offsets"]) - 1, width)
    rows = torch.repeat_interleave(batch["label_offsets"].diff())
    target[rows, batch["label_ids"]] = batch.get("label_weights", torch.ones(len(rows)))
    return target


def test_words_are_the_bag_of_words(glyphs, tmp_path):
    counts, captions = count_words(str(glyphs / "train-*.tar"), "json.captions", "all")
    vocabulary = make_word_vocabulary(counts, captions, 1, None, "tiny")
    vocabulary.save(tmp_path / "words.tsv")
    objective = made(glyphs, labels="word", vocabulary=str(tmp_path / "words.tsv"))
    batch = first_batch(glyphs, objective)
    expected = F.binary_cross_entropy_with_logits(
        objective.predict(batch["images"]), target_of(batch, len(vocabulary)), reduction="sum"
    )
    torch.testing.assert_close(objective(batch)["loss"], expected / 8)
    names = [vocabulary.names[label] for label in batch["label_ids"][: batch["label_offsets"][1]]]
    assert "a" in names  # every word, not nouns alone


def test_subwords_need_no_file_and_take_none(glyphs):
    objective = made(glyphs, labels="subword", vocabulary=None, loss="softmax")
    assert objective.head.weight.shape[0] == 49406
    batch = first_batch(glyphs, objective)
    objective.observe(batch)
    assert objective(batch)["loss"].isfinite()
    assert "objective.vocabulary=null" in failure(glyphs, labels="subword")


def test_softmax_weighs_labels_by_what_was_observed(glyphs):
    objective = made(glyphs, loss="softmax", smoothing=0.1)
    width = len(objective.vocabulary)
    settings_, seen, pictures = config("categorical", glyphs), torch.zeros(width), 0
    for batch in batches(settings_, objective, 3):
        objective.observe(batch)
        target = target_of(batch, width)
        seen, pictures = seen + target.sum(0), pictures + len(target)
        weighted = target * ((1 + pictures) / (1 + seen)).log()
        total = weighted.sum(1, keepdim=True)
        shares = torch.where(total > 0, weighted / total * 0.9 + 0.1 / width, 0.0)
        logits = objective.predict(batch["images"])
        torch.testing.assert_close(objective(batch)["loss"], F.cross_entropy(logits, shares))
    state = objective.state_dict()
    assert state["frequency.pictures"] == pictures == 24
    assert torch.equal(state["frequency.with_label"], seen.long())


def test_a_label_that_every_picture_has_says_nothing():
    frequency = LabelFrequency(3)
    frequency.count(torch.tensor([0, 0, 1]), 2)
    weights = frequency.inverse(torch.tensor([0, 1, 2]))
    torch.testing.assert_close(weights, torch.tensor([3 / 3, 3 / 2, 3 / 1]).log())


def counted_on_a_rank() -> list[int]:
    frequency = LabelFrequency(4)
    if dist.get_rank() == 0:
        frequency.count(torch.tensor([0, 1, 1]), 5)
    else:
        frequency.count(torch.tensor([1, 3]), 2)
    return [int(frequency.pictures), *frequency.with_label.tolist()]


def test_labels_are_counted_over_all_ranks():
    assert on_ranks(2, counted_on_a_rank) == [[7, 1, 3, 0, 1]] * 2


def test_the_asymmetric_loss_takes_its_options(glyphs):
    objective = made(glyphs, loss="asymmetric", gamma_positive=1.0, gamma_negative=2.0, clip=0.1)
    batch = first_batch(glyphs, objective)
    logits, labels = objective.predict(batch["images"]), (batch["label_ids"], batch["label_offsets"])
    expected = ragged_asymmetric(logits, *labels, gamma_positive=1.0, gamma_negative=2.0, clip=0.1)
    torch.testing.assert_close(objective(batch)["loss"], expected)
    assert not torch.isclose(expected, ragged_asymmetric(logits, *labels))


@pytest.fixture
def with_parents(glyphs, tmp_path) -> str:
    """A vocabulary file in which some labels lie above others."""
    vocabulary = Vocabulary.load(vocabulary_file(glyphs))
    parents = sorted({path(wnid)[-2] for wnid in vocabulary} - set(vocabulary))
    wnids, counts = [*vocabulary, *parents], [*vocabulary.counts, *[1] * len(parents)]
    file = tmp_path / "parents.tsv"
    Vocabulary(wnids, map(load_lexicon().name, wnids), counts, vocabulary.metadata).save(file)
    return str(file)


def test_smoothed_targets_and_hypernyms_start_at_their_prior(glyphs, with_parents):
    objective = made(glyphs, vocabulary=with_parents, hypernyms=2, hypernym_weight=0.25, smoothing=0.2)
    width = len(objective.vocabulary)
    whole = [target_of(batch, width) for batch in batches(config("categorical", glyphs), objective, 6)]
    mean = (torch.cat(whole).sum(0) + 0.5) / 49 * 0.8 + 0.2 / width  # all 48 training pictures, each once
    torch.testing.assert_close(objective.head.bias.sigmoid(), mean)
    assert (torch.cat(whole) == 0.25).any()


def test_hypernyms_are_no_labels_where_accuracy_is_measured(glyphs, with_parents):
    objective = made(glyphs, vocabulary=with_parents, hypernyms=2).eval()
    plain = LabelTargets(objective.vocabulary)
    batch = first_batch(glyphs, objective)
    annotations = [
        Annotation([], ids[weights == 1].tolist())
        for ids, weights in zip(
            batch["label_ids"].split(batch["label_offsets"].diff().tolist()),
            batch["label_weights"].split(batch["label_offsets"].diff().tolist()),
            strict=True,
        )
    ]
    without = {"images": batch["images"], **plain.collate(annotations)}
    assert (batch["label_weights"] == 0.5).any()
    with torch.no_grad():
        assert dict(evaluate(objective, [batch])) == dict(evaluate(objective, [without]))


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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"labels": "sysnet"}, "synset"),
        ({"loss": "bcee"}, "'bce'"),
        ({"smoothing": 1.0}, "objective.smoothing=1.0"),
        ({"hypernyms": -1}, "objective.hypernyms=-1"),
        ({"hypernym_weight": 0.0}, "objective.hypernym_weight=0.0"),
        ({"gamma_negative": 0.5}, "objective.gamma_negative=0.5"),
        ({"clip": 1.0}, "objective.clip=1.0"),
        ({"labels": "subword", "vocabulary": None, "hypernyms": 2}, "objective.hypernyms=2"),
        ({"labels": "word"}, "rule=words"),
    ],
)
def test_options_that_make_no_sense_are_said(glyphs, options, said):
    assert said in failure(glyphs, **options)

"""Tokens are open_clip's own; labels are the vocabulary's, laid end to end."""

import pickle
import time
from functools import cache
from itertools import pairwise

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.captions import Vocabulary
from catclip.captions.hierarchy import find_synset
from catclip.data.pairs import Annotation
from catclip.data.targets import JointTargets, LabelTargets, SubwordLabels, TokenTargets, hypernyms_of
from catclip.errors import UserError
from catclip.objectives.categorical import count_labels

CAPTIONS = [
    "a photo of a dog", "  Two   CATS &amp; a <b>dog</b>, sitting.  ", "", "naïve café ☕ 東京 🙂", "don't  stop",
    "word " * 200, "\u201cquoted\u201d", "1234567890", "&lt;b&gt;", "a\x00b", "a \ud800 lone surrogate",
]  # fmt: skip
NAMES = {"dog": "n02084071", "cat": "n02121620", "table": "n04379243", "person": "n00007846"}


@pytest.fixture(scope="module")
def tokens() -> TokenTargets:
    return TokenTargets(77)


@pytest.fixture(scope="module")
def labels() -> LabelTargets:
    metadata = {"rule": "default", "tagger": "lexicon", "sense": "visual"}
    return LabelTargets(Vocabulary(NAMES.values(), NAMES, [4, 3, 2, 1], metadata))


# ---- tokens ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("caption", CAPTIONS)
@pytest.mark.parametrize("length", [8, 77])
def test_tokens_are_open_clips(caption, length):
    expected = open_clip.tokenize([caption], context_length=length)[0]
    made = TokenTargets(length)(Annotation([caption]), np.random.default_rng(0))
    assert made.dtype == torch.int64
    assert torch.equal(made, expected)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_tokens_of_any_text_are_open_clips(tokens, caption):
    expected = open_clip.tokenize([caption], context_length=77)[0]
    assert torch.equal(tokens(Annotation([caption]), np.random.default_rng(0)), expected)


def test_a_batch_of_tokens_is_open_clips(tokens):
    rng = np.random.default_rng(0)
    batch = tokens.collate([tokens(Annotation([caption]), rng) for caption in CAPTIONS])
    assert list(batch) == ["tokens"]
    assert torch.equal(batch["tokens"], open_clip.tokenize(CAPTIONS, context_length=77))


def test_of_several_captions_one_is_drawn_evenly(tokens):
    rng = np.random.default_rng(0)
    choices = [tokens(Annotation([caption]), rng).tolist() for caption in ("a dog", "a cat", "a cup")]
    drawn = [tokens(Annotation(["a dog", "a cat", "a cup"]), rng).tolist() for _ in range(600)]
    assert sum(drawn.count(choice) for choice in choices) == 600
    assert all(150 < drawn.count(choice) < 250 for choice in choices)


def test_one_caption_draws_nothing(tokens):
    rng = np.random.default_rng(0)
    tokens(Annotation(["a dog"]), rng)
    assert rng.integers(2**60) == np.random.default_rng(0).integers(2**60)


def test_an_endless_word_does_not_stall_a_worker(tokens):
    endless = "".join(chr(97 + letter) for letter in np.random.default_rng(0).integers(0, 26, 100_000))
    start = time.process_time()
    made = tokens(Annotation([endless]), np.random.default_rng(0))
    assert time.process_time() - start < 10  # in full it takes minutes
    assert (made > 0).all()


# ---- labels ---------------------------------------------------------------------------------------------------------


def given_back(labels: LabelTargets, annotations: list[Annotation]) -> list[list[int]]:
    """The labels of each sample of a batch."""
    rng = np.random.default_rng(0)
    batch = labels.collate([labels(annotation, rng) for annotation in annotations])
    ids, offsets = batch["label_ids"], batch["label_offsets"]
    assert ids.dtype == offsets.dtype == torch.int64
    assert offsets.shape == (len(annotations) + 1,)
    assert offsets[0] == 0
    assert offsets[-1] == len(ids)
    return [ids[start:stop].tolist() for start, stop in pairwise(offsets)]


def test_labels_are_the_vocabularys(labels):
    assert given_back(labels, [Annotation(["a dog under a table, another dog"])]) == [[0, 2]]
    assert given_back(labels, [Annotation(["the weather"])]) == [[]]
    expected = [labels.vocabulary.labels(caption) for caption in CAPTIONS]
    assert given_back(labels, [Annotation([caption]) for caption in CAPTIONS]) == expected


def test_the_labels_of_several_captions_are_united(labels):
    assert given_back(labels, [Annotation(["a table", "a cat and a dog", "a dog"])]) == [[0, 1, 2]]


def test_stored_labels_are_taken_as_they_are(labels):
    assert given_back(labels, [Annotation(["a dog"], [1, 3]), Annotation(["a dog", "a cat"], [])]) == [[1, 3], []]


odd = st.text(st.one_of(st.characters(), st.sampled_from("\0\udc80\ud83d  dogsCAT,.-'")), max_size=40)
some = st.lists(
    st.sampled_from([*CAPTIONS, "", "a dog", "\udc80 a cat", "a\0dog cups", "dogs\ud800cats"]) | odd, min_size=1
)


@settings(max_examples=200, deadline=None)
@given(st.lists(some, max_size=12))
def test_a_batchs_labels_are_those_of_its_samples(labels, samples):
    annotations = [Annotation(captions) for captions in samples]
    assert given_back(labels, annotations) == [labels.labels(annotation) for annotation in annotations]


def test_the_prior_counts_what_batches_carry(labels):
    annotations = [Annotation(CAPTIONS[start : start + 3]) for start in range(len(CAPTIONS))]
    counts, samples = count_labels(labels, annotations)
    batch = labels.collate(annotations)
    assert samples == len(annotations)
    assert torch.equal(counts.long(), torch.bincount(batch["label_ids"], minlength=len(labels.vocabulary)))


def test_a_rule_without_columns_labels_batches_too():
    metadata = {"rule": "reference", "tagger": "nltk", "sense": "first"}
    labels = LabelTargets(Vocabulary(NAMES.values(), NAMES, [4, 3, 2, 1], metadata))
    annotations = [Annotation([caption]) for caption in CAPTIONS]
    assert given_back(labels, annotations) == [labels.labels(annotation) for annotation in annotations]


def test_targets_go_to_worker_processes(labels, tokens):
    rng, annotation = np.random.default_rng(0), Annotation(["a dog and a cat"])
    labels.collate([annotation])  # what is made for it stays here
    for target in (labels, tokens):
        copy = pickle.loads(pickle.dumps(target))
        one, other = (each.collate([each(annotation, rng)]) for each in (target, copy))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


# ---- hypernyms ------------------------------------------------------------------------------------------------------


@cache
def family() -> Vocabulary:
    names = ["dog.n.01", "corgi.n.01", "animal.n.01", "mammal.n.01", "cat.n.01", "canine.n.02", "table.n.02"]
    metadata = {"rule": "default", "tagger": "lexicon", "sense": "visual"}
    return Vocabulary(map(find_synset, names), names, range(7, 0, -1), metadata)


@pytest.mark.parametrize("most", [0, 1, 2, 9])
def test_hypernyms_are_the_nearest_labels_above(most):
    named = [[family().names[label].split(".")[0] for label in above] for above in hypernyms_of(family(), most)]
    expected = [
        ["canine", "mammal", "animal"], ["dog", "canine", "mammal", "animal"], [], ["animal"], ["mammal", "animal"],
        ["mammal", "animal"], [],
    ]  # fmt: skip
    assert named == [above[:most] for above in expected]


@settings(deadline=None)
@given(st.lists(st.sets(st.integers(0, 6)).map(sorted), max_size=5))
def test_what_lies_above_has_less_weight_and_stands_once(samples):
    above = [[5, 3], [0, 5], [], [2], [3, 2], [3, 2], []]
    batch = LabelTargets(family(), above, 0.25).collate([Annotation([], labels) for labels in samples])
    pieces = [slice(start, stop) for start, stop in pairwise(batch["label_offsets"].tolist())]
    assert batch["label_weights"].dtype == torch.float32
    for labels, piece in zip(samples, pieces, strict=True):
        expected = {each: 0.25 for label in labels for each in above[label]} | dict.fromkeys(labels, 1.0)
        ids, weights = batch["label_ids"][piece].tolist(), batch["label_weights"][piece].tolist()
        assert len(set(ids)) == len(ids)
        assert dict(zip(ids, weights, strict=True)) == expected


def test_labels_that_are_no_synsets_have_no_hypernyms():
    with pytest.raises(UserError, match="n99999999"):
        hypernyms_of(Vocabulary(["n99999999"], ["unheard.n.01"], [1], {}), 1)


# ---- subwords -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("caption", CAPTIONS)
def test_subwords_are_the_tokens_that_clip_would_read(caption):
    tokens = open_clip.tokenize([caption])[0].tolist()
    expected = set(tokens[1 : tokens.index(49407)])
    subwords = SubwordLabels()
    assert subwords.labels(caption) == sorted(expected)
    assert len(subwords) == len(subwords.names) == 49406
    assert all(subwords.names[label] in ("dog</w>", "a</w>") for label in subwords.labels("a dog"))


# ---- several --------------------------------------------------------------------------------------------------------


def test_joint_targets_are_those_of_each(labels, tokens):
    joint, rng = JointTargets(labels, tokens), np.random.default_rng(0)
    annotations = [Annotation(["a dog"]), Annotation(["a cat on a table"]), Annotation(["rain"])]
    batch = joint.collate([joint(annotation, rng) for annotation in annotations])
    expected = labels.collate(annotations) | {"tokens": open_clip.tokenize([each.captions[0] for each in annotations])}
    assert batch.keys() == expected.keys()
    assert all(torch.equal(batch[key], expected[key]) for key in batch)

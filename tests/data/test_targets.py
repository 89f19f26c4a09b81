"""Tokens are open_clip's own; labels are the vocabulary's, laid end to end."""

import pickle
import time
from itertools import pairwise

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.captions import Vocabulary
from catclip.data.pairs import Annotation
from catclip.data.targets import LabelTargets, TokenTargets

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


def test_labels_are_the_vocabularys(labels):
    rng = np.random.default_rng(0)
    assert labels(Annotation(["a dog under a table, another dog"]), rng) == [0, 2]
    assert labels(Annotation(["the weather"]), rng) == []
    for caption in CAPTIONS:
        assert labels(Annotation([caption]), rng) == labels.vocabulary.labels(caption)


def test_the_labels_of_several_captions_are_united(labels):
    assert labels(Annotation(["a table", "a cat and a dog", "a dog"]), np.random.default_rng(0)) == [0, 1, 2]


def test_stored_labels_are_taken_as_they_are(labels):
    assert labels(Annotation(["a dog"], [1, 3]), np.random.default_rng(0)) == [1, 3]
    assert labels(Annotation(["a dog", "a cat"], []), np.random.default_rng(0)) == []


@given(st.lists(st.lists(st.integers(0, 100)), max_size=12))
def test_ragged_targets_give_back_each_samples_labels(labels, samples):
    batch = labels.collate(samples)
    ids, offsets = batch["label_ids"], batch["label_offsets"]
    assert ids.dtype == offsets.dtype == torch.int64
    assert offsets.shape == (len(samples) + 1,)
    given_back = [ids[start:stop].tolist() for start, stop in pairwise(offsets)]
    assert given_back == samples
    assert offsets[0] == 0
    assert offsets[-1] == len(ids)


def test_targets_go_to_worker_processes(labels, tokens):
    rng = np.random.default_rng(0)
    for target in (labels, tokens):
        copy = pickle.loads(pickle.dumps(target))
        one, other = target(Annotation(["a dog and a cat"]), rng), copy(Annotation(["a dog and a cat"]), rng)
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))

"""`rule=reference` against the labels that CatLIP's public code gives."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.captions import SynsetExtractor
from catclip.captions.clean import published_clean, published_tokenize


@pytest.fixture(scope="module")
def extractor():
    return SynsetExtractor(rule="reference")


@pytest.mark.parametrize("name", ["cc3m_val", "flickr30k"])
def test_labels_equal_the_published_ones(shared, extractor, name):
    path = shared / "data" / "reference-labels" / f"{name}.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) >= 2000
    labels = extractor.extract_many(row["caption"] for row in rows)
    assert [(row["caption"], row["wnids"]) for row in rows] == [
        (row["caption"], wnids) for row, wnids in zip(rows, labels, strict=True)
    ]


@pytest.fixture(scope="module")
def word_tokenize(shared):
    import nltk

    nltk.data.path.insert(0, str(shared / "nltk_data"))
    return nltk.word_tokenize


def labels_of(extractor, tokens):
    return [label for label in map(extractor._published_label, tokens) if label]


def test_labels_equal_nltks_on_captions(shared, word_tokenize, extractor):
    captions = (shared / "data/text/cc3m_val.txt").read_text(encoding="utf-8").splitlines()
    for caption in random.Random(0).sample(captions, 4000):
        assert extractor(caption) == labels_of(extractor, word_tokenize(published_clean(caption)))


def test_tokens_give_nltks_labels_on_several_sentences(word_tokenize, extractor):
    text = "dog cat. sen. u.s. car, wash. house! they're cannot 'tis 9.99 (tree) \"sun\" moon... man's -- a-b"
    words = text.split(" ")
    rng = random.Random(1)
    for _ in range(2000):
        text = " ".join(rng.choices(words, k=rng.randint(1, 9)))
        assert labels_of(extractor, published_tokenize(text)) == labels_of(extractor, word_tokenize(text)), text


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_gives_wnids(extractor, text):
    assert all(len(wnid) == 9 and wnid[0] == "n" for wnid in extractor(text))


def test_cleaning():
    assert published_clean("  A%20B+C <b>d</b>\n e   &amp; \u201cf\u201d ") == 'a b c d\n e & "f"'


def test_synonyms_are_lost_as_published(extractor):
    assert extractor("a couch and a sofa") == extractor("sofa")
    assert extractor("a hot dog") == extractor("dog")

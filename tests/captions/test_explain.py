"""Explanations: they tell of the very labels that captions get, and give the reasons there are."""

from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from catclip.captions import SynsetExtractor
from catclip.captions.clean import clean, published_clean, published_tokenize, tokenize
from catclip.captions.explain import explain

CHOICES = [
    {"rule": "default"},
    {"tagger": "none"},
    {"sense": "first"},
    {"tagger": "none", "sense": "first"},
    {"rule": "reference"},
]
PIECES = ["a", "hot", "Dog", "'s", "McKay", "dogs", "www.x.com", "20", "km", "<b>", "can", "US", "|", "IMG_1.jpg", ","]


@cache
def make(**choices):
    return SynsetExtractor(**choices)


def labels(explained):
    return [each.reading.wnid for each in explained if each.reading.wnid]


def one(caption, word, **choices):
    """The explanation of one word of a caption."""
    (found,) = [each for each in explain(make(**choices), caption) if each.text == word]
    return found


def real_captions(shared, step=1):
    texts = [(shared / "data/text" / name).read_text(encoding="utf-8") for name in ("flickr30k.txt", "cc3m_val.txt")]
    return [*texts[0].splitlines()[:: 200 * step], *texts[1].splitlines()[:: 20 * step]]


@pytest.mark.parametrize("choices", CHOICES, ids=str)
def test_explained_labels_are_the_extractors_on_real_captions(shared, choices):
    extractor = make(**choices)
    captions = real_captions(shared)
    for caption, found in zip(captions, extractor.extract_many(captions), strict=True):
        assert labels(explain(extractor, caption)) == found, caption


@pytest.mark.parametrize("tagger", ["nltk", "spacy"])
def test_explained_labels_are_the_extractors_by_models_too(shared, tagger):
    import nltk

    nltk.data.path.insert(0, str(shared / "nltk_data"))
    extractor = SynsetExtractor(tagger=tagger if tagger == "nltk" else f"spacy:{shared / 'spacy_model'}")
    captions = real_captions(shared, step=10)
    for caption, found in zip(captions, extractor.extract_many(captions), strict=True):
        explained = explain(extractor, caption)
        assert labels(explained) == found, caption
        assert all(each.tag.startswith("NN") for each in explained if each.stop - each.start == 1 and each.reading.wnid)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(st.sampled_from(PIECES)).map(" ".join),
    ),
    st.sampled_from(CHOICES),
)
@example("", CHOICES[0])
@example("\ud800 dog", CHOICES[0])
def test_any_text_is_explained_word_by_word(text, choices):
    extractor = make(**choices)
    explained = explain(extractor, text)
    published = choices.get("rule") == "reference"
    tokens = published_tokenize(published_clean(text)) if published else tokenize(clean(text))
    assert [token for each in explained for token in tokens[each.start : each.stop]] == tokens
    assert labels(explained) == extractor(text)


def test_the_chosen_sense_is_the_first_candidate_unless_it_is_reviewed():
    crane = one("a weasel", "weasel")
    assert crane.reading.wnid == crane.candidates[0].wnid
    assert crane.reading.why == "its most visible sense"
    assert [each.place for each in one("a weasel", "weasel", sense="first").candidates] == [1, 2]
    assert one("a weasel", "weasel", sense="first").reading.why == "WordNet's first sense"
    hose = one("a hose", "hose")
    assert hose.reading.wnid != hose.candidates[0].wnid
    assert hose.reading.why == "reviewed: the garden's or the fireman's"
    assert one("a sofa", "sofa").reading.why == "its only sense"


@pytest.mark.parametrize(
    ("caption", "word", "lemma", "why"),
    [
        ("two hot dogs", "hot dogs", "hot_dog", "multiword noun; its most visible sense"),
        ("a wine glass", "wine glass", "wineglass", "multiword noun; its only sense"),
        ("with Jack Rose here", "Jack", "jack", "part of a name"),
        ("an Einstein", "Einstein", "einstein", "its most visible sense"),
        ("50 km", "km", None, "a number, unit or file type"),
        ("five miles", "miles", "mile", "a number or unit"),
        ("the xyzzy", "xyzzy", None, "no noun in WordNet"),
        ("at the side", "side", "side", "reviewed: at the side of: a relation"),
        ("see dog.jpg", "|", None, "an address, file name or hashtag is cut out here"),
    ],
)
def test_reasons(caption, word, lemma, why):
    assert one(caption, word).reading[::2] == (lemma, why)


def test_why_a_word_is_no_noun_here():
    walks = one("A man walks", "walks")
    assert (walks.tag, walks.reading.lemma) == ("verb", None)
    assert walks.reading.why.startswith("no noun here: log odds -")
    assert one("A man walks", "A").reading.why == ""
    assert one("A man walks", "A").tag == "determiner"


def test_the_published_rule_says_what_it_drops():
    reading = one("a couch", "couch", rule="reference").reading
    assert reading == ("couch", None, "its first sense is named sofa: dropped, as published")
    assert one("with sofas", "with", rule="reference").reading.why == "no noun in WordNet"
    assert one("with sofas", "sofas", rule="reference").reading.lemma == "sofa"

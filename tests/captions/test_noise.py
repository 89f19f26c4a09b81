"""What is no language gives no label, whatever stands beside what, and does not touch the words around it."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.captions import SynsetExtractor

WORD = st.sampled_from(["dog", "house", "cat", "hotdog", "Tree", "sunset", "car"])
NOISE = st.one_of(
    # addresses, files, tags, markup
    st.builds("https://{}.com/{}/{}.html?{}=1".format, WORD, WORD, WORD, WORD),
    st.builds("www.{}.{}/{}".format, WORD, st.sampled_from(["com", "org", "net", "co.uk", "de"]), WORD),
    st.builds("{}.{}".format, WORD, st.sampled_from(["jpg", "JPEG", "png", "gif", "pdf", "mp4", "com", "org"])),
    st.builds("{}_{}".format, WORD, WORD),
    st.builds("{}@{}.org".format, WORD, WORD),
    st.builds("{}{}".format, st.sampled_from("#@"), WORD),
    st.builds("<{} href='{}.jpg' alt=\"{}\">".format, st.sampled_from(["a", "b", "img"]), WORD, WORD),
    st.sampled_from(
        ["<b>", "</p>", "<br/>", "&nbsp;", "&#128054;", "%20", "IMG_2041", "DSC-0012", "pic.twitter.com/dog"]
    ),
    # numbers and units
    st.builds("{}{}".format, st.integers(0, 10**9), st.sampled_from(["", "th", "s", "%", "km", "px", "x", "mp"])),
    st.builds(
        "{} {}".format,
        st.integers(2, 999),
        st.sampled_from(["km", "cm", "lbs", "mph", "inches", "miles", "feet", "foot", "yards", "ounces", "bucks"]),
    ),
    st.sampled_from(["9.99", "1,000", "12:30", "$20", "4x4", "twenty-five", "two hundred", "dozens", "1080p", "B2B"]),
    # other alphabets, emoji, signs
    st.text(st.characters(whitelist_categories=["So", "Sk", "Sc"]), min_size=1, max_size=3),
    st.text("собакадомकुत्ताكلب犬猫개σκύλοςכלב", min_size=1, max_size=8),
    st.sampled_from(["🐶", "👨‍👩‍👧", "...", "—", "“”", "©", "½", "|", "\\", "/", "~", "ﬂ", "㏒", "\x00", "\u200b"]),
)


@cache
def make(**choices):
    return SynsetExtractor(**choices)


@pytest.mark.parametrize("tagger", ["lexicon", "none"])
@settings(max_examples=300, deadline=None)
@given(noise=st.lists(NOISE, min_size=1, max_size=6))
def test_noise_gives_no_label(tagger, noise):
    extractor = make(tagger=tagger)
    text = " ".join(noise)
    assert [extractor.lexicon.name(wnid) for wnid in extractor(text)] == [], text


@settings(max_examples=200, deadline=None)
@given(NOISE, NOISE)
def test_noise_leaves_the_words_beside_it_alone(before, after):
    extractor = make()
    plain = extractor("A young man walks his two dogs.")
    assert len(plain) == 2
    assert extractor(f"{before} . A young man walks his two dogs. {after}") == plain


@pytest.mark.parametrize(
    "name",
    ["Taylor Swift", "George Bush", "Kate Moss", "Tiger Woods", "Bill Gates", "Rose Byrne", "Jack Black", "Star Wars"],
)
def test_names_give_no_label_inside_a_sentence(name):
    extractor = make()
    assert extractor(f"here you can see {name} on a street") == extractor("a street")


def test_names_that_wordnet_has_are_labels():
    extractor = make()
    for name in ("Eiffel Tower", "Golden Gate Bridge", "New York City", "Mount Everest"):
        (wnid,) = extractor(f"here you can see the {name}")
        assert extractor.lexicon.is_instance(wnid)

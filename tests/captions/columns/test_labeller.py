"""A column gets the labels that its captions get one by one."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.captions import SynsetExtractor
from catclip.captions.columns.hashing import text_hashes
from catclip.captions.columns.phrases import _make_sieve
from catclip.captions.lexicon import load_lexicon

TEXT = """a the two of in 's . , - ! man men dog dogs hot ice cream creams cone fire hydrant hydrants polar bear
teddy bears cat cradle cats' lady in waiting merry go round wine glass glasses set ups up car goes red fox black
Statue Of Liberty New York City Paris is are walks play playing run runs young stands light can can't us jack o lantern
1 4 100 - five foot feet one four yard yards line meter pound pounds ounces knots bucks tall above few twenty-five
tiger michael jordan smith rose will mark brown boston nfl LeBron Mr Mr Dr Miss named called president king queen
"""
WORDS = TEXT.split()
SENTENCES = st.lists(st.sampled_from(WORDS) | st.sampled_from(WORDS).map(str.title), max_size=14)
CAPTIONS = st.lists(SENTENCES.map(" ".join) | st.text(max_size=30) | st.none(), max_size=12)


@pytest.fixture(scope="module", params=["lexicon", "none"])
def extractor(request: pytest.FixtureRequest) -> SynsetExtractor:
    extractor = SynsetExtractor(tagger=request.param)
    extractor.extract_many(["a dog"])  # reads its tables now, which is slow once
    return extractor


def one_by_one(extractor: SynsetExtractor, captions: list[str]) -> list[list[str]]:
    return list(extractor.stream(captions))


def as_lists(extractor: SynsetExtractor, captions: pa.Array | pa.ChunkedArray) -> list[list[str]]:
    labels = extractor.label_column(captions)
    assert labels.ids.dtype == np.int32
    assert len(labels.offsets) == len(captions) + 1
    names = [extractor.synsets[i] for i in labels.ids]
    return [names[start:stop] for start, stop in zip(labels.offsets[:-1], labels.offsets[1:], strict=True)]


@settings(max_examples=300, deadline=None)
@given(captions=CAPTIONS)
def test_a_column_is_labelled_like_its_captions(extractor: SynsetExtractor, captions: list[str | None]):
    assert as_lists(extractor, pa.array(captions, pa.string())) == one_by_one(extractor, [c or "" for c in captions])


@settings(deadline=None)
@given(captions=st.lists(SENTENCES.map(" ".join), min_size=1), cut=st.integers(0, 5))
def test_slices_and_chunks(extractor: SynsetExtractor, captions: list[str], cut: int):
    array = pa.array(captions)
    column = pa.chunked_array([array.slice(0, cut), array.slice(cut)])
    expected = one_by_one(extractor, captions)
    assert as_lists(extractor, column) == expected
    assert as_lists(extractor, array.slice(cut)) == expected[cut:]


@pytest.mark.parametrize("name", ["flickr30k", "cc3m_val"])
def test_real_captions(extractor: SynsetExtractor, shared: Path, name: str):
    captions = (shared / "data" / "text" / f"{name}.txt").read_text().splitlines()[::20]
    assert extractor.extract_many(captions) == one_by_one(extractor, captions)


def test_every_multiword_and_its_plural_is_found_as_one_by_one(extractor: SynsetExtractor):
    nouns = [joined.replace("_", " ") for joined in extractor.lexicon.multiwords][::20]
    captions = [
        f"a photo of {'two' if plural else 'a'} {noun}{plural}." for noun in nouns for plural in ("", "s", "es")
    ]
    assert extractor.extract_many(captions) == one_by_one(extractor, captions)


def test_the_sieve_lets_irregular_plurals_pass():
    sieve = _make_sieve(load_lexicon())
    hashes, _ = text_hashes(["hot_dog", "hot_dogs", "canada_geese", "police_men", "wineglasses", "no_such_thing"])
    assert (sieve.get(hashes) > 0).tolist() == [True, True, True, False, True, False]


def test_half_a_surrogate_pair_is_no_crash(extractor: SynsetExtractor):
    assert extractor.extract_many(["a dog \ud83d", "a cat"]) == one_by_one(extractor, ["a dog \ud83d", "a cat"])


def test_words_are_forgotten_and_learnt_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("catclip.captions.columns.words._MOST", 5)
    extractor = SynsetExtractor()
    captions = ["a hot dog on ice cream", "seven polar bears", "a lady in waiting with wine glasses"] * 3
    for _ in range(3):
        for caption in captions:
            assert as_lists(extractor, pa.array([caption])) == one_by_one(extractor, [caption])
    assert len(extractor._columns._words.texts) < 15

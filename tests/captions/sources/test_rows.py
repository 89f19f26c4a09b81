"""Labels of rows in columns equal the vocabulary's own, caption by caption."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from catclip.captions import SynsetExtractor, Vocabulary
from catclip.captions.prune import Rolled
from catclip.captions.sources.rows import RowLabeller, gather, utf8

MADE = {"rule": "default", "tagger": "lexicon", "sense": "visual"}
WORDS = [
    "dog",
    "dogs",
    "puppy",
    "cat",
    "couch",
    "sofa",
    "hot dog",
    "table",
    "red",
    "runs",
    "on",
    "the",
    ".",
    "a\ud800b",
]
captions = st.one_of(st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join), st.text(max_size=20))


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    """Dog, cat and sofa; puppies are dogs."""
    (dog,), (cat,), (sofa,), (puppy,) = map(SynsetExtractor(), ("a dog", "a cat", "a sofa", "a puppy"))
    return Vocabulary.from_counts({dog: 9, cat: 7, sofa: 5}, MADE, {puppy: Rolled(dog, 2)})


@pytest.fixture(scope="module")
def labeller(vocabulary) -> RowLabeller:
    return RowLabeller(vocabulary)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.just("why not"), st.lists(captions, min_size=1, max_size=4)), max_size=8))
@example([["a puppy and a dog", "a sofa"], "no caption", ["the weather"]])
def test_rows_have_the_united_labels_of_their_captions(labeller, vocabulary, found):
    table = labeller(gather([str(row) for row in range(len(found))], found, 0))
    expected = [
        None if isinstance(each, str) else sorted({label for caption in each for label in vocabulary.labels(caption)})
        for each in found
    ]
    assert table.column("ids").to_pylist() == expected
    assert table.column("key").to_pylist() == [str(row) for row in range(len(found))]


def test_reasons_are_counted_and_captions_know_their_rows():
    rows = gather(["a", None, "c", "d"], [["one", "two"], "empty", ["three"], "empty"], 5)
    assert rows.captions.to_pylist() == ["one", "two", "three"]
    assert rows.owners.tolist() == [0, 0, 2]
    assert rows.owners.dtype == np.int64
    assert rows.bad == {"empty": 2}
    assert rows.keys.to_pylist() == ["a", None, "c", "d"]


@given(st.text(st.characters(), max_size=10))
def test_any_key_becomes_text_and_stays_itself_if_it_was_text(key):
    assert utf8(key).encode().decode() == utf8(key)
    if key.isascii():
        assert utf8(key) == key


def test_keys_that_are_no_text_stay_different():
    broken = [name.decode("utf-8", "surrogateescape") for name in (b"\xff", b"\xfe", b"a")]
    assert len({utf8(key) for key in broken}) == 3

"""Captions come as lists and as columns of several packages, with gaps of several kinds."""

import math

import numpy as np
import pyarrow as pa
import pytest

from catclip.captions import SynsetExtractor
from catclip.captions.columns.given import text_batches
from catclip.errors import UserError

CAPTIONS = ["a dog", None, "two cats", "", "a sofa"]


@pytest.fixture(scope="module", params=["default", "reference"])
def extractor(request):
    return SynsetExtractor(request.param)


@pytest.fixture(scope="module")
def expected(extractor):
    return [extractor(caption or "") for caption in CAPTIONS]


COLUMNS = {
    "list": CAPTIONS,
    "tuple": tuple(CAPTIONS),
    "nan": [math.nan if caption is None else caption for caption in CAPTIONS],
    "numpy": np.array(CAPTIONS, object),
    "pyarrow": pa.array(CAPTIONS),
    "large": pa.array(CAPTIONS, pa.large_string()),
    "view": pa.array(CAPTIONS, pa.string_view()),
    "dictionary": pa.array(CAPTIONS).dictionary_encode(),
    "slice": pa.array(["a tree", *CAPTIONS, "a tree"])[1:-1],
    "chunks": pa.chunked_array([CAPTIONS[:2], [], CAPTIONS[2:]]),
}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_labels_are_the_same_however_captions_come(extractor, expected, column):
    assert extractor.extract_many(column) == expected


def test_columns_of_packages_that_may_be_missing(extractor, expected):
    polars = pytest.importorskip("polars")
    assert extractor.extract_many(polars.Series(CAPTIONS)) == expected
    pandas = pytest.importorskip("pandas")
    for kind in (object, "string"):
        assert extractor.extract_many(pandas.Series(CAPTIONS, dtype=kind)) == expected


@pytest.mark.parametrize(
    ("captions", "said"),
    [
        ("a dog", "call the extractor itself"),
        (b"a dog", "call the extractor itself"),
        (["a dog", 3], "Captions are strings; 3 is int"),
        (["a dog", b"a cat"], "b'a cat' is bytes"),
        ([["a dog"]], r"\['a dog'\] is list"),
        (pa.array([1, 2]), "1 is int"),
    ],
)
def test_what_is_no_column_of_captions_is_told(extractor, captions, said):
    with pytest.raises(UserError, match=said):
        extractor.extract_many(captions)


def test_batches_are_of_one_size():
    assert [len(batch) for batch in text_batches(["a"] * 7, 3)] == [3, 3, 1]
    assert [len(batch) for batch in text_batches(pa.chunked_array([["a"], ["a"] * 6]), 3)] == [3, 3, 1]
    assert list(text_batches([], 3)) == list(text_batches(pa.array([], pa.string()), 3)) == []

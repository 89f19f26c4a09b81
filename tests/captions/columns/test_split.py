"""Columns are split into the tokens that the plain functions give."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catclip.captions.clean import clean, tokenize
from catclip.captions.columns.split import chunks, split

# What captions are made of, so that the seams between words, signs, numbers and joiners are met often.
TEXT = """
a dog T s S 's ' - -- . , : 1 23 9.99 1,000 3rd x4 ftp:// // & # @ % %4 < > \\ com
xxxxxxxxx yyyyyyyyyyyyyyyyyy &amp; %20 + _ / #tag @me www. a.jpg <b>
é Ω 😀 " ! | ﬁ"""
PIECES = st.sampled_from([*TEXT.split(), " ", "  ", "\t", "\x00"])
CAPTIONS = st.lists(st.one_of(st.lists(PIECES, max_size=12).map("".join), st.text(max_size=20)), max_size=8)


def column(captions: list[str]) -> tuple[np.ndarray, np.ndarray]:
    raw = [caption.encode() for caption in captions]
    return np.frombuffer(b"".join(raw), np.uint8), np.cumsum([0, *map(len, raw)])


@given(CAPTIONS)
def test_tokens_are_those_of_the_plain_functions(captions: list[str]):
    tokens = split(*column(captions))
    texts = [tokens.text(i) for i in range(len(tokens.keys))]
    bounds = tokens.offsets.tolist()
    found = [texts[start:end] for start, end in pairwise(bounds)]
    assert found == [tokenize(clean(caption)) for caption in captions]
    assert len(dict(zip(texts, tokens.keys.tolist(), strict=True))) == len(set(tokens.keys.tolist()))


@given(CAPTIONS, st.integers(0, 8), st.integers(0, 8))
def test_a_slice_of_a_column_is_split_alone(captions: list[str], first: int, length: int):
    data, offsets = column(captions)
    first = min(first, len(captions))
    part = captions[first : first + length]
    tokens = split(data, offsets[first : first + len(part) + 1])
    assert [tokens.text(i) for i in range(len(tokens.keys))] == [t for c in part for t in tokenize(clean(c))]


@pytest.mark.parametrize("lengths", [[], [0], [0, 0, 5], [1 << 20, 3, 1 << 18], [60] * 10_000])
def test_chunks_cover_all_captions_once(lengths: list[int]):
    offsets = np.cumsum([0, *lengths])
    covered = [i for first, end in chunks(offsets) for i in range(first, end)]
    assert covered == list(range(len(lengths)))

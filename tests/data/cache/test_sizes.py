"""Sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catclip.data.cache import parse_size, size_in_words
from catclip.errors import UserError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("100GB", 10**11),
        ("1.5 TB", 1_500_000_000_000),
        ("64GiB", 64 * 2**30),
        ("64gib", 64 * 2**30),
        (" 10 MB ", 10**7),
        ("2K", 2000),
        ("1KiB", 1024),
        ("0.5kB", 500),
        ("12345", 12345),
        ("7B", 7),
        ("1PB", 10**15),
    ],
)
def test_sizes(text, size):
    assert parse_size(text, "data.cache_limit") == size


@pytest.mark.parametrize("text", ["", "GB", "a lot", "-1GB", "1,5GB", "10XB", "1e3", "5iB", "1 0GB", "null"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UserError, match=r"data\.cache_limit=.* is no size: .*100GB"):
        parse_size(text, "data.cache_limit")


@pytest.mark.parametrize("text", ["0", "0GB", "0.5B"])
def test_no_room_is_refused(text):
    with pytest.raises(UserError, match="leaves no room"):
        parse_size(text, "data.cache_limit")


@given(st.integers(1, 10**17))
def test_words_say_the_size_to_three_digits(size):
    assert abs(parse_size(size_in_words(size), "x") - size) <= 0.005 * size
    assert "e" not in size_in_words(size)

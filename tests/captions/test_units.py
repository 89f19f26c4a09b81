"""Feet and yards that measure, and those that are things."""

import pytest

from catclip.captions.units import is_unit_at


@pytest.mark.parametrize(
    "phrase",
    [
        "25 feet",
        "25 - foot",
        "twenty-five feet",
        "three yards",
        "two foot wall",
        "four meter fence",
        "two meters high",
        "four feet above",
        "two feet of snow",
        "a few feet away",
        "couple of feet off",
        "a foot tall",
        "one foot deep",
    ],
)
def test_units(phrase: str):
    words = phrase.split()
    assert any(is_unit_at(words, place) for place in range(len(words)))


@pytest.mark.parametrize(
    "phrase",
    [
        "two feet in yellow socks",
        "a foot above the other",
        "one foot in the air",
        "1 foot",
        "his feet off the ground",
        "parking meters",
        "feet",
        "two yards",
        "several feet",
        "a bird above feet",
        "three dogs",
    ],
)
def test_things(phrase: str):
    words = phrase.split()
    assert not any(is_unit_at(words, place) for place in range(len(words)))

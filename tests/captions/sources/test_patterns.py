"""`data.sources`: weights; and the captions of one sample."""

import json
from fractions import Fraction

import pytest

from catclip.captions.sources import captions_of, describe, weighted_files
from catclip.errors import UserError


@pytest.fixture
def folder(tmp_path):
    for name in ("a1.txt", "a2.txt", "b.txt"):
        (tmp_path / name).touch()
    return tmp_path


def names(files):
    return [(file.path.rpartition("/")[2], file.weight) for file in files]


def test_sources_without_weights_count_once(folder):
    assert names(weighted_files(f"{folder}/a*.txt")) == [("a1.txt", 1), ("a2.txt", 1)]
    assert names(weighted_files([f"{folder}/b.txt", f"{folder}/*.txt"])) == [("a1.txt", 1), ("a2.txt", 1), ("b.txt", 1)]


def test_weights_are_exact(folder):
    sources = [{"path": f"{folder}/a*.txt", "weight": 0.3}, {"path": [folder / "b.txt"]}]
    assert names(weighted_files(sources)) == [("a1.txt", Fraction(3, 10)), ("a2.txt", Fraction(3, 10)), ("b.txt", 1)]
    assert names(weighted_files({"path": f"{folder}/b.txt", "weight": 2})) == [("b.txt", 2)]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"path": "b.txt", "wieght": 2}, "Did you mean 'weight'"),
        ({"weight": 2}, "has no path"),
        ({"path": "b.txt", "weight": "many"}, "weight=many of b.txt is no number"),
        ({"path": "b.txt", "weight": 0}, "from 0.001 to 1000"),
        ({"path": "b.txt", "weight": -1}, "from 0.001 to 1000"),
        ({"path": "b.txt", "weight": 1001}, "from 0.001 to 1000"),
        ({"path": "b.txt", "weight": 1 / 3}, "at most three decimals"),
        ({"path": "b.txt", "weight": float("nan")}, "is no number"),
        ({"path": "b.txt", "weight": float("inf")}, "is no number"),
        (3, "is no path"),
    ],
)
def test_a_wrong_source_is_refused(source, said):
    with pytest.raises(UserError, match=said):
        weighted_files([source])


def test_a_file_with_two_weights_is_refused(folder):
    with pytest.raises(UserError, match=r"b\.txt is in two sources, with weights 1 and 2"):
        weighted_files([str(folder), {"path": f"{folder}/b.txt", "weight": 2}])


def test_no_sources():
    with pytest.raises(UserError, match="empty"):
        weighted_files([])


def test_description():
    assert describe("a-*.txt") == "a-*.txt"
    assert describe(["a", {"path": ["b", "c"], "weight": 2.50}, {"path": "d", "weight": 1}]) == "a b c (weight 2.5) d"


# ---- samples --------------------------------------------------------------------------------------------------------

SAMPLE = {
    "jpg": b"\xff",
    "txt": b" a dog \n",
    "json": json.dumps(
        {
            "caption": "a cat",
            "captions": ["a", None, "b"],
            "n": 3,
            "meta": {"alt": "deep", "en.us": "dotted"},
            "spoken": [{"text": "one"}, {"text": ["two", "three"]}, {"said": 4}, 5],
        }
    ).encode(),
}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("txt", ["a dog"]),
        ("json.caption", ["a cat"]),
        ("json.captions", ["a", "b"]),
        ("json.meta.alt", ["deep"]),
        ("json.meta.en.us", ["dotted"]),
        ("json.spoken.text", ["one", "two", "three"]),
    ],
)
def test_captions_of(key, expected):
    assert captions_of(SAMPLE, key) == expected


@pytest.mark.parametrize("key", ["cap", "json.text", "json.n", "json.meta", "json.meta.no", "json.n.n", "json.spoken"])
def test_absent_caption_is_a_key_error(key):
    with pytest.raises(KeyError):
        captions_of(SAMPLE, key)


def test_broken_json_is_a_value_error():
    with pytest.raises(ValueError, match="Expecting"):
        captions_of({"json": b"{"}, "json.caption")
    with pytest.raises(KeyError):
        captions_of({"json": b"[1]"}, "json.caption")


def test_invalid_utf8_is_replaced():
    assert captions_of({"txt": b"a \xff dog"}, "txt") == ["a \ufffd dog"]

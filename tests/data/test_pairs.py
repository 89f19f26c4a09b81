"""Which samples count as pairs, which captions of them, and what is said when none does."""

import io
import json
import pickle
import tarfile

import numpy as np
import pytest

from catclip.config import DataConfig
from catclip.data.pairs import BadSampleError, Pairs
from catclip.errors import UserError
from tests.data.making import encode, picture, sample, write_shard

JPG = encode(picture())


def pairs_of(tmp_path, *samples, **config) -> Pairs:
    return Pairs(str(write_shard(tmp_path / "s.tar", *samples)), DataConfig(**config))


def captions_json(*captions: object, **fields: object) -> bytes:
    return json.dumps({"captions": list(captions), **fields}).encode()


# ---- reading --------------------------------------------------------------------------------------------------------


def test_pairs_are_what_lies_in_the_shards(glyphs):
    pairs = Pairs(str(glyphs / "train-*.tar"), DataConfig())
    expected = {}
    for path in sorted(glyphs.glob("train-*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                expected[member.name] = tar.extractfile(member).read()
    assert len(pairs) == 48
    for place in pairs.shards.in_order():
        key = pairs.key(*place)
        image, captions = pairs.read(*place)
        assert image == expected.pop(f"{key}.jpg")
        assert captions == [expected.pop(f"{key}.txt").decode().strip()]
    assert all(name.endswith(".json") for name in expected)


def test_a_field_of_the_json_may_be_a_list(tmp_path):
    members = {"json": captions_json("a dog", " a cat ", "", caption="one")}
    assert pairs_of(tmp_path, sample("1", **members), caption_key="json.captions").read(0, 0)[1] == ["a dog", "a cat"]
    assert pairs_of(tmp_path, sample("1", **members), caption_key="json.caption").read(0, 0)[1] == ["one"]


def test_the_first_image_key_that_is_there_wins(tmp_path):
    png = encode(picture(1), "PNG")
    samples = [sample("1", png=png), [("2.png", png), ("2.txt", b"x")]]
    pairs = pairs_of(tmp_path, *samples, image_key="jpg;PNG")
    assert [pairs.read(0, row)[0] for row in (0, 1)] == [JPG, png]
    pairs = pairs_of(tmp_path, *samples, image_key="png;jpg")
    assert [pairs.read(0, row)[0] for row in (0, 1)] == [png, png]


@pytest.mark.parametrize(
    ("members", "key"),
    [
        ({"txt": b"a dog", "json": captions_json("a cat")}, "txt"),
        ({"json": json.dumps({"caption": "a dog", "captions": ["a cat"]}).encode()}, "json.caption"),
        ({"json": captions_json("a dog", "a cat")}, "json.captions"),
        ({"txt": b"", "json": captions_json("a dog")}, "json.captions"),
    ],
)
def test_without_a_caption_key_the_usual_ones_are_tried(tmp_path, members, key):
    pairs = pairs_of(tmp_path, [("1.jpg", JPG), *((f"1.{extension}", data) for extension, data in members.items())])
    assert pairs.caption_key == key
    assert pairs.read(0, 0)[1][0] == "a dog"


def test_invalid_utf8_is_replaced_and_the_sample_kept(tmp_path):
    assert pairs_of(tmp_path, sample("1", txt=b"caf\xe9 table")).read(0, 0)[1] == ["caf\ufffd table"]


# ---- bad samples ----------------------------------------------------------------------------------------------------

GOOD = sample("0", json=captions_json("a dog", caption="a dog"))


@pytest.mark.parametrize(
    ("members", "caption_key", "reason"),
    [
        ([("1.txt", b"a dog")], "txt", "no picture"),
        ([("1.jpg", b""), ("1.txt", b"a dog")], "txt", "empty picture"),
        ([("1.jpg", JPG)], "txt", "no caption under txt"),
        ([("1.jpg", JPG), ("1.txt", b" \n")], "txt", "empty caption"),
        ([("1.jpg", JPG), ("1.json", b"{}")], "json.caption", "no caption under json.caption"),
        ([("1.jpg", JPG), ("1.json", b"[1]")], "json.caption", "no caption under json.caption"),
        ([("1.jpg", JPG), ("1.json", b'{"caption": null}')], "json.caption", "no caption under json.caption"),
        ([("1.jpg", JPG), ("1.json", b'{"caption": 7}')], "json.caption", "no caption under json.caption"),
        ([("1.jpg", JPG), ("1.json", b'{"captions": []}')], "json.captions", "empty caption"),
        ([("1.jpg", JPG), ("1.json", b'{"captions": ["", " "]}')], "json.captions", "empty caption"),
        ([("1.jpg", JPG), ("1.json", b'{"caption": ')], "json.caption", "caption is not valid JSON"),
        ([("1.jpg", JPG), ("1.json", b"")], "json.caption", "caption is not valid JSON"),
        ([("1.jpg", JPG), ("1.json", b"[" * 100_000)], "json.caption", "caption is not valid JSON"),
    ],
)
def test_a_bad_sample_says_its_kind(tmp_path, members, caption_key, reason):
    pairs = pairs_of(tmp_path, GOOD, members, caption_key=caption_key)
    assert pairs.read(0, 0)[1] == ["a dog"]
    with pytest.raises(BadSampleError) as caught:
        pairs.read(0, 1)
    assert str(caught.value) == reason
    assert list(pairs.captions()) == ([["a dog"]] if reason not in ("no picture", "empty picture") else [["a dog"]] * 2)


def test_a_shard_that_is_gone_is_a_bad_sample(tmp_path):
    pairs = pairs_of(tmp_path, GOOD)
    (tmp_path / "s.tar").unlink()
    assert pairs.read(0, 0)  # it is open still
    pairs = pickle.loads(pickle.dumps(pairs))
    with pytest.raises(BadSampleError, match=r"^shard cannot be read \(No such file or directory\)$"):
        pairs.read(0, 0)
    assert list(pairs.captions()) == []


# ---- which captions count -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "expected"), [("first", ["a"]), ("all", ["a", "b", "c"])])
def test_first_and_all(glyphs, mode, expected):
    pairs = Pairs(str(glyphs / "train-*.tar"), DataConfig(captions=mode))
    assert pairs.select(["a", "b", "c"], np.random.default_rng(0)) == expected


def test_sample_draws_one_evenly_and_by_the_seed(glyphs):
    pairs = Pairs(str(glyphs / "train-*.tar"), DataConfig(captions="sample"))
    rng = np.random.default_rng(0)
    drawn = [pairs.select(["a", "b", "c"], rng) for _ in range(600)]
    assert {len(each) for each in drawn} == {1}
    assert all(150 < drawn.count([caption]) < 250 for caption in "abc")
    again = np.random.default_rng(0)
    assert [pairs.select(["a", "b", "c"], again) for _ in range(600)] == drawn


def test_captions_are_spread_over_the_shards(glyphs):
    pairs = Pairs(str(glyphs / "train-*.tar"), DataConfig())
    every = [captions[0] for captions in pairs.captions(limit=48)]
    assert len(every) == 48
    assert [captions[0] for captions in pairs.captions(limit=12)] == every[::4]
    assert [captions[0] for captions in pairs.captions(limit=1000)] == every


# ---- what the user hears --------------------------------------------------------------------------------------------


def message(*arguments, **config) -> str:
    with pytest.raises(UserError) as caught:
        pairs_of(*arguments, **config)
    return str(caught.value)


def test_a_missing_picture_key_lists_the_keys_seen(tmp_path):
    said = message(tmp_path, sample("1"), sample("2", json=b"{}"), image_key="jpeg;png")
    assert "data.image_key=jpeg;png" in said
    assert "jpg (2)" in said
    assert "json (1)" in said


def test_a_missing_caption_key_lists_the_keys_seen(tmp_path):
    said = message(tmp_path, sample("1"), caption_key="text")
    assert "data.caption_key=text" in said
    assert "txt (1)" in said


def test_a_missing_json_field_lists_the_fields(tmp_path):
    said = message(tmp_path, sample("1", json=b'{"alt": "a dog", "width": 3}'), caption_key="json.caption")
    assert "data.caption_key=json.caption" in said
    assert "alt, width" in said


def test_empty_captions_everywhere_are_said(tmp_path):
    assert "data.caption_key=txt" in message(tmp_path, sample("1", caption=""), sample("2", caption=" "))


def test_an_unknown_caption_mode_names_the_nearest(tmp_path):
    said = message(tmp_path, sample("1"), captions="frist")
    assert "data.captions=frist" in said
    assert "'first'" in said


def test_no_shards_match(tmp_path):
    write_shard(tmp_path / "train-0.tar", sample("1"))
    with pytest.raises(UserError, match=r"val-\*\.tar.*train-0\.tar"):
        Pairs(str(tmp_path / "val-*.tar"), DataConfig())


def test_a_damaged_shard_among_good_ones_is_used_up_to_the_damage(tmp_path):
    whole = write_shard(tmp_path / "a.tar", sample("1"), sample("2")).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        second = [member.offset for member in tar][2]
    (tmp_path / "b.tar").write_bytes(whole[:second])
    pairs = Pairs(str(tmp_path / "*.tar"), DataConfig())
    assert [pairs.key(*place) for place in pairs.shards.in_order()] == ["1", "2", "1"]
    assert len(pairs.shards.damaged()) == 1

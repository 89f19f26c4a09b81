"""Captions out of files, and files out of patterns."""

import gzip
import io
import json
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catclip.captions.sources import Skipped, captions_of, expand, read_captions
from catclip.errors import UserError


def write_shard(path, samples):
    with tarfile.open(path, "w") as tar:
        for name, content in samples:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return str(path)


# ---- patterns -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    for name in ("train-00000.tar", "train-00001.tar", "train-00002.tar", "val-00000.tar", "notes.txt", "x.parquet"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("train-00001.tar", ["train-00001.tar"]),
        ("train-{00000..00002}.tar", ["train-00000.tar", "train-00001.tar", "train-00002.tar"]),
        ("train-*.tar", ["train-00000.tar", "train-00001.tar", "train-00002.tar"]),
        ("{train,val}-*0.tar", ["train-00000.tar", "val-00000.tar"]),
        ("", ["train-00000.tar", "train-00001.tar", "train-00002.tar", "val-00000.tar"]),
    ],
)
def test_expand(folder, pattern, expected):
    assert expand(f"{folder}/{pattern}") == [str(folder / name) for name in expected]


def test_expand_list_is_sorted_and_without_repeats(folder):
    patterns = [f"{folder}/val*", f"{folder}/train-00000.tar", f"{folder}/val-00000.tar"]
    assert expand(patterns) == [str(folder / "train-00000.tar"), str(folder / "val-00000.tar")]


def test_folder_without_shards_gives_its_texts(tmp_path):
    for name in ("b.txt", "a.csv", "c.tsv.gz", "d.jpg"):
        (tmp_path / name).touch()
    assert expand(str(tmp_path)) == [str(tmp_path / name) for name in ("a.csv", "b.txt", "c.tsv.gz")]


@pytest.mark.parametrize("pattern", ["trian-*.tar", "train-{00000..00003}.tar", "none/here/*.tar", "{a.tar"])
def test_pattern_without_match_is_named(folder, pattern):
    with pytest.raises(UserError) as error:
        expand(f"{folder}/{pattern}")
    assert pattern[:6].strip("{") in str(error.value)
    if "{a" not in pattern:
        assert "train-00000.tar" in str(error.value)


def test_empty_list_is_refused():
    with pytest.raises(UserError, match="empty"):
        expand([])


# ---- samples --------------------------------------------------------------------------------------------------------

SAMPLE = {
    "jpg": b"\xff",
    "txt": b" a dog \n",
    "json": json.dumps({"caption": "a cat", "captions": ["a", "b"], "n": 3}).encode(),
}


@pytest.mark.parametrize(
    ("key", "expected"), [("txt", ["a dog"]), ("json.caption", ["a cat"]), ("json.captions", ["a", "b"])]
)
def test_captions_of(key, expected):
    assert captions_of(SAMPLE, key) == expected


@pytest.mark.parametrize("key", ["cap", "json.text", "json.n"])
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


# ---- files ----------------------------------------------------------------------------------------------------------


def test_text(tmp_path):
    path = tmp_path / "captions.txt"
    path.write_bytes("\ufeffa dog\r\n\n b\u00e9 \n".encode() + b"\xff")
    assert list(read_captions(str(path))) == ["a dog", Skipped("empty line"), "b\u00e9", "\ufffd"]


def test_gzipped_text(tmp_path):
    path = tmp_path / "captions.txt.gz"
    path.write_bytes(gzip.compress(b"a dog\na cat\n"))
    assert list(read_captions(str(path))) == ["a dog", "a cat"]
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(UserError, match="cannot be read"):
        list(read_captions(str(path)))


@pytest.mark.parametrize("column", ["caption", "text", "TEXT"])
def test_csv_finds_its_column(tmp_path, column):
    path = tmp_path / "table.csv"
    path.write_text(f'url,{column}\nu,"a dog, a ""cat"""\nu\nu,\n')
    expected = ['a dog, a "cat"', Skipped("row too short"), Skipped("empty caption")]
    assert list(read_captions(str(path))) == expected


def test_column_by_name(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text("url\talt\nu\ta dog\n")
    assert list(read_captions(str(path), "alt")) == ["a dog"]
    for key in (None, "caption"):
        with pytest.raises(UserError, match="among url, alt"):
            list(read_captions(str(path), key))


def test_conceptual_captions_have_no_header(tmp_path):
    path = tmp_path / "cc3m.tsv"
    path.write_text('a "dog\thttp://x/1.jpg\na cat\thttps://x/2.jpg\n')
    assert list(read_captions(str(path))) == ['a "dog', "a cat"]


def test_shard_with_text(tmp_path):
    samples = [
        ("a.jpg", b"x"),
        ("a.txt", b"a dog"),
        ("b.jpg", b"x"),
        ("c.txt", b""),
        ("d.txt", b"a cat"),
        ("dir/", b""),
    ]
    captions = list(read_captions(write_shard(tmp_path / "s.tar", samples)))
    assert captions == ["a dog", Skipped("no caption"), Skipped("no caption"), "a cat"]


def test_shard_with_json(tmp_path):
    samples = [("a.json", SAMPLE["json"]), ("b.json", b"{"), ("c.json", b'{"captions": []}')]
    path = write_shard(tmp_path / "s.tar", samples)
    bad = [Skipped("invalid JSON"), Skipped("no caption")]
    assert list(read_captions(path)) == ["a cat", *bad]
    assert list(read_captions(path, "json.captions")) == ["a", *bad]
    assert list(read_captions(path, "json.captions", first_only=False)) == ["a", "b", *bad]


def test_shard_without_the_key_lists_what_it_has(tmp_path):
    path = write_shard(tmp_path / "s.tar", [("a.jpg", b"x"), ("a.json", b'{"alt": "a dog"}')])
    for key in (None, "cap", "json.caption"):
        with pytest.raises(UserError, match=r"jpg \(1\), json \(1\)"):
            list(read_captions(path, key))
    with pytest.raises(UserError, match=r"json\.alt \(1\)"):
        list(read_captions(path))
    assert list(read_captions(path, "json.alt")) == ["a dog"]


def test_damaged_shard_is_read_up_to_the_damage(tmp_path):
    path = tmp_path / "s.tar"
    write_shard(path, [(f"{i:04d}.txt", b"a dog") for i in range(50)])
    path.write_bytes(path.read_bytes()[: 20 * 1024 + 700])
    captions = list(read_captions(str(path)))
    assert captions.count("a dog") >= 19
    assert Skipped("damaged shard, read up to the damage") in captions


def test_what_is_no_tar_is_refused(tmp_path):
    path = tmp_path / "s.tar"
    for content in (b"", b"not a tar" * 1000):
        path.write_bytes(content)
        with pytest.raises(UserError, match="no readable tar"):
            list(read_captions(str(path)))


def test_unknown_ending_is_refused(tmp_path):
    with pytest.raises(UserError, match="ending"):
        list(read_captions(str(tmp_path / "captions.xlsx")))


@given(st.binary(max_size=300))
def test_any_bytes_are_captions_or_a_clear_error(tmp_path_factory, content):
    for ending in (".txt", ".csv", ".tsv", ".tar", ".txt.gz"):
        path = tmp_path_factory.getbasetemp() / f"wild{ending}"
        path.write_bytes(content)
        try:
            captions = list(read_captions(str(path)))
        except UserError:
            continue
        assert all(isinstance(caption, str | Skipped) for caption in captions)

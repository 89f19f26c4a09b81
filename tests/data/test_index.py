"""The index of a shard says what tarfile says, keeps it in a file, and loses no sample."""

import gzip
import io
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.captions.sources import expand
from catclip.data.index import ShardIndex, index_path, write_index
from catclip.data.shards import Shard, Shards
from tests.data.making import sample, tar_bytes, write_shard

NAMES = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=120)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
EXTENSIONS = st.sampled_from(["jpg", "txt", "json"])
FORMATS = st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])


def described(index: ShardIndex) -> list:
    return [
        (index.key(row), {each: index.member(row, each) for each in index.extensions if index.member(row, each)})
        for row in range(len(index))
    ]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(PATHS, st.sampled_from(["jpg", "txt", "json"]), st.binary(max_size=1500)), max_size=6), FORMATS
)
def test_members_lie_where_tarfile_says(tmp_path_factory, files, layout):
    path = tmp_path_factory.mktemp("tar") / "s.tar"
    with tarfile.open(path, "w", format=layout, encoding="utf-8") as tar:
        for name, extension, content in files:
            member = tarfile.TarInfo(f"{name}.{extension}")
            member.size = len(content)
            with suppress(ValueError):  # longer than this layout can say
                tar.addfile(member, io.BytesIO(content))
    with tarfile.open(path) as tar:
        expected = sorted((member.offset_data, member.size) for member in tar if "." in member.name.strip("."))
    index = ShardIndex.scan(path)
    assert index.problem is None
    found = sorted(place for _, members in described(index) for place in members.values())
    assert set(found) <= set(expected)
    if all(name.isascii() and "." not in name for name, _, _ in files):
        assert found == expected


def test_a_name_that_comes_twice_begins_a_second_sample(tmp_path: Path):
    path = tmp_path / "s.tar"
    path.write_bytes(tar_bytes([("a.jpg", b"1"), ("a.txt", b"2"), ("a.jpg", b"3"), ("a.txt", b"4"), ("b.jpg", b"5")]))
    shards = Shards(str(path))
    assert [shards[0].index.key(row) for row in range(3)] == ["a", "a", "b"]
    assert [shards.read(0, row) for row in range(3)] == [
        {"jpg": b"1", "txt": b"2"}, {"jpg": b"3", "txt": b"4"}, {"jpg": b"5"},
    ]  # fmt: skip


def test_tars_one_after_the_other_are_read_to_the_end(tmp_path: Path):
    path = tmp_path / "s.tar"
    path.write_bytes(tar_bytes(sample("1")) + tar_bytes(sample("2")))
    index = ShardIndex.scan(path)
    assert index.keys.to_pylist() == ["1", "2"]
    assert index.problem == "an end mark at byte 2,560, and more after it"


def test_partners_may_lie_apart(tmp_path: Path):
    path = tmp_path / "s.tar"
    path.write_bytes(tar_bytes([("a.jpg", b"1"), ("b.jpg", b"2"), ("b.txt", b"3"), ("a.txt", b"4")]))
    shards = Shards(str(path))
    assert [shards.read(0, row) for row in range(2)] == [{"jpg": b"1", "txt": b"4"}, {"jpg": b"2", "txt": b"3"}]


@pytest.mark.parametrize("cut", [None, 3000])
def test_an_index_is_read_as_it_was_written(tmp_path: Path, cut: int | None):
    path = tmp_path / "s.tar"
    path.write_bytes(tar_bytes([*sample("x/1"), *sample("2", json=b"{}"), ("3.seg.png", b"")])[:cut])
    scanned = write_index(path)
    loaded = ShardIndex.load(index_path(path))
    assert described(loaded) == described(scanned)
    assert (loaded.tar_size, loaded.problem) == (path.stat().st_size, scanned.problem)
    assert (scanned.problem is None) == (cut is None)


def test_an_index_beside_a_shard_is_used_as_long_as_it_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_shard(tmp_path / "s.tar", sample("1"), sample("2"))
    write_index(path)
    assert expand(str(tmp_path)) == [str(path)]
    with monkeypatch.context() as patch:
        patch.setattr(ShardIndex, "scan", None)
        assert Shards(str(path)).samples == 2
    write_shard(tmp_path / "s.tar", sample("1"), sample("2"), sample("3"))
    assert Shards(str(path)).samples == 3
    index_path(path).write_bytes(b"no index")
    assert len(Shard.scan(str(path))) == 3


def test_few_indexes_are_held_and_all_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("catclip.data.shards._ROWS_HELD", 3)
    monkeypatch.setattr("catclip.data.shards._FILES_HELD", 2)
    for i in range(6):
        write_shard(tmp_path / f"{i}.tar", sample(f"{i}a", str(i)), sample(f"{i}b", str(i)))
    shards = Shards(str(tmp_path / "*.tar"))
    for _ in range(2):
        assert [shards.read(*place, ["txt"])["txt"] for place in shards.in_order()] == [
            b"%d" % (i // 2) for i in range(12)
        ]
    assert len(shards._indexes) <= 2
    assert len(shards._files) == 2


def test_many_shards_are_indexed_by_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for i in range(5):
        write_shard(tmp_path / f"{i}.tar", *[sample(f"{i}{j}") for j in range(i + 1)])
    alone = Shards(str(tmp_path))
    monkeypatch.setattr("catclip.data.shards._MANY", 2)
    told = []
    together = Shards(str(tmp_path), progress=lambda shards, size: told.append((shards, size)))
    assert together.counts.tolist() == alone.counts.tolist() == [1, 2, 3, 4, 5]
    assert sum(shards for shards, _ in told) == 5
    assert sum(size for _, size in told) == sum(path.stat().st_size for path in tmp_path.glob("*.tar"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"<!DOCTYPE html><title>503</title>" * 400, "no tar: it begins like a web page"),
        (gzip.compress(tar_bytes(sample("a"))) + bytes(512), "no tar: it is compressed"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "no tar: it begins like a web page"),
        (b"no tar at all " * 400, "no tar"),
        (b"no tar", "no tar"),
        (b"", "the file is empty"),
    ],
)
def test_what_is_no_tar_is_said(tmp_path: Path, content: bytes, problem: str):
    (tmp_path / "s.tar").write_bytes(content)
    index = ShardIndex.scan(tmp_path / "s.tar")
    assert (len(index), index.problem) == (0, problem)

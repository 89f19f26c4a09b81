"""Shards are indexed as tarfile and webdataset read them, and the order is arithmetic."""

import gzip
import io
import os
import pickle
import tarfile
from pathlib import Path

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.config import DataConfig
from catclip.data.index import ShardIndex
from catclip.data.pairs import Pairs
from catclip.data.shards import ChangedShardError, Shard, Shards
from catclip.errors import UserError
from tests.data.making import sample, tar_bytes, write_shard


def read_all(shards: Shards) -> dict[str, dict[str, bytes]]:
    return {shards[shard].index.key(row): shards.read(shard, row) for shard, row in shards.in_order()}


def members(index: ShardIndex) -> list[tuple[int, int]]:
    every = [index.member(row, extension) for row in range(len(index)) for extension in index.extensions]
    return [place for place in every if place]


def members_of(shard: Shard, row: int) -> dict[str, bytes]:
    with open(shard.path, "rb") as file:
        return shard.read(file, row)


# ---- the index ------------------------------------------------------------------------------------------------------


def test_samples_are_those_that_webdataset_reads(glyphs):
    paths = sorted(map(str, glyphs.glob("train-*.tar")))
    theirs = {
        each["__key__"]: {key: value for key, value in each.items() if not key.startswith("__")}
        for each in webdataset.WebDataset(paths, shardshuffle=False)
    }
    ours = read_all(Shards(str(glyphs / "train-*.tar")))
    assert len(ours) == 48
    assert list(ours) == list(theirs)  # in the same order too
    assert ours == theirs


def test_names_with_folders_and_several_dots_group_as_in_webdataset(tmp_path):
    members = [
        ("a/000.jpg", b"1"), ("a/000.seg.png", b"2"), ("a/000.TXT", b"3"), ("b/000.jpg", b"4"), ("b.c/000.jpg", b"5"),
        ("./x/000.jpg", b"6"), ("plain", b"7"), (".hidden", b"8"), ("a/._000.jpg", b"9"),
    ]  # fmt: skip
    path = tmp_path / "s.tar"
    path.write_bytes(tar_bytes(members))
    theirs = {
        each["__key__"]: {key: value for key, value in each.items() if not key.startswith("__")}
        for each in webdataset.WebDataset(str(path), shardshuffle=False)
    }
    ours = read_all(Shards(str(path)))
    assert ours == {key: theirs[key] for key in ours}
    assert list(ours) == ["a/000", "b/000", "b.c/000", "./x/000"]
    assert ours["a/000"] == {"jpg": b"1", "seg.png": b"2", "txt": b"3"}


def test_folders_and_links_in_a_tar_are_no_samples(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        folder = tarfile.TarInfo("data.d")
        folder.type = tarfile.DIRTYPE
        link = tarfile.TarInfo("1.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        member = tarfile.TarInfo("2.jpg")
        member.size = 3
        tar.addfile(folder)
        tar.addfile(link)
        tar.addfile(member, io.BytesIO(b"abc"))
    assert read_all(Shards(str(tmp_path / "s.tar"))) == {"2": {"jpg": b"abc"}}


def test_long_names_and_pax_headers_do_not_shift_the_offsets(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("x" * 300, "ünïcode", "short"):
            member = tarfile.TarInfo(f"{name}.txt")
            member.size = len(name)
            tar.addfile(member, io.BytesIO(b"y" * len(name)))
    shard = Shard.scan(str(tmp_path / "s.tar"))
    assert shard.problem is None
    found = read_all(Shards(str(tmp_path / "s.tar")))
    assert found == {name: {"txt": b"y" * len(name)} for name in ("x" * 300, "ünïcode", "short")}


def test_only_wanted_members_are_read(tmp_path):
    path = write_shard(tmp_path / "s.tar", sample("1", "cat", json=b"{}"))
    assert Shards(str(path)).read(0, 0, ["txt", "missing"]) == {"txt": b"cat"}


def test_extensions_are_counted(tmp_path):
    path = write_shard(tmp_path / "s.tar", sample("1"), sample("2", json=b"{}"), [("3.txt", b"")])
    assert Shards(str(path)).extensions() == {"jpg": 2, "txt": 3, "json": 1}


# ---- damage ---------------------------------------------------------------------------------------------------------

FIVE = [(f"{i}.{extension}", bytes([i]) * 700) for i in range(5) for extension in ("jpg", "txt")]
MEMBER = 512 + 1024  # header and padded content


@pytest.mark.parametrize("cut", [MEMBER, 2 * MEMBER, 4 * MEMBER + 100, 4 * MEMBER + 512 + 10, 5 * MEMBER + 512 + 700])
def test_a_tar_cut_short_gives_what_comes_before_and_says_so(tmp_path, cut):
    (tmp_path / "s.tar").write_bytes(tar_bytes(FIVE)[:cut])
    shard = Shard.scan(str(tmp_path / "s.tar"))
    assert shard.problem
    whole = (cut + 1024 - 700) // MEMBER  # members of which every byte is there
    places = members(shard.index)
    assert len(places) == whole
    assert all(start + size <= cut for start, size in places)


def test_a_broken_header_in_the_middle_is_said_and_costs_its_own_member_only(tmp_path):
    broken = bytearray(tar_bytes(FIVE))
    broken[4 * MEMBER : 4 * MEMBER + 10] = b"\xff" * 10
    (tmp_path / "s.tar").write_bytes(broken)
    shard = Shard.scan(str(tmp_path / "s.tar"))
    assert shard.index.keys.to_pylist() == ["0", "1", "2", "3", "4"]
    assert [len(members_of(shard, row)) for row in range(5)] == [2, 2, 1, 2, 2]
    assert "broken header" in shard.problem
    assert f"{4 * MEMBER:,}" in shard.problem


@pytest.mark.parametrize(
    "content",
    [b"", b"<!DOCTYPE html><html>404 Not Found</html>" * 40, b"\x00" * 100, gzip.compress(tar_bytes(FIVE))],
    ids=["empty", "html", "short", "compressed"],
)
def test_what_is_no_tar_is_a_problem_and_alone_a_user_error(tmp_path, content):
    (tmp_path / "bad.tar").write_bytes(content)
    assert Shard.scan(str(tmp_path / "bad.tar")).problem
    with pytest.raises(UserError, match=r"No samples in the 1 shard.*bad\.tar: "):
        Shards(str(tmp_path / "bad.tar"))
    write_shard(tmp_path / "good.tar", sample("1"))
    both = Shards(str(tmp_path / "*.tar"))
    assert [each.path for each in both.damaged()] == [str(tmp_path / "bad.tar")]
    assert both.samples == 1


def test_a_tar_without_members_is_no_problem_but_has_no_samples(tmp_path):
    (tmp_path / "none.tar").write_bytes(tar_bytes([]))
    assert Shard.scan(str(tmp_path / "none.tar")).problem is None
    with pytest.raises(UserError, match="No samples"):
        Shards(str(tmp_path / "none.tar"))


def test_a_sound_tar_has_no_problem(tmp_path):
    (tmp_path / "s.tar").write_bytes(tar_bytes(FIVE))
    shard = Shard.scan(str(tmp_path / "s.tar"))
    assert (len(shard), shard.problem) == (5, None)


# Field of a tar header, and a byte of it, to overwrite; the checksum is then made right, so that it is believed.
header_damage = st.tuples(
    st.integers(0, 9), st.sampled_from([0, 100, 124, 125, 130, 135, 148, 156, 257, 345]), st.integers(0, 255)
)


@settings(max_examples=150, deadline=None)
@given(st.lists(header_damage, max_size=4), st.none() | st.integers(0, 20_000), st.booleans())
def test_no_damage_makes_scan_raise_or_leave_the_file(tmp_path_factory, damage, cut, believed):
    content = bytearray(tar_bytes(FIVE))
    for member, place, value in damage:
        header = member * MEMBER
        content[header + place] = value
        if believed:
            checksum = 8 * 32 + sum(content[header : header + 148]) + sum(content[header + 156 : header + 512])
            content[header + 148 : header + 156] = b"%06o\0 " % checksum
    path = tmp_path_factory.mktemp("damage") / "s.tar"
    path.write_bytes(content[:cut])
    shard = Shard.scan(str(path))
    for start, size in members(shard.index):
        assert 0 <= start <= start + size <= len(content[:cut])


def test_an_absurd_size_in_a_header_is_a_problem(tmp_path):
    content = bytearray(tar_bytes(FIVE))
    header = 4 * MEMBER
    content[header + 124 : header + 136] = b"\x80" + b"\x7f" * 11  # base 256: far past any file
    content[header + 148 : header + 156] = b" " * 8
    content[header + 148 : header + 156] = b"%06o\0 " % sum(content[header : header + 512])
    (tmp_path / "s.tar").write_bytes(content)
    shard = Shard.scan(str(tmp_path / "s.tar"))
    assert shard.problem
    assert shard.index.keys.to_pylist() == ["0", "1", "2", "3", "4"]


# ---- patterns -------------------------------------------------------------------------------------------------------


def test_no_shard_matches_says_the_pattern_and_its_neighbours(glyphs):
    with pytest.raises(UserError) as caught:
        Shards(str(glyphs / "trian-*.tar"))
    assert "trian-*.tar" in str(caught.value)
    assert "train-00000.tar" in str(caught.value)


def test_patterns_may_be_a_list_and_overlap(glyphs):
    shards = Shards([str(glyphs / "val-*.tar"), str(glyphs / "*-00000.tar")])
    assert [each.path.rpartition("/")[2] for each in shards] == ["train-00000.tar", "val-00000.tar"]
    assert shards.samples == 32


# ---- indexes that are opened again ----------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path, monkeypatch) -> Shards:
    """Three shards of three samples, of which one index is held at a time."""
    monkeypatch.setattr("catclip.data.shards._ROWS_HELD", 1)
    for number in range(3):
        write_shard(tmp_path / f"{number}.tar", *(sample(f"{number}{row}", seed=row) for row in range(3)))
    return Shards(str(tmp_path / "*.tar"))


def test_a_shard_that_is_gone_when_its_index_is_opened_again(three):
    os.remove(three.paths[0])
    with pytest.raises(FileNotFoundError):
        three.read(0, 2)


def test_a_shard_that_has_changed_when_its_index_is_opened_again(three):
    write_shard(Path(three.paths[0]), sample("other"))
    with pytest.raises(ChangedShardError, match="has changed since it was indexed"):
        three.read(0, 2)
    assert three.read(1, 2).keys() == {"jpg", "txt"}


def test_a_damaged_shard_that_has_changed_since_is_counted_and_not_named(tmp_path, monkeypatch):
    monkeypatch.setattr("catclip.data.shards._ROWS_HELD", 1)
    for number in range(2):
        path = write_shard(tmp_path / f"{number}.tar", *(sample(f"{number}{row}", seed=row) for row in range(3)))
        path.write_bytes(path.read_bytes()[:5000])
    shards = Shards(str(tmp_path / "*.tar"))
    assert [shard.path for shard in shards.damaged()] == shards.paths
    write_shard(Path(shards.paths[0]), *(sample(f"{row}") for row in range(5)))
    shards[1]
    assert [shard.path for shard in shards.damaged()] == shards.paths[1:]


def test_workers_open_stored_indexes_themselves(tmp_path):
    for number in range(2):
        write_shard(tmp_path / f"{number}.tar", *(sample(f"{number}{row}", seed=row) for row in range(3)))
    ShardIndex.scan(tmp_path / "0.tar").save(tmp_path / "0.index.parquet")
    shards = Shards(str(tmp_path / "*.tar"))
    copy = pickle.loads(pickle.dumps(shards))
    assert list(shards._indexes) == [0, 1]
    assert list(copy._indexes) == [1]  # the other lies beside its shard
    assert read_all(copy) == read_all(shards)


def test_progress_is_told_of_every_shard(tmp_path):
    for number in range(3):
        write_shard(tmp_path / f"{number}.tar", sample(f"{number}"))
    told = []
    Pairs(str(tmp_path / "*.tar"), DataConfig(), lambda shards, size: told.append((shards, size)))
    assert told == [(1, (tmp_path / f"{number}.tar").stat().st_size) for number in range(3)]

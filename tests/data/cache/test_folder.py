"""Names of copies, whose turn it is, and room for more."""

import os
import shutil
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catclip.data.cache.folder import _OURS, CacheFolder, Record, name_of
from catclip.errors import UserError

# ---- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "readable"),
    [
        ("s3://bucket/cc12m/00042.tar", ("00042-", ".tar")),
        ("https://x.org/a/b.tar?signature=/c.tar", ("b-", ".tar")),
        ("https://x.org/a/b%20c.tar#part", ("b_20c-", ".tar")),
        ("hf://datasets/me/set/train-00000.tar.gz", ("train-00000.tar-", ".gz")),
        ("pipe:aws s3 cp s3://bucket/00042.tar -", ("00042-", ".tar")),
        ("pipe:cat a.tar | ./filter --to b.tar", ("b-", ".tar")),
        ("pipe:make shard", ("pipe-", "")),
        ("https://x.org/", ("x-", ".org")),
        ("memory://.hidden.tar", ("hidden-", ".tar")),
    ],
)
def test_a_copy_has_the_shards_name(address, readable):
    start, end = readable
    name = name_of(address)
    assert name.startswith(start)
    assert name.endswith(end)


@given(st.text(), st.text(), st.sampled_from(["s3://b/", "https://x/", "pipe:", "://"]))
def test_any_address_has_a_name_of_its_own(one, other, before):
    name = name_of(before + one)
    assert "/" not in name
    assert "\0" not in name
    assert not name.startswith(".")
    assert len(f".{name}.partial".encode()) <= 255
    assert _OURS.fullmatch(name)
    assert (name == name_of(before + other)) == (one == other)


# ---- whose turn it is -----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    return CacheFolder(tmp_path / "cache", 10_000)


def test_a_place_is_held_by_one(folder):
    place = folder.place("s3://b/0.tar")
    with folder.hold(place) as mine:
        assert mine is not None
        with folder.hold(place, wait=False) as other:
            assert other is None
        with folder.hold(folder.place("s3://b/1.tar"), wait=False) as another:
            assert another is not None
    with folder.hold(place, wait=False) as mine:
        assert mine is not None


def test_a_killed_process_holds_nothing(folder, tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from catclip.data.cache.folder import CacheFolder\n"
        "folder = CacheFolder(Path(sys.argv[1]), 10_000)\n"
        "with folder.hold(folder.place('s3://b/0.tar')): print('holds', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder.path)], stdout=subprocess.PIPE, cwd=os.getcwd()
    ) as process:
        assert process.stdout.readline() == b"holds\n"
        with folder.hold(folder.place("s3://b/0.tar"), wait=False) as mine:
            assert mine is None
        process.kill()
    with folder.hold(folder.place("s3://b/0.tar"), wait=False) as mine:
        assert mine is not None


def test_a_forked_process_does_not_keep_the_lock(folder):
    """A worker that is forked while another thread fetches inherits the handle."""
    place = folder.place("s3://b/0.tar")
    with folder.hold(place):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
    try:
        with folder.hold(place, wait=False) as mine:
            assert mine is not None
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_who_waited_for_what_was_deleted_holds_what_comes_after(folder):
    place = folder.place("s3://b/0.tar")
    held, go = threading.Event(), threading.Event()

    def wait():
        with folder.hold(place):
            held.set()
            go.wait(10)

    with folder.hold(place):
        waiter = threading.Thread(target=wait)
        waiter.start()
        time.sleep(0.2)
        place.record.unlink()  # as who makes room does
    try:
        assert held.wait(10)
        with folder.hold(place, wait=False) as mine:
            assert mine is None
    finally:
        go.set()
        waiter.join()


def test_a_record_is_read_again(folder):
    place = folder.place("s3://b/0.tar")
    before = time.time()
    with folder.hold(place) as hold:
        assert hold.record is None
        assert not hold.has_copy()
        hold.note(Record(123456, "tag", 7))
        hold.note(Record(12, "t"))
        assert hold.is_checked_since(before)
        assert not hold.is_checked_since(time.time() + 1)
    with folder.hold(place) as hold:
        assert hold.record == Record(12, "t", 0)


@pytest.mark.parametrize("torn", [b"", b"{", b"[1]", b'{"size": 1}', b'{"size": 1, "version": "", "room": 0, "x": 1}'])
def test_a_torn_record_is_none(folder, torn):
    place = folder.place("s3://b/0.tar")
    folder.path.mkdir()
    place.record.write_bytes(torn)
    place.copy.write_bytes(b"x")
    with folder.hold(place) as hold:
        assert not hold.has_copy()


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    folder = CacheFolder(tmp_path / "file" / "cache", 1000)
    with pytest.raises(UserError, match="cache cannot be written: Not a directory"), folder.hold(folder.place("a://b")):
        pass


def test_a_file_system_without_locks_is_said(folder, monkeypatch):
    def flock(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("catclip.data.cache.folder.fcntl.flock", flock)
    with pytest.raises(UserError, match=r"without locks.*data\.cache"), folder.hold(folder.place("a://b")):
        pass


# ---- room -----------------------------------------------------------------------------------------------------------


def put(folder, number, size, used):
    """Make a copy of some size, last used at a time."""
    place = folder.place(f"s3://b/{number}.tar")
    with folder.hold(place) as hold:
        place.copy.write_bytes(bytes(size))
        os.utime(place.copy, (used, used))
        hold.note(Record(size, ""))
    return place


def take(folder, number, size):
    address = f"s3://b/{number}.tar"
    with folder.hold(folder.place(address)) as hold:
        return folder.make_room(hold, Record(size, "", size), address)


def test_what_was_used_last_stays(folder):
    places = [put(folder, number, 3000, used) for number, used in enumerate((100, 300, 200))]
    assert folder.use(places[0], to_read=True)
    assert take(folder, 3, 3000)
    assert [place.copy.exists() for place in places] == [True, True, False]
    assert [place.record.exists() for place in places] == [True, True, False]
    assert not folder.use(places[2], to_read=True)


def test_no_more_than_necessary_is_deleted(folder):
    places = [put(folder, number, 2000, number) for number in range(4)]
    assert take(folder, 4, 1000)
    assert all(place.copy.exists() for place in places)


def test_what_is_being_fetched_stays(folder):
    place = put(folder, 0, 6000, 1)
    with folder.hold(place):
        assert not take(folder, 1, 6000)
    assert place.copy.exists()
    assert take(folder, 1, 6000)
    assert not place.copy.exists()


def test_room_for_what_is_not_written_yet_is_kept(folder):
    with folder.hold(folder.place("s3://b/0.tar")) as hold:
        assert folder.make_room(hold, Record(6000, "", 6000), "s3://b/0.tar")
        hold.place.partial.write_bytes(bytes(10))
        assert not take(folder, 1, 6000)
        assert take(folder, 1, 3000)
    assert take(folder, 1, 6000)  # who was killed keeps none


def test_what_a_killed_process_left_is_deleted(folder):
    place = folder.place("s3://b/0.tar")
    folder.path.mkdir()
    place.partial.write_bytes(bytes(9000))  # without record: it was not even written
    assert take(folder, 1, 6000)
    assert not place.partial.exists()


def test_what_others_put_there_stays(folder):
    folder.path.mkdir()
    (folder.path / "mine.tar").write_bytes(bytes(20_000))
    (folder.path / "more").mkdir()
    assert take(folder, 1, 9000)
    assert (folder.path / "mine.tar").exists()


def test_a_limit_smaller_than_a_shard_is_said(folder):
    put(folder, 0, 6000, 1)
    with pytest.raises(UserError, match=r"s3://b/1\.tar needs 20 KB, more than data\.cache_limit=10 KB"):
        take(folder, 1, 20_000)
    assert folder.place("s3://b/0.tar").copy.exists()


def test_copies_give_way_when_the_disk_is_full(folder, monkeypatch):
    places = [put(folder, number, 2000, number) for number in range(3)]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=500))
    assert take(folder, 3, 2000)
    assert [place.copy.exists() for place in places] == [False, True, True]


def test_a_full_disk_is_said(folder, monkeypatch):
    put(folder, 0, 2000, 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(UserError, match=r"The disk is full: s3://b/1\.tar does not fit.*100 B free.*data\.cache"):
        take(folder, 1, 5000)


def test_one_line_a_minute(folder):
    folder.path.mkdir()
    assert folder.may_speak()
    assert not CacheFolder(folder.path, 1).may_speak()
    old = time.time() - 70
    os.utime(folder.path / ".said", (old, old))
    assert folder.may_speak()

"""Remote shards as local files: whole, checked, tried again, few enough; against a web server that fails."""

import errno
import gc
import os
import pickle
import threading
import time
from contextlib import suppress
from pathlib import Path

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catclip.config import DataConfig
from catclip.data.cache import ShardCache, UnreachableError, patience
from catclip.data.cache.fetch import FileIO
from catclip.errors import UserError
from tests.data.cache.conftest import at_rest

MB = 1_000_000


def files(cache):
    return sorted(cache.folder.glob("[!.]*.tar"))


def taken(cache):
    """Return how many bytes lie in the folder at one moment: none can be deleted for others, while a lock is held."""
    sizes: dict[int, int] = {}
    with at_rest(cache):
        for path in cache.folder.iterdir():
            with suppress(FileNotFoundError):  # renamed
                sizes[path.stat().st_ino] = path.stat().st_size
    return sum(sizes.values())


@pytest.fixture
def cache(tmp_path):
    return ShardCache(tmp_path / "cache", MB, patience=5, timeout=0.5)


# ---- copies ---------------------------------------------------------------------------------------------------------


def test_a_shard_is_fetched_once(server, shards, cache):
    address = f"{server.url}/0.tar"
    path = cache.local(address)
    assert path.read_bytes() == (shards / "0.tar").read_bytes()
    assert path.parent == cache.folder
    assert cache.local(address) == path
    assert server.requests == [("HEAD", None), ("GET", None)]
    assert files(cache) == [path]


def test_the_next_process_asks_whether_it_has_changed(server, shards, cache):
    address = f"{server.url}/0.tar"
    path = cache.local(address)
    next_process = pickle.loads(pickle.dumps(cache))
    assert next_process.local(address) == next_process.local(address) == path
    assert server.requests == [("HEAD", None), ("GET", None), ("HEAD", None)]


@pytest.mark.parametrize("size", [100_000, 50_000])
def test_a_shard_that_has_changed_is_fetched_again(server, shards, cache, size):
    address = f"{server.url}/0.tar"
    with cache.open(address) as open_before:
        before = (shards / "0.tar").read_bytes()
        (shards / "0.tar").write_bytes(os.urandom(size))
        assert cache.local(address).read_bytes() == before  # in this process it has been checked
        next_process = pickle.loads(pickle.dumps(cache))
        assert next_process.local(address).read_bytes() == (shards / "0.tar").read_bytes()
        assert open_before.read() == before
    assert len(files(cache)) == 1


def test_without_versions_the_size_counts(server, shards, cache):
    server.tagged = False
    address = f"{server.url}/0.tar"
    cache.local(address)
    pickle.loads(pickle.dumps(cache)).local(address)
    assert len(server.gets()) == 1
    (shards / "0.tar").write_bytes(b"shorter")
    assert pickle.loads(pickle.dumps(cache)).local(address).read_bytes() == b"shorter"


def test_a_copy_that_was_cut_is_fetched_again(server, shards, cache):
    address = f"{server.url}/0.tar"
    path = cache.local(address)
    path.write_bytes(b"half")
    next_process = pickle.loads(pickle.dumps(cache))
    assert next_process.local(address).read_bytes() == (shards / "0.tar").read_bytes()


def test_a_copy_is_used_while_nobody_can_say_whether_it_has_changed(server, cache, capfd):
    address = f"{server.url}/0.tar"
    path = cache.local(address)
    server.head_faults = server.faults = ["503"] * 20
    start = time.monotonic()
    assert pickle.loads(pickle.dumps(cache)).local(address) == path
    assert time.monotonic() - start < 4
    assert "What was fetched of it earlier is used" in capfd.readouterr().err
    with pytest.raises(UserError, match="cannot be read"):
        ShardCache(cache.folder, MB, patience=0.1).local(f"{server.url}/1.tar")


def test_addresses_with_one_name_are_told_apart(server, shards, cache):
    (shards / "more").mkdir()
    (shards / "more" / "0.tar").write_bytes(b"another")
    assert cache.local(f"{server.url}/more/0.tar").read_bytes() == b"another"
    assert cache.local(f"{server.url}/0.tar").read_bytes() == (shards / "0.tar").read_bytes()


def test_paths_of_this_machine_stay_what_they_are(cache, tmp_path):
    assert cache.local("a/b.tar") == Path("a/b.tar")
    assert cache.local(f"file://{tmp_path}/b.tar") == tmp_path / "b.tar"
    with pytest.raises(FileNotFoundError):
        cache.open(f"{tmp_path}/b.tar")
    (tmp_path / "b.tar").write_bytes(b"b")
    with cache.open(f"{tmp_path}/b.tar") as file:
        assert file.read() == b"b"
    assert not cache.folder.exists()


def test_other_services_than_the_web(cache):
    memory = fsspec.filesystem("memory")
    memory.pipe("/cache/0.tar", b"in memory")
    try:
        path = cache.local("memory://cache/0.tar")
        assert path.read_bytes() == b"in memory"
        memory.pipe("/cache/0.tar", b"IN MEMORY")  # at another time
        assert ShardCache(cache.folder, MB).local("memory://cache/0.tar").read_bytes() == b"IN MEMORY"
    finally:
        memory.rm("/cache", recursive=True)
    with pytest.raises(UserError, match=r"memory://cache/1\.tar cannot be read: there is no such file"):
        cache.local("memory://cache/1.tar")
    with pytest.raises(UserError, match=r"s3://b/0\.tar needs a package that is not installed.*pip install s3fs"):
        cache.local("s3://b/0.tar")


def test_as_configured(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    cache = ShardCache.configured(DataConfig(sources="x"))
    assert (cache.folder, cache.limit) == (tmp_path / ".cache" / "catclip", 10**11)
    cache = ShardCache.configured(DataConfig(sources="x", cache="here", cache_limit="2GiB"))
    assert (cache.folder, cache.limit) == (Path("here"), 2**31)
    with pytest.raises(UserError, match=r"data\.cache_limit=much is no size"):
        ShardCache.configured(DataConfig(sources="x", cache_limit="much"))


# ---- commands -------------------------------------------------------------------------------------------------------


def test_what_a_command_writes_is_a_shard(shards, cache, tmp_path):
    command = f"pipe:echo >> {tmp_path}/runs; cat {shards}/0.tar"
    path = cache.local(command)
    assert path.read_bytes() == (shards / "0.tar").read_bytes()
    assert path.name.startswith("0-")
    assert pickle.loads(pickle.dumps(cache)).local(command) == path  # nobody can say whether it has changed
    cache.prefetch([f"{command} "])
    wait_for(lambda: len(files(cache)) == 2)
    cache.local(f"{command} ")
    assert (tmp_path / "runs").read_text() == "\n\n"


def test_a_command_that_fails_is_run_again(shards, cache, tmp_path, capfd):
    command = (
        f"pipe:cat {shards}/0.tar; test -e {tmp_path}/second || (touch {tmp_path}/second; echo no net >&2; exit 2)"
    )
    assert cache.local(command).read_bytes() == (shards / "0.tar").read_bytes()
    assert "ended with exit status 2: no net. It is tried again" in capfd.readouterr().err


def test_a_command_that_always_fails_is_given_up(cache, tmp_path):
    cache = ShardCache(cache.folder, MB, patience=0.3)
    with pytest.raises(UnreachableError, match=r"^pipe:echo half.*exit status 2: no bucket.* tried for 0\.3 s"):
        cache.local("pipe:echo half; echo no bucket >&2; exit 2")
    assert files(cache) == []
    start = time.monotonic()
    with pytest.raises(UnreachableError, match="exit status 127"):
        ShardCache(cache.folder, MB).local("pipe:no-such-command")
    assert time.monotonic() - start < 10


def test_a_command_that_is_silent_is_given_up(cache, monkeypatch):
    monkeypatch.setattr("catclip.data.cache.fetch._COMMAND_SILENCE", 1)
    with pytest.raises(UnreachableError, match=r"has written nothing for 0\.2 s"):
        ShardCache(cache.folder, MB, patience=0.1, timeout=0.2).local("pipe:echo half; sleep 60")


def test_commands_that_fill_the_folder_do_not_wait_for_each_other(cache, monkeypatch):
    """Each has half of what it needs, and neither could have more if it kept that."""
    monkeypatch.setattr("catclip.data.cache.fetch._FIRST_ROOM", 10_000)
    cache = ShardCache(cache.folder, 150_000, patience=10)
    commands = [
        f"pipe:for i in 1 2 3 4 5 6 7 8 9 10; do head -c 10000 /dev/zero; sleep 0.03; done; true {n}" for n in (0, 1)
    ]
    found = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: cache.open(commands[n])})) for n in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
    for file in (found[0], found[1]):
        with file:
            assert file.read() == bytes(100_000)


# ---- failures that pass ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["500", "503", "429", "408", "cut 0", "cut 40000", "stall 0", "stall 40000"])
@pytest.mark.parametrize("ranges", [True, False])
def test_it_is_tried_again(server, shards, cache, fault, ranges, capfd):
    server.ranges = ranges
    server.faults = [fault, "", fault]
    for number in range(2):
        path = cache.local(f"{server.url}/{number}.tar")
        assert path.read_bytes() == (shards / f"{number}.tar").read_bytes()
    assert len(server.gets()) == 4
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 2  # one line a minute, and that it goes on
    assert said[0].startswith(f"catclip: Waiting: {server.url}/0.tar")
    assert said[1].startswith("catclip: Going on after")


@pytest.mark.parametrize("faults", [["503", "503"], ["stall 0", "stall 0"]])
def test_asking_what_there_is_is_tried_again(server, shards, cache, faults):
    """A HEAD that fails is asked again as a GET, as for servers that know no HEAD."""
    server.head_faults, server.faults = faults[:1], faults[1:]
    assert cache.local(f"{server.url}/0.tar").read_bytes() == (shards / "0.tar").read_bytes()


def test_a_server_that_knows_no_head(server, shards, cache):
    server.head_faults = ["405"] * 9
    assert cache.local(f"{server.url}/0.tar").read_bytes() == (shards / "0.tar").read_bytes()


def test_a_download_goes_on_where_it_broke(server, shards, cache):
    (shards / "0.tar").write_bytes(data := os.urandom(5 * MB))
    cache = ShardCache(cache.folder, 10 * MB, patience=5, timeout=0.5)
    server.faults = ["stall 3000000", "stall 1000000"]
    assert cache.local(f"{server.url}/0.tar").read_bytes() == data
    assert server.gets() == [None, "bytes=3000000-", "bytes=4000000-"]


def test_a_download_that_was_given_up_goes_on_later(server, shards, cache):
    address = f"{server.url}/0.tar"
    server.faults = ["stall 60000"]
    with pytest.raises(UnreachableError, match="does not answer in time"):
        ShardCache(cache.folder, MB, patience=0, timeout=0.3).local(address)
    assert files(cache) == []
    assert cache.local(address).read_bytes() == (shards / "0.tar").read_bytes()
    assert server.gets() == [None, "bytes=60000-"]


def test_what_came_of_an_earlier_version_is_thrown_away(server, shards, cache):
    address = f"{server.url}/0.tar"
    server.faults = ["stall 60000"]
    with pytest.raises(UnreachableError):
        ShardCache(cache.folder, MB, patience=0, timeout=0.3).local(address)
    (shards / "0.tar").write_bytes(data := os.urandom(100_000))
    assert cache.local(address).read_bytes() == data
    assert server.gets() == [None, None]


def test_without_a_version_nothing_goes_on_in_another_process(server, shards, cache):
    """It might be another file of the same size."""
    server.tagged = False
    server.faults = ["stall 60000"]
    with pytest.raises(UnreachableError):
        ShardCache(cache.folder, MB, patience=0, timeout=0.3).local(f"{server.url}/0.tar")
    server.faults = ["stall 40000"]
    assert cache.local(f"{server.url}/0.tar").read_bytes() == (shards / "0.tar").read_bytes()
    assert server.gets() == [None, None, "bytes=40000-"]


def test_a_server_that_says_no_sizes(server, shards, cache):
    server.sized = False
    server.faults = ["", "cut 30000", ""]  # the first asks for the size, and is not read
    assert cache.local(f"{server.url}/0.tar").read_bytes() == (shards / "0.tar").read_bytes()
    assert taken(cache) < 101_000


def test_a_shard_of_unknown_size_finds_room_as_it_grows(server, shards, cache, monkeypatch):
    monkeypatch.setattr("catclip.data.cache.fetch._FIRST_ROOM", 1000)
    monkeypatch.setattr("catclip.data.cache.fetch._PIECE", 10_000)
    cache = ShardCache(cache.folder, 300_000, patience=5)
    for number in range(3):
        assert cache.local(f"{server.url}/{number}.tar").read_bytes() == (shards / f"{number}.tar").read_bytes()
        server.sized = False
        assert taken(cache) <= 300_000
    assert len(files(cache)) == 2
    (shards / "3.tar").write_bytes(bytes(310_000))
    with pytest.raises(UserError, match=r"more than data\.cache_limit=300 KB: raise it"):
        cache.local(f"{server.url}/3.tar")


def test_the_server_says_when_to_ask_again(server, cache):
    server.faults = ["429 after 1"]
    start = time.monotonic()
    cache.local(f"{server.url}/0.tar")
    assert time.monotonic() - start >= 0.5


def test_patience_ends(server, cache, tmp_path):
    server.faults = server.head_faults = ["503"] * 10_000
    cache = ShardCache(cache.folder, MB, patience=0.6)
    start = time.monotonic()
    with pytest.raises(UnreachableError, match=r"0\.tar cannot be read: .* 503 Service Unavailable.* tried for 0\.6 s"):
        cache.local(f"{server.url}/0.tar")
    assert 0.6 <= time.monotonic() - start < 4
    assert 2 < len(server.requests) < 30  # with growing pauses


def test_who_gets_on_is_not_given_up(server, shards, cache):
    (shards / "0.tar").write_bytes(data := os.urandom(4 * MB))
    cache = ShardCache(cache.folder, 5 * MB, patience=0.5, timeout=0.3)
    server.faults = ["stall 500000"] * 7
    start = time.monotonic()
    assert cache.local(f"{server.url}/0.tar").read_bytes() == data
    assert time.monotonic() - start > 7 * 0.3


def test_who_always_gets_to_the_same_point_is_given_up(server, cache):
    server.ranges = False
    server.faults = ["stall 50000"] * 100
    with pytest.raises(UnreachableError, match=r"tried for 0\.5 s"):
        ShardCache(cache.folder, MB, patience=0.5, timeout=0.1).local(f"{server.url}/0.tar")


# ---- failures that last ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "said"),
    [("404", "no such file"), ("403", "403 Forbidden"), ("401", "401 Unauthorized"), ("410", "no such file")],
)
def test_a_refusal_is_raised_at_once(server, cache, status, said):
    server.faults = server.head_faults = [status] * 100
    start = time.monotonic()
    with pytest.raises(UnreachableError, match=rf"{server.url}/0\.tar cannot be read: .*{said}") as error:
        cache.local(f"{server.url}/0.tar")
    assert time.monotonic() - start < 4
    assert isinstance(error.value, OSError)
    assert isinstance(error.value, UserError)
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_a_shard_that_vanishes_in_mid_download(server, shards, cache):
    server.faults = ["stall 50000"]
    threading.Timer(0.2, (shards / "0.tar").unlink).start()
    with pytest.raises(UnreachableError, match="no such file"):
        cache.local(f"{server.url}/0.tar")


def test_a_limit_smaller_than_a_shard(server, cache):
    with pytest.raises(UserError, match=r"0\.tar needs 100 KB, more than data\.cache_limit=90 KB: raise it") as error:
        ShardCache(cache.folder, 90_000).local(f"{server.url}/0.tar")
    assert not isinstance(error.value, OSError)


def test_a_disk_that_fills_up(server, cache, monkeypatch):
    class Full(FileIO):
        def write(self, piece):
            if self.tell() + len(piece) > 50_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(piece)

    monkeypatch.setattr("catclip.data.cache.fetch.FileIO", Full)
    with pytest.raises(UserError, match=r"The disk is full: .*0\.tar does not fit into .*data\.cache") as error:
        cache.local(f"{server.url}/0.tar")
    assert not isinstance(error.value, OSError)
    assert taken(cache) < 1000


# ---- ahead ----------------------------------------------------------------------------------------------------------


def wait_for(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.01)


def test_what_comes_next_is_fetched_ahead(server, shards, cache):
    addresses = [f"{server.url}/{number}.tar" for number in range(4)]
    cache.prefetch([*addresses[:2], "a/path/of/this/machine.tar", *addresses[2:]])
    wait_for(lambda: len(files(cache)) == 4)
    for number, address in enumerate(addresses):
        assert cache.local(address).read_bytes() == (shards / f"{number}.tar").read_bytes()
    assert len(server.requests) == 8


def test_at_most_two_at_a_time_and_wishes_are_replaced(server, cache):
    server.faults = ["stall 0"] * 2
    cache = ShardCache(cache.folder, MB, timeout=0.7)
    cache.prefetch([f"{server.url}/{number}.tar" for number in range(3)])
    wait_for(lambda: len(server.gets()) == 2)
    cache.prefetch([f"{server.url}/3.tar"])
    time.sleep(0.3)
    assert len(server.gets()) == 2
    wait_for(lambda: len(files(cache)) == 1)
    assert files(cache)[0].name.startswith("3-")
    wait_for(lambda: not any(thread.name == "prefetch" for thread in threading.enumerate()))
    cache.prefetch([f"{server.url}/1.tar"])
    wait_for(lambda: len(files(cache)) == 2)


def test_errors_ahead_are_silent_until_the_shard_is_read(server, cache, capfd):
    server.faults = ["503"]
    cache.prefetch([f"{server.url}/none.tar", f"{server.url}/0.tar", f"{server.url}/1.tar"])
    wait_for(lambda: not any(thread.name == "prefetch" for thread in threading.enumerate()))
    assert capfd.readouterr().err == ""
    with pytest.raises(UnreachableError, match=r"none\.tar"):
        cache.local(f"{server.url}/none.tar")
    cache.local(f"{server.url}/0.tar")


def test_who_reads_what_is_being_fetched_waits_for_it(server, shards, cache):
    server.rate = 200_000
    address = f"{server.url}/0.tar"
    cache.prefetch([address])
    wait_for(lambda: len(server.gets()) == 1)
    assert cache.local(address).read_bytes() == (shards / "0.tar").read_bytes()
    assert server.requests == [("HEAD", None), ("GET", None)]


def test_too_small_for_what_is_read_at_once_is_said(server, cache, capfd):
    cache = ShardCache(cache.folder, 150_000)
    cache.prefetch([f"{server.url}/0.tar"])
    wait_for(lambda: len(files(cache)) == 1)
    wait_for(lambda: not any(thread.name == "prefetch" for thread in threading.enumerate()))
    cache.local(f"{server.url}/1.tar")
    assert "was fetched ahead, and is deleted before it was read: data.cache_limit=150 KB" in capfd.readouterr().err


def test_what_was_read_may_be_deleted_silently(server, cache, capfd):
    cache = ShardCache(cache.folder, 150_000)
    for number in range(3):
        cache.prefetch([f"{server.url}/{number}.tar"])
        wait_for(lambda: not any(thread.name == "prefetch" for thread in threading.enumerate()))
        cache.local(f"{server.url}/{number}.tar")
        cache.prefetch([f"{server.url}/{number}.tar"])
        wait_for(lambda: not any(thread.name == "prefetch" for thread in threading.enumerate()))
    assert capfd.readouterr().err == ""


def test_a_cache_is_used_after_a_fork(server, shards, cache):
    """A loader's workers are forked from a process that has read, and is reading, from the same server."""
    cache.local(f"{server.url}/0.tar")
    server.rate = 200_000
    cache.prefetch([f"{server.url}/1.tar", f"{server.url}/2.tar"])
    wait_for(lambda: len(server.gets()) == 3)
    child = os.fork()
    if child == 0:
        right = False
        try:
            cache.prefetch([f"{server.url}/3.tar"])
            wait_for(lambda: any(path.name.startswith("3-") for path in files(cache)))
            numbers = (0, 2, 1, 3)
            read = [cache.local(f"{server.url}/{number}.tar").read_bytes() for number in numbers]
            right = read == [(shards / f"{number}.tar").read_bytes() for number in numbers]
        finally:
            os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert len(server.gets()) == 4


def test_a_forked_process_leaves_its_parents_connections_alone(server, shards, cache):
    """What a child closes that its parent has too may be lost to the parent as well, which would wait in vain."""
    address, silence = f"{server.url}/0.tar", 60.0
    for _ in range(5):
        ShardCache(cache.folder, MB, timeout=silence).local(address)
        child = os.fork()
        if child == 0:
            try:
                ShardCache(cache.folder, MB, timeout=silence).local(address)
                gc.collect()  # which copies all that the tests before have left: no time is taken of it
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        start = time.monotonic()
        ShardCache(cache.folder, MB, timeout=silence).local(address)
        assert time.monotonic() - start < silence


# ---- the bound ------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.integers(120_000, 320_000),
    steps=st.lists(
        st.tuples(st.sampled_from(["local", "open", "prefetch", "restart"]), st.integers(0, 5), st.booleans()),
        max_size=12,
    ),
)
def test_the_folder_stays_under_its_limit(server, shards, tmp_path_factory, limit, steps):
    sizes = [100_000, 100_000, 100_000, 100_000, 3000, 60_000]
    for number in (4, 5):
        (shards / f"{number}.tar").write_bytes(bytes([number]) * sizes[number])
    contents = [(shards / f"{number}.tar").read_bytes() for number in range(6)]
    cache = ShardCache(tmp_path_factory.mktemp("bound"), limit, patience=5, timeout=0.5)
    used: list[int] = []
    for action, number, fails in steps:
        if fails:
            server.faults = ["cut 30000"]
        address = f"{server.url}/{number}.tar"
        if action == "local":
            with suppress(FileNotFoundError):  # what is fetched ahead may have taken its place
                assert cache.local(address).read_bytes() == contents[number]
        elif action == "open":
            with cache.open(address) as file:
                assert file.read() == contents[number]
        elif action == "prefetch":
            cache.prefetch([address, f"{server.url}/{(number + 1) % 6}.tar"])
        else:
            cache = pickle.loads(pickle.dumps(cache))
        used = [other for other in used if other != number] + [number] * (action != "restart")
        assert taken(cache) <= limit
    wait_for(lambda: not any(thread.name == "prefetch" for thread in threading.enumerate()))
    assert taken(cache) <= limit
    if not any(action == "prefetch" for action, *_ in steps):
        for number in _that_fit(used, sizes, limit):
            before = len(server.gets())
            cache.local(f"{server.url}/{number}.tar")
            assert len(server.gets()) == before, "what was used last is still there"


def _that_fit(used, sizes, limit):
    """Yield the shards used last, as long as they fit into the limit, with what belongs to each, beside the largest."""
    room = limit - max(sizes)
    for number in reversed(used):
        room -= sizes[number] + 500
        if room < 0:
            return
        yield number


def test_pauses_grow_and_are_bounded(monkeypatch):
    slept = []
    monkeypatch.setattr(patience.time, "sleep", slept.append)
    waits = patience.Patience(1e9, lambda: False)
    for _ in range(20):
        waits.wait(patience.AddressError("no", passes=True), progress=False)
    assert all(0.5 * 0.02 * 2**n <= pause <= 0.02 * 2**n for n, pause in enumerate(slept[:8]))
    assert all(15 <= pause <= 30 for pause in slept[-5:])
    assert len(set(slept[-5:])) == 5  # not the same for all workers

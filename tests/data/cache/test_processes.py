"""Many processes on one folder; a server that is killed and comes again; downloads that are killed."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from catclip.data.cache import ShardCache
from tests.data.cache import server as server_module
from tests.data.cache.conftest import at_rest
from tests.data.cache.server import Server

MB = 1_000_000
processes = multiprocessing.get_context("fork")


@contextmanager
def separate_server(folder: Path, port: int = 0, rate: int = 0):
    """Serve a folder from a process of its own, which is killed at the end at the latest; yield it, and its port."""
    command = [sys.executable, server_module.__file__, str(folder), str(port), str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def in_processes(count, work, *arguments):
    """Run `work(*arguments, number)` in processes at the same time; it must return True in each."""

    def run(number):
        os._exit(0 if work(*arguments, number) else 1)

    workers = [processes.Process(target=run, args=(number,)) for number in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * count


def wait_for(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.01)


def partial_size(cache):
    return sum(path.stat().st_size for path in cache.folder.glob(".*.partial"))


# ---- at once --------------------------------------------------------------------------------------------------------


def read_right(cache, url, shards, number):
    return cache.local(f"{url}/{number}.tar").read_bytes() == (shards / f"{number}.tar").read_bytes()


def test_processes_that_want_the_same_shard_fetch_it_once(server, shards, tmp_path):
    server.rate = 300_000
    cache = ShardCache(tmp_path / "cache", MB)
    in_processes(6, lambda _: read_right(cache, server.url, shards, 0))
    assert server.requests == [("HEAD", None), ("GET", None)]


def test_processes_share_a_folder_that_is_too_small_for_all(server, shards, tmp_path):
    """Two shards fit at a time; four processes read four of them in orders of their own."""
    cache = ShardCache(tmp_path / "cache", 210_000, patience=20)
    too_much = []
    ended = threading.Event()

    def read(number):
        order = random.Random(number)
        for _ in range(6):
            shard = order.randrange(4)
            with cache.open(f"{server.url}/{shard}.tar") as file:
                if file.read() != (shards / f"{shard}.tar").read_bytes():
                    return False
        return True

    def watch():
        while not ended.wait(0.01):
            with at_rest(cache):
                copies = list(cache.folder.glob("[!.]*.tar"))
            if len(copies) > 2:
                too_much.append(copies)

    watcher = threading.Thread(target=watch)
    watcher.start()
    in_processes(4, read)
    ended.set()
    watcher.join()
    assert not too_much


# ---- a server that is killed ----------------------------------------------------------------------------------------


def test_a_server_that_is_killed_costs_a_pause(shards, tmp_path, capfd):
    (shards / "0.tar").write_bytes(data := os.urandom(3 * MB))
    cache = ShardCache(tmp_path / "cache", 10 * MB, patience=10)
    with separate_server(shards, rate=4 * MB) as (process, port):
        read = {}
        thread = threading.Thread(target=lambda: read.update(path=cache.local(f"http://127.0.0.1:{port}/0.tar")))
        thread.start()
        wait_for(lambda: partial_size(cache) > MB)
        process.kill()
        process.wait()
    kept = partial_size(cache)
    time.sleep(0.5)
    with Server(shards, port) as again:
        thread.join(10)
        assert read["path"].read_bytes() == data
        (asked,) = again.gets()
        assert int(asked.removeprefix("bytes=").removesuffix("-")) >= kept
    said = capfd.readouterr().err.splitlines()
    assert said[0].startswith(f"catclip: Waiting: http://127.0.0.1:{port}/0.tar cannot be read: the connection ")
    assert said[1].startswith("catclip: Going on after")
    assert len(said) == 2


@pytest.mark.slow
def test_an_epoch_goes_on_while_its_server_is_killed_again_and_again(shards, tmp_path):
    for number in range(16):
        (shards / f"{number}.tar").write_bytes(os.urandom(MB))
    cache = ShardCache(tmp_path / "cache", 5 * MB, patience=30, timeout=2)
    ended = threading.Event()
    killed = []
    with separate_server(shards, rate=MB) as (first, port):
        url = f"http://127.0.0.1:{port}"

        def kill_now_and_then():
            process = first
            while not ended.wait(0.8):
                process.kill()
                process.wait()
                killed.append(process.pid)
                time.sleep(0.3)
                process = subprocess.Popen(
                    [sys.executable, server_module.__file__, str(shards), str(port), str(MB)],
                    stdout=subprocess.PIPE,
                )
                process.stdout.readline()
            process.kill()
            process.wait()

        def read_an_epoch(rank):
            mine = [f"{url}/{number}.tar" for number in range(rank, 16, 2)]
            for place, address in enumerate(mine):
                cache.prefetch(mine[place + 1 : place + 2])
                with cache.open(address) as file:
                    if file.read() != (shards / address.rpartition("/")[2]).read_bytes():
                        return False
            return True

        killer = threading.Thread(target=kill_now_and_then)
        killer.start()
        try:
            in_processes(2, read_an_epoch)
        finally:
            ended.set()
            killer.join()
    assert len(killed) > 3


# ---- downloads that are killed --------------------------------------------------------------------------------------


def test_a_killed_download_goes_on_in_the_next_process(server, shards, tmp_path):
    server.rate = 200_000
    cache = ShardCache(tmp_path / "cache", MB)
    address = f"{server.url}/0.tar"
    worker = processes.Process(target=cache.local, args=(address,))
    worker.start()
    wait_for(lambda: partial_size(cache) > 30_000)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    kept = partial_size(cache)
    assert not list(cache.folder.glob("[!.]*.tar"))
    assert cache.local(address).read_bytes() == (shards / "0.tar").read_bytes()
    assert server.gets() == [None, f"bytes={kept}-"]
    assert partial_size(cache) == 0


def test_killed_at_any_moment_no_broken_copy_is_left(server, shards, tmp_path):
    cache = ShardCache(tmp_path / "cache", 250_000)
    moments = random.Random(0)
    for turn in range(25):
        number = turn % 4
        server.rate = moments.choice([None, 2 * MB, 10 * MB])
        worker = processes.Process(target=read_right, args=(cache, server.url, shards, number))
        worker.start()
        time.sleep(moments.uniform(0, 0.08))
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        for path in cache.folder.glob("[!.]*.tar"):
            assert path.read_bytes() == (shards / f"{path.name[0]}.tar").read_bytes()
    server.rate = None
    for number in range(4):
        assert read_right(cache, server.url, shards, number)
    assert sum(path.stat().st_size for path in cache.folder.iterdir()) <= 250_000


def test_killed_at_every_step_no_broken_copy_is_left(server, shards, tmp_path):
    """A process that ends before the n-th thing that it does to files, for every n, as shard 0 takes 1's place."""
    right = {number: (shards / f"{number}.tar").read_bytes() for number in range(2)}
    steps = {"open", "os.rename", "os.remove", "os.truncate", "os.utime", "fcntl.flock"}
    for last in range(1000):
        cache = ShardCache(tmp_path / f"cache{last}", 150_000)
        cache.local(f"{server.url}/1.tar")
        child = os.fork()
        if child == 0:
            left = iter(range(last))
            folder = str(cache.folder)

            def count(event, arguments, left=left, folder=folder):
                if event in steps and folder in str(arguments[0]) and next(left, None) is None:
                    os._exit(9)

            try:
                sys.addaudithook(count)
                cache.local(f"{server.url}/0.tar")
                os._exit(0)
            finally:
                os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, 9)
        for path in cache.folder.glob("[!.]*.tar"):
            assert path.read_bytes() == right[int(path.name[0])]
        next_process = ShardCache(cache.folder, 150_000)
        for number in (0, 1, 0):
            assert next_process.local(f"{server.url}/{number}.tar").read_bytes() == right[number]
        assert len(list(cache.folder.iterdir())) == 3  # the lock, a copy, its record
        if status == 0:
            break
    assert 10 < last < 100, "it dies at some steps, and not at all in the end"

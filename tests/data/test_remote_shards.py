"""Shards behind a web server that is killed and started again: the run waits, and reads what it would have read."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from catclip.config import DataConfig
from catclip.data import pairs as pairs_module
from catclip.data.cache import patience
from catclip.data.index import write_index
from catclip.data.loader import Loader
from catclip.data.pairs import Pairs
from catclip.data.targets import TokenTargets
from catclip.errors import UserError
from tests.data.cache import server as server_module
from tests.data.cache.server import Server
from tests.data.making import sample, training_batches, write_shard
from tests.tiny import assert_same

SHARDS, SAMPLES = 5, 8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "web"
    folder.mkdir()
    for i in range(SHARDS):
        write_shard(folder / f"{i}.tar", *[sample(f"{i}{j}", f"a dog {i} {j}", seed=9 * i + j) for j in range(SAMPLES)])
    return folder


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_FIRST_PAUSE", 0.02)


def batches(sources, tmp_path: Path, workers: int, limit: str = "1GB") -> list:
    config = DataConfig(sources=sources, shuffle=8, cache=str(tmp_path / "cache"), cache_limit=limit)
    pairs = Pairs(sources, config)
    made = training_batches(pairs, [TokenTargets(16)], config, 16, 4, 0)
    return list(Loader(made, 0, 2 * SHARDS * SAMPLES // 4, workers=workers, max_bad=0))


@pytest.mark.parametrize("workers", [0, 2])
def test_remote_batches_are_those_of_the_files(folder: Path, tmp_path: Path, workers: int):
    with Server(folder) as server:
        remote = batches([f"{server.url}/{i}.tar" for i in range(SHARDS)], tmp_path, workers)
    assert_same(remote, batches(str(folder / "*.tar"), tmp_path, 0))


def test_an_index_beside_a_remote_shard_spares_reading_it_first(folder: Path, tmp_path: Path):
    for path in folder.glob("*.tar"):
        write_index(path)
    with Server(folder) as server:
        addresses = [f"{server.url}/{i}.tar" for i in range(SHARDS)]
        pairs = Pairs(addresses, DataConfig(cache=str(tmp_path / "cache")))
        assert pairs.shards.counts.tolist() == [SAMPLES] * SHARDS
    assert len(list((tmp_path / "cache").glob("*.tar"))) < SHARDS  # the first ones, where captions are looked for


def test_not_all_remote_shards_are_fetched_to_see_what_captions_are_like(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for path in folder.glob("*.tar"):
        write_index(path)
    monkeypatch.setattr(pairs_module, "_REMOTE_LOOKED_AT", 2)
    with Server(folder) as server:
        sources = [str(folder / "1.tar"), *[f"{server.url}/{i}.tar" for i in (0, 2, 3, 4)]]
        pairs = Pairs(sources, DataConfig(cache=str(tmp_path / "cache")))
        seen = {caption for captions in pairs.captions(1000) for caption in captions}
    assert seen == {f"a dog {i} {j}" for i in (1, 0, 3) for j in range(SAMPLES)}
    assert len(list((tmp_path / "cache").glob("*.tar"))) == 2


def test_commands_write_shards(folder: Path, tmp_path: Path):
    commands = [f"pipe:cat {folder}/{i}.tar" for i in range(SHARDS)]
    assert_same(batches(commands, tmp_path, 0), batches(str(folder / "*.tar"), tmp_path, 0))


def test_a_shard_that_has_changed_on_the_server_is_counted_and_read_anew_next_time(folder: Path, tmp_path: Path):
    with Server(folder) as server:
        config = DataConfig(cache=str(tmp_path / "cache"))
        assert len(Pairs(f"{server.url}/0.tar", config)) == SAMPLES
        write_shard(folder / "0.tar", *[sample(f"new{j}", seed=j) for j in range(3 * SAMPLES)])
        with pytest.raises(UserError, match="changed"):
            Pairs(f"{server.url}/0.tar", config)
        assert len(Pairs(f"{server.url}/0.tar", config)) == 3 * SAMPLES


class ServerProcess:
    """A server that can be killed, and started again at the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, server_module.__file__, str(self.folder), str(self.port), "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_server_killed_in_mid_epoch_costs_time_only(folder: Path, tmp_path: Path, workers: int):
    server = ServerProcess(folder)
    addresses = [f"http://127.0.0.1:{server.port}/{i}.tar" for i in range(SHARDS)]
    config = DataConfig(sources=addresses, shuffle=8, cache=str(tmp_path / "cache"), cache_limit="70KB")
    try:
        pairs = Pairs(addresses, config)
        made = training_batches(pairs, [TokenTargets(16)], config, 16, 4, 0)
        loader = iter(Loader(made, 0, 2 * SHARDS * SAMPLES // 4, workers=workers, max_bad=0))
        read = [next(loader) for _ in range(3)]
        server.kill()
        threading.Timer(1.5, server.start).start()
        read += list(loader)
    finally:
        time.sleep(0.1)
        server.kill()
    assert_same(read, batches(str(folder / "*.tar"), tmp_path, 0))


def test_an_address_without_a_shard_is_said(folder: Path, tmp_path: Path):
    with Server(folder) as server, pytest.raises(UserError, match=r"none\.tar"):
        Pairs(f"{server.url}/none.tar", DataConfig(cache=str(tmp_path / "cache")))

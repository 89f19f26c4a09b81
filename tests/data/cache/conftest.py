import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from catclip.data.cache import ShardCache, patience
from catclip.data.cache.folder import CacheFolder
from tests.data.cache.server import Server


@contextmanager
def at_rest(cache: ShardCache) -> Iterator[None]:
    """Hold what every process must hold that takes room in a cache's folder, or deletes others' copies."""
    cache.folder.mkdir(exist_ok=True)
    with CacheFolder(cache.folder, cache.limit).alone():
        yield


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A folder with 0.tar to 3.tar, of 100,000 random bytes each."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.tar").write_bytes(os.urandom(100_000))
    return folder


@pytest.fixture
def server(shards: Path) -> Iterator[Server]:
    with Server(shards) as server:
        yield server


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_FIRST_PAUSE", 0.02)

"""`ShardCache`: remote shards as files of this machine."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from catclip.captions.sources.remote import is_address
from catclip.config import DataConfig
from catclip.data.cache.fetch import fetch
from catclip.data.cache.folder import CacheFolder
from catclip.data.cache.patience import Patience
from catclip.data.cache.prefetch import Prefetcher
from catclip.data.cache.sizes import parse_size, size_in_words
from catclip.errors import UserError

DEFAULT_FOLDER = "~/.cache/catclip"
_OPENINGS = 10  # copies that are deleted before they could be opened, until that is no accident


class ShardCache:
    """Copies of remote shards in a folder of bounded size, which many processes may use at once.

    It can be pickled, and used after a fork.

    Args:
        folder: where the copies lie; it is made when it is first needed.
        limit: bytes that all of the folder may have. Copies that were not used the longest are deleted for new ones.
        patience: seconds for which a server that fails is asked again, each time that no more could be had of a shard.
        timeout: seconds that a web server may be silent.
    """

    def __init__(self, folder: Path, limit: int, patience: float = 300.0, timeout: float = 60.0) -> None:
        self.folder, self.limit, self.patience, self.timeout = Path(folder), limit, patience, timeout
        self._folder = CacheFolder(self.folder, limit)
        self._process: _OfProcess | None = None

    @classmethod
    def configured(cls, config: DataConfig) -> "ShardCache":
        """Return the cache that `data.cache` and `data.cache_limit` ask for.

        Raises:
            UserError: the limit is no size.
        """
        return cls(
            Path(config.cache or DEFAULT_FOLDER).expanduser(), parse_size(config.cache_limit, "data.cache_limit")
        )

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_process": None}

    def local(self, address: str) -> Path:
        """Return the path of a whole copy of a shard, fetched first if there is none; a path of this machine as it is.

        Once in each process the copy is compared with what the server has, by its size and the time of its last change
        or its tag. A server that fails is waited for. Another process may delete the copy at any time, to make room:
        who has it open can read on, and `open` finds it in any case.

        Args:
            address: a path, an address that fsspec opens, or ``pipe:COMMAND``, which writes the shard.

        Raises:
            UnreachableError: the server refuses, or has failed for longer than `patience`; an `OSError` too.
            UserError: the folder cannot be used, the disk is full, or the limit is smaller than the shard.
        """
        path = address.removeprefix("file://")
        if not is_address(path):
            return Path(path)
        mine, place = self._mine(), self._folder.place(address)
        if address in mine.checked and self._folder.use(place, to_read=True):
            return place.copy
        self._fetch(address, self.patience, to_read=True)
        return place.copy

    def open(self, address: str) -> BinaryIO:
        """Open a whole copy of a shard, unbuffered, as `local` finds it.

        Raises:
            OSError, UserError: as `local`.
        """
        for _ in range(_OPENINGS):
            path = self.local(address)
            try:
                return open(path, "rb", buffering=0)
            except FileNotFoundError:
                if not is_address(address):
                    raise
        raise UserError(
            f"{address} is deleted as soon as it is fetched: data.cache_limit={size_in_words(self.limit)} is too small "
            "for so many processes."
        )

    def prefetch(self, addresses: Sequence[str]) -> None:
        """Fetch in the background what will be read next, in this order, instead of what was asked for before."""
        mine = self._mine()
        mine.prefetcher.wish([address for address in addresses if is_address(address)])

    def _fetch(self, address: str, patience: float, to_read: bool) -> None:
        checked = self._mine().checked
        waits = Patience(patience, self._folder.may_speak)
        if fetch(address, self._folder, waits, self.timeout, trusted=address in checked, to_read=to_read):
            checked.add(address)

    def _fetch_ahead(self, address: str) -> None:
        if not (address in self._mine().checked and self._folder.use(self._folder.place(address), to_read=False)):
            self._fetch(address, 0.0, to_read=False)

    def _mine(self) -> "_OfProcess":
        if self._process is None or self._process.pid != os.getpid():
            self._process = _OfProcess(self._fetch_ahead)
        return self._process


class _OfProcess:
    """What a process knows of its own, and a forked one does not share.

    Attributes:
        checked: addresses whose copies were compared with what their servers have.
    """

    def __init__(self, fetch_ahead: Callable[[str], None]) -> None:
        self.pid = os.getpid()
        self.checked: set[str] = set()
        self.prefetcher = Prefetcher(fetch_ahead)

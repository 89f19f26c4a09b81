"""The folder of a cache: whose turn it is with a shard, and room for more by deleting what was not used the longest.

For each shard there is its copy NAME, or what has come of it so far, `.NAME.partial`, and a record `.NAME.json`.
Who fetches a shard, or deletes one, holds a lock on its record. Who writes records or makes room holds one on the whole
folder, for a moment. The locks end with their process, and all else can be left behind at any time.
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from catclip.captions.sources.pipe import is_pipe
from catclip.data.cache.saying import say
from catclip.data.cache.sizes import size_in_words
from catclip.errors import UserError
from catclip.files import path_aside, writing

_OURS = re.compile(r".*-[0-9a-f]{16}(\.[\w+-]+)?")
_ROLES = (".partial", ".json")
_LONGEST = 100  # characters of a shard's own name that its copy keeps
UNREAD = 0.0  # the time of the last access of a copy that was fetched ahead
_JUST_NOW = 600  # seconds
_SPEAK_EVERY = 60  # seconds, of all processes that use the folder


class Place(NamedTuple):
    """Where what belongs to an address lies."""

    copy: Path
    partial: Path
    record: Path


class Record(NamedTuple):
    """What is known of a shard.

    Attributes:
        size: bytes; None as long as nobody knows.
        version: what its server calls the time of its last change, or a tag of its content; "" where it has none.
        room: bytes that are kept free for it while it is fetched.
    """

    size: int | None
    version: str
    room: int = 0

    def to_bytes(self) -> bytes:
        return json.dumps(self._asdict()).encode()


class _Entry(NamedTuple):
    name: str
    size: int  # bytes that it takes, or may yet take
    unwritten: int  # those that are not on the disk yet
    used: float  # when it was last used
    unread: bool  # fetched ahead


def name_of(address: str) -> str:
    """Return the name of an address's copy: that of the shard, made unique by a digest of the whole address."""
    if is_pipe(address):
        name = (re.findall(r"[\w.+-]+\.tar\b", address) or ["pipe"])[-1]
    else:
        name = re.split(r"[?#]", address.partition("://")[2])[0].rstrip("/").rpartition("/")[2]
    stem, ending = os.path.splitext(re.sub(r"[^\w.+-]", "_", name, flags=re.ASCII).lstrip(".")[-_LONGEST:])
    return f"{stem or 'shard'}-{hashlib.sha256(address.encode()).hexdigest()[:16]}{ending.rstrip('.')}"


class Hold:
    """A place that this process, and this thread, alone may change."""

    def __init__(self, folder: "CacheFolder", place: Place, handle: int) -> None:
        self.folder, self.place, self._handle = folder, place, handle
        self.record = _read_record(place.record)

    def has_copy(self) -> bool:
        """Whether there is a copy, whole as far as its size tells."""
        size = _size(self.place.copy)
        return size is not None and self.record is not None and self.record.size == size

    def is_checked_since(self, when: float) -> bool:
        """Whether the record was compared with what the server says after this time of the clock."""
        return os.fstat(self._handle).st_mtime >= when

    def note(self, record: Record) -> None:
        """Write the record, with the time of now."""
        with self.folder.alone():
            self.note_while_alone(record)

    def note_while_alone(self, record: Record) -> None:
        with writing(self.place.record):
            os.ftruncate(self._handle, os.pwrite(self._handle, record.to_bytes(), 0))
        # The clock of files ticks too slowly to be compared with.
        os.utime(self._handle, (now := time.time(), now))
        self.record = record

    def partial_size(self) -> int:
        return _size(self.place.partial) or 0


class CacheFolder:
    """Copies of shards in a folder, for any number of processes at once.

    Args:
        path: the folder; it is made when it is first used.
        limit: bytes that all that lies there may have.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.path, self.limit = path, limit

    def place(self, address: str) -> Place:
        copy = self.path / name_of(address)
        return Place(copy, path_aside(copy), copy.with_name(f".{copy.name}.json"))

    def use(self, place: Place, to_read: bool) -> bool:
        """Note that a copy is used now, to be read or to be there when it is; return whether it is there."""
        now = time.time()
        with writing(place.copy):
            try:
                os.utime(place.copy, (now if to_read else place.copy.stat().st_atime, now))
            except FileNotFoundError:
                return False
        return True

    @contextmanager
    def hold(self, place: Place, wait: bool = True) -> Iterator[Hold | None]:
        """Keep all others from a place. Without `wait`, yield None where another holds it.

        Raises:
            UserError: the folder cannot be made or written, or its file system knows no locks.
        """
        self._make()
        handle = _lock(place.record, wait)
        try:
            yield None if handle is None else Hold(self, place, handle)
        finally:
            if handle is not None:
                _unlock(handle)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep all others from making room and from writing records."""
        handle = _lock(self.path / ".lock", wait=True)
        assert handle is not None
        try:
            yield
        finally:
            _unlock(handle)

    def make_room(self, hold: Hold, record: Record, address: str) -> bool:
        """Keep `record.room` bytes free for a shard, by deleting copies, and note its record.

        Copies that a process has open stay readable for it.

        Returns:
            False: there is no room as long as others fetch what they are fetching.

        Raises:
            UserError: there will never be: the limit is too small, or the disk full.
        """
        own = record.room + len(record.to_bytes())
        if own > self.limit:
            limit = size_in_words(self.limit)
            raise UserError(f"{address} needs {size_in_words(own)}, more than data.cache_limit={limit}: raise it.")
        with self.alone():
            others = self._others(hold.place)
            disk = shutil.disk_usage(self.path).free - (record.room - hold.partial_size())
            disk -= sum(other.unwritten for other in others)
            missing = max(sum(other.size for other in others) + own - self.limit, -disk)
            for other in sorted(others, key=lambda other: other.used):
                if missing <= 0:
                    break
                if self._delete(other.name):
                    others.remove(other)
                    missing -= other.size
                    self._regret(other)
            if missing <= 0:
                hold.note_while_alone(record)
        if missing > 0 and disk < 0 and not others:
            raise self.disk_full(address)
        return missing <= 0

    def disk_full(self, address: str) -> UserError:
        free = size_in_words(shutil.disk_usage(self.path).free)
        return UserError(
            f"The disk is full: {address} does not fit into {self.path} ({free} free). Free some space, or choose "
            f"another folder by data.cache; data.cache_limit={size_in_words(self.limit)} is more than there is."
        )

    def _regret(self, deleted: _Entry) -> None:
        if deleted.unread and time.time() - deleted.used < _JUST_NOW and self.may_speak():
            say(
                f"{self.path / deleted.name} was fetched ahead, and is deleted before it was read: "
                f"data.cache_limit={size_in_words(self.limit)} is small for what is read at the same time."
            )

    def may_speak(self) -> bool:
        """Whether no process has said anything about this folder for a while; what is said now counts."""
        stamp = self.path / ".said"
        try:
            quiet = not 0 <= time.time() - stamp.stat().st_mtime < _SPEAK_EVERY
        except FileNotFoundError:
            quiet = True
        if quiet:
            with writing(stamp):
                stamp.touch()
        return quiet

    def _make(self) -> None:
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def _others(self, mine: Place) -> list[_Entry]:
        """Return what lies in the folder, but for one place."""
        files: dict[str, dict[str, os.stat_result]] = {}
        with os.scandir(self.path) as entries:
            for entry in entries:
                shard, role = os.path.splitext(entry.name[1:]) if entry.name.startswith(".") else (entry.name, "")
                if role in ("", *_ROLES) and _OURS.fullmatch(shard) and shard != mine.copy.name:
                    try:
                        files.setdefault(shard, {})[role] = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # its download has just ended
        return [self._entry(shard, found) for shard, found in files.items()]

    def _entry(self, name: str, found: dict[str, os.stat_result]) -> _Entry:
        sizes = {role: status.st_size for role, status in found.items()}
        used = max(found[role].st_mtime for role in (found.keys() - {".json"} or found))
        unwritten = 0
        if "" not in found or ".partial" in found:
            record = self.path / f".{name}.json"
            room = _room_if_held(record)
            unwritten = max(0, room - sizes.get(".partial", 0))
        unread = "" in found and found[""].st_atime == UNREAD
        return _Entry(name, sum(sizes.values()) + unwritten, unwritten, used, unread)

    def _delete(self, name: str) -> bool:
        """Delete all of a shard, unless it is held."""
        record = self.path / f".{name}.json"
        handle = _lock(record, wait=False)
        if handle is None:
            return False
        try:
            with writing(self.path):
                for file in (self.path / name, self.path / f".{name}.partial", record):
                    file.unlink(missing_ok=True)
        finally:
            _unlock(handle)
        return True


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _read_record(path: Path) -> Record | None:
    """Return a record; None where there is none, or one whose writer was killed."""
    try:
        return Record(**json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _room_if_held(record: Path) -> int:
    """Return the bytes that are kept for a shard that is being fetched; 0 for what a process has left behind."""
    handle = _lock(record, wait=False)
    if handle is None:
        found = _read_record(record)
        return found.room if found else 0
    _unlock(handle)
    return 0


def _lock(path: Path, wait: bool) -> int | None:
    """Return the handle of a file that is locked, and made if need be; None where another holds it.

    Raises:
        UserError: the file cannot be written, or locked.
    """
    while True:
        with writing(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if _is_at(handle, path):
                return handle
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError as error:
            os.close(handle)
            if error.errno not in (errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            raise UserError(
                f"{path.parent} lies on a file system without locks: choose a folder of a local disk by data.cache."
            ) from error
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # of a file that was deleted before its lock came


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _unlock(handle: int) -> None:
    # A process that was forked meanwhile has the handle too, and closing ours would leave it the lock.
    fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)

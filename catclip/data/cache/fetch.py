"""One shard from its address into the folder of a cache, however often its server fails on the way."""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO

from catclip.captions.sources.failures import AddressError
from catclip.captions.sources.pipe import PipeFile, is_pipe
from catclip.captions.sources.remote import RemoteFile, forget_listing, size_and_version
from catclip.data.cache.folder import UNREAD, CacheFolder, Hold, Record
from catclip.data.cache.patience import NoRoomError, Patience
from catclip.data.cache.saying import say, sentence
from catclip.files import writing

_PIECE = 4 << 20  # bytes read at once
_FIRST_ROOM = 4 << 20  # bytes that are kept free for a shard of unknown size, at first
_RECORD_SIZE = 256  # bytes, more than any has
_COMMAND_SILENCE = 5  # times as long as a server may a command be silent: it may have much to do before it writes


def fetch(
    address: str, folder: CacheFolder, patience: Patience, timeout: float, *, trusted: bool, to_read: bool
) -> bool:
    """Fetch a shard into its place, unless there is a copy that is still what its server has.

    Args:
        address: what fsspec opens, or ``pipe:COMMAND``.
        folder: where the copy lies, or comes to lie.
        patience: when to give up.
        timeout: seconds that a web server may be silent.
        trusted: a copy is known to be what the server has.
        to_read: it is wanted now, and waited for where another process or thread fetches it. Else it is fetched ahead.

    Returns:
        Whether there is a copy now; always, if it is to be read.

    Raises:
        UnreachableError: the shard cannot be had.
        UserError: the folder cannot be used, the disk is full, or the limit too small.
    """
    asked = time.time()
    place = folder.place(address)
    with folder.hold(place, wait=to_read) as hold:
        if hold is None:
            return False
        if not (hold.has_copy() and (trusted or hold.is_checked_since(asked))):
            _Fetch(address, folder, hold, timeout).run(patience)
        folder.use(place, to_read)
    return True


class _Fetch:
    """A download, and what it knows while it lasts."""

    def __init__(self, address: str, folder: CacheFolder, hold: Hold, timeout: float) -> None:
        self.address, self.folder, self.hold, self.place = address, folder, hold, hold.place
        self.timeout = timeout
        self.begun = False  # what there is of the shard was fetched here
        self.furthest = 0  # bytes that came, at most
        self.room = min(_FIRST_ROOM, folder.limit // 2)  # of a shard of unknown size

    def run(self, patience: Patience) -> None:
        while True:
            before = self.furthest
            try:
                self._attempt()
                break
            except AddressError as error:
                patience.wait(error, progress=self.furthest > before)
            self._look_again()
        patience.end(self.address)

    def _look_again(self) -> None:
        if not is_pipe(self.address):
            with suppress(AddressError):
                forget_listing(self.address)

    def _attempt(self) -> None:
        """Fetch what is missing.

        Raises:
            AddressError: not all of it came. What did is kept, if the server can go on from there.
            UserError: the folder cannot be used, the disk is full, or the limit too small.
        """
        told = self._ask()
        if told is None:
            return
        size, version = told
        with self._on_disk():
            self.place.copy.unlink(missing_ok=True)
            if not self._can_go_on(size, version):
                self.place.partial.unlink(missing_ok=True)
        self._take_room(Record(size, version, self.room if size is None else size))
        written = self.hold.partial_size()
        if size is None or written < size:
            written = self._stream(written, size)
        if size is not None and written != size:
            raise AddressError(f"{self.address} gave {written:,} bytes where {size:,} were announced.", passes=True)
        with self._on_disk():
            with open(self.place.partial, "ab") as file:
                os.fsync(file.fileno())  # a loss of power leaves no copy with holes
            self.hold.note(Record(written, version))
            os.utime(self.place.partial, (UNREAD, time.time()))
            os.replace(self.place.partial, self.place.copy)

    def _ask(self) -> tuple[int | None, str] | None:
        """Return size and version, as far as they can be known, of what is to be fetched; None for nothing."""
        record = self.hold.record if self.hold.has_copy() else None
        if is_pipe(self.address):
            return None if record else (None, "")
        try:
            size, version = size_and_version(self.address, self.timeout)
        except AddressError as error:
            if record is None or not error.passes:
                raise
            if self.folder.may_speak():
                say(f"{sentence(error)} What was fetched of it earlier is used.")
            self.hold.note(record)
            return None
        if record and size in (None, record.size) and (version == record.version or not version or not record.version):
            self.hold.note(record)
            return None
        return size, version

    def _can_go_on(self, size: int | None, version: str) -> bool:
        """Whether what there is already is the beginning of what the server has."""
        record = self.hold.record
        if record is None or size is None or not (version or self.begun):
            return False
        return (size, version) == (record.size, record.version) and self.hold.partial_size() <= size

    def _take_room(self, record: Record) -> None:
        if self.folder.make_room(self.hold, record, self.address):
            return
        # Who waits for room must not take any: two might wait for each other.
        with self._on_disk():
            self.place.partial.unlink(missing_ok=True)
        self.hold.note(record._replace(room=0))
        raise NoRoomError(
            f"{self.address} finds no room in {self.folder.path} beside what is fetched there at this moment: "
            "data.cache_limit is small for so many processes."
        )

    def _stream(self, offset: int, size: int | None) -> int:
        """Fetch from `offset` on, or from 0 where the server cannot.

        Returns:
            How many bytes of the shard came so far. Those that are too many are not written.
        """
        buffer = memoryview(bytearray(_PIECE))
        with self._open(offset) as stream, self._open_partial(stream.start) as file:
            self.begun = True
            written = stream.start
            while count := stream.readinto(buffer):
                written += count
                if size is None:
                    self._widen(written)
                elif written > size:
                    break
                self._append(file, buffer[:count])
                self.furthest = max(self.furthest, written)
        return written

    def _open(self, offset: int) -> RemoteFile | PipeFile:
        if is_pipe(self.address):
            return PipeFile(self.address, _COMMAND_SILENCE * self.timeout)
        return RemoteFile(self.address, random_access=False, offset=offset, timeout=self.timeout)

    def _widen(self, written: int) -> None:
        """Take more room for a shard of unknown size, twice as much each time."""
        if written > self.room:
            self.room = max(written, min(2 * self.room, self.folder.limit - _RECORD_SIZE))
            assert self.hold.record is not None
            self._take_room(self.hold.record._replace(room=self.room))

    # ---- on the disk --------------------------------------------------------------------------------------------

    @contextmanager
    def _on_disk(self) -> Iterator[None]:
        """Say in a `UserError` why something could not be done in the folder."""
        with writing(self.place.copy):
            try:
                yield
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                self.place.partial.unlink(missing_ok=True)
                raise self.folder.disk_full(self.address) from error

    def _open_partial(self, start: int) -> FileIO:
        with self._on_disk():
            file = FileIO(self.place.partial, "a")
            file.truncate(start)
        return file

    def _append(self, file: FileIO, piece: memoryview) -> None:
        with self._on_disk():
            while piece:
                piece = piece[file.write(piece) :]

"""A stream that cannot seek, as `tarfile` needs it: it reads on, and goes back by a block at the most."""

from typing import BinaryIO

_KEPT = 1 << 10  # bytes that can be read again
_SKIPPED = 1 << 16  # bytes passed over at once


class ForwardFile:
    """Reads a stream from front to back, with `seek` forward, and back within the last kilobyte."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._kept = b""  # the last of what the stream has given
        self._given = 0  # bytes
        self._place = 0

    def tell(self) -> int:
        return self._place

    def seek(self, place: int) -> int:
        assert place >= self._given - len(self._kept), "what lies before is gone"
        while self._given < place and self._take(min(_SKIPPED, place - self._given)):
            pass
        self._place = place
        return place

    def read(self, size: int) -> bytes:
        """Return the next bytes, fewer than `size` only at the end; none behind it."""
        if self._place > self._given:
            return b""
        data = self._kept[len(self._kept) - (self._given - self._place) :][:size]
        data += self._take(size - len(data))
        self._place += len(data)
        return data

    def _take(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._given += len(data)
        self._kept = (self._kept + data[-_KEPT:])[-_KEPT:]
        return data

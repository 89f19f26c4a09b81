"""Where the members of a tar lie, by its headers alone, and why it cannot be read on where it is damaged.

`tarfile` makes an object with forty fields of each header; a shard has tens of thousands, and a data set many shards.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple

_BLOCK = 512  # bytes: of a header, and what contents are padded to
_AHEAD = 8192  # bytes read at a header: those of small members that follow come with it
_LONGEST_NAME = 1 << 20  # bytes of what stands for a name; more is damage
_FILES = b"0\0"
_GNU_NAME, _PAX = b"L", b"x"
_ZEROS = bytes(_BLOCK)
_MAGIC, _MAGIC_AT = b"ustar", 257
_SEARCHED = 1 << 20  # bytes at once; a multiple of a block


class DamagedTarError(ValueError):
    """From here on the tar cannot be read; `str()` of it is why."""


class Member(NamedTuple):
    """A file in a tar: its name, and where its bytes lie."""

    name: str
    offset: int
    size: int


def tar_members(handle: int, size: int, damage: list[str]) -> Iterator[Member]:
    """Yield the files of a tar in their order; folders, links and devices are left out.

    Where the tar is damaged, what is wrong is added to `damage`, and it goes on at the next sound header, if there is
    one: so nothing is lost but what is broken.

    Args:
        handle: the tar, a descriptor that can be read at any place.
        size: its bytes.
        damage: takes what is wrong, in the order of the tar.

    Raises:
        OSError: the file cannot be read.
    """
    reader = _Reader(handle, size)
    place: int | None = 0
    while place is not None:
        try:
            yield from reader.members(place)
            place = reader.place + _BLOCK
            found = _next_header(handle, place, size)
            if found is not None:
                damage.append(f"an end mark at byte {reader.place:,}, and more after it")
        except DamagedTarError as error:
            damage.append(str(error))
            found = _next_header(handle, reader.place + _BLOCK, size)
        place = found


class _Reader:
    """Goes from header to header; `place` is where it stands."""

    def __init__(self, handle: int, size: int) -> None:
        self.handle, self.size = handle, size
        self.place = 0
        self._buffer, self._start = b"", 0

    def members(self, place: int) -> Iterator[Member]:
        """Yield the files from a header on, up to the end mark.

        Raises:
            DamagedTarError: a header is broken, a member leaves the file, or the end mark is missing.
        """
        self.place = place
        name, true_size = None, None
        while (header := self._header()) != _ZEROS:
            kind, length = header[156:157], _number(header[124:136], self.place)
            content = self.place + _BLOCK
            if kind in (_GNU_NAME, _PAX):
                if length > min(_LONGEST_NAME, self.size - content):
                    raise DamagedTarError(f"a broken header at byte {self.place:,}")
                said = os.pread(self.handle, length, content)
                if kind == _PAX:
                    name, true_size = _read_pax(said, name, self.place)
                else:
                    name = _text(said)
            else:
                length = length if true_size is None else true_size
                if length > self.size - content:
                    raise DamagedTarError("unexpected end of data")
                if kind in _FILES:
                    yield Member(name or _name(header), content, length)
                name, true_size = None, None
            self.place = content + -(-length // _BLOCK) * _BLOCK

    def _header(self) -> bytes:
        if not self._start <= self.place <= self._start + len(self._buffer) - _BLOCK:
            self._buffer, self._start = os.pread(self.handle, _AHEAD, self.place), self.place
        header = self._buffer[self.place - self._start : self.place - self._start + _BLOCK]
        if len(header) < _BLOCK and self.place:
            raise DamagedTarError("no end mark: the file is cut short")
        if not header:
            raise DamagedTarError("the file is empty")
        if header != _ZEROS:
            _check_sum(header, self.place)
        return header


def _next_header(handle: int, place: int, size: int) -> int | None:
    """Return where the first sound header from a place on is; None if there is none."""
    while place < size:
        data = os.pread(handle, _SEARCHED, place)
        found = data.find(_MAGIC)
        while found >= 0:
            start = found - _MAGIC_AT
            if start >= 0 and start % _BLOCK == 0 and _is_header(data[start : start + _BLOCK]):
                return place + start
            found = data.find(_MAGIC, found + 1)
        place += _SEARCHED
    return None


def _is_header(block: bytes) -> bool:
    try:
        _check_sum(block, 0)
    except DamagedTarError:
        return False
    return len(block) == _BLOCK


def _check_sum(header: bytes, place: int) -> None:
    try:
        said = _number(header[148:156], place)
    except DamagedTarError:
        said = -1
    if sum(header) - sum(header[148:156]) + 8 * ord(" ") != said:
        if place:
            raise DamagedTarError(f"a broken header at byte {place:,}")
        if header.lstrip()[:1] == b"<":
            raise DamagedTarError("no tar: it begins like a web page")
        raise DamagedTarError("no tar: it is compressed" if header[:2] == b"\x1f\x8b" else "no tar")


def _number(field: bytes, place: int) -> int:
    """Return the number in a field of a header: octal digits, or base 256 where the first bit is set."""
    try:
        number = (
            int.from_bytes(field[1:]) if field[:1] == b"\x80" else int(field.partition(b"\0")[0].strip() or b"0", 8)
        )
    except ValueError:
        number = -1
    if number < 0:
        raise DamagedTarError(f"a broken header at byte {place:,}" if place else "no tar")
    return number


def _name(header: bytes) -> str:
    name = _text(header[:100])
    if header[257:263] == b"ustar\0" and (prefix := _text(header[345:500])):
        return f"{prefix}/{name}"
    return name


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _read_pax(records: bytes, name: str | None, place: int) -> tuple[str | None, int | None]:
    """Return the name and the size that records ``length key=value`` give to the next member, where they do."""
    size = None
    while records.strip(b"\0"):
        length, _, _ = records.partition(b" ")
        if not length.isdigit() or not len(length) < int(length) <= len(records):
            raise DamagedTarError(f"a broken header at byte {place:,}")
        key, _, value = records[len(length) + 1 : int(length) - 1].partition(b"=")
        if key == b"path":
            name = _text(value)
        elif key == b"size":
            if not value.isdigit():
                raise DamagedTarError(f"a broken header at byte {place:,}")
            size = int(value)
        records = records[int(length) :]
    return name, size

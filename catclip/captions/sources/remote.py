"""Addresses (``s3://…``, ``https://…``, ``memory://…``) through fsspec."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from catclip.captions.sources.failures import address_error, is_absence
from catclip.captions.sources.pipe import is_pipe
from catclip.errors import UserError

# What file systems call the time of a file's last change, or a tag of its content.
_VERSIONS = ("mtime", "created", "LastModified", "last_modified", "Last-Modified", "updated", "ETag", "etag", "blob_id")
# A forked process must not tidy up the file systems that fsspec forgets there: what it closes, its parent no longer
# hears of (they share an epoll instance), and waits for in vain.
_kept: dict[int, Any] = {}
TIMEOUT = 60.0  # seconds without a byte from a web server after which a connection is given up


def is_address(path: str) -> bool:
    """Whether this is no path of this machine."""
    return "://" in path or is_pipe(path)


@contextmanager
def _reaching(address: str) -> Iterator[None]:
    """Turn whatever a file system raises into an `AddressError` that names the address."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # each service has its own, and fsspec passes them on
        raise address_error(address, error) from error


def _file_system(address: str) -> tuple[Any, str]:
    """Return fsspec's file system for an address, and the place in it."""
    from fsspec.core import url_to_fs

    files, place = url_to_fs(address)
    _kept[id(files)] = files
    return files, place


def _is_web(address: str) -> bool:
    return address.startswith(("http://", "https://"))


def _information(files: Any, address: str, place: str, timeout: float) -> dict[str, Any]:
    """Return what a service says of a file."""
    return files.info(place, **({"timeout": timeout} if _is_web(address) else {}))


def matches(pattern: str) -> tuple[list[str], bool]:
    """Return the addresses that a pattern stands for, and whether it named a folder.

    Raises:
        AddressError: it cannot be reached, or a package is missing.
    """
    with _reaching(pattern):
        files, place = _file_system(pattern)
        # A question mark begins a web address's query.
        if any(sign in place for sign in ("*[" if _is_web(pattern) else "*?[")):
            found = files.glob(place, detail=True)
            return [_whole(files, pattern, name) for name, info in found.items() if info["type"] == "file"], False
        if _is_web(pattern) and pattern.endswith("/"):
            return [entry["name"] for entry in files.ls(place) if entry["type"] == "file"], True
        try:
            info = _information(files, pattern, place, TIMEOUT)
        except FileNotFoundError as error:
            if not is_absence(error):
                raise
            return [], False
        if info["type"] == "directory":
            entries = files.ls(place, detail=True)
            return [_whole(files, pattern, entry["name"]) for entry in entries if entry["type"] == "file"], True
        return [_whole(files, pattern, place)], False


def _whole(files: Any, pattern: str, place: str) -> str:
    """Return the address of a place in a file system, with what follows in a chain (``zip://a.txt::https://…``)."""
    first, *rest = pattern.split("::")
    if "://" not in first:  # as in simplecache::https://…, which shows what the next one holds
        return "::".join([first, files.unstrip_protocol(place), *rest[1:]])
    return "::".join([files.unstrip_protocol(place), *rest])


def beside(pattern: str) -> str:
    """Say what there is in the place where a pattern looks, where the service tells."""
    folder = pattern.rpartition("/")[0]
    while "*" in folder or "[" in folder:
        folder = folder.rpartition("/")[0]
    try:
        with _reaching(folder):
            files, place = _file_system(f"{folder}/")
            names = sorted(name.rstrip("/").rpartition("/")[2] for name in files.ls(place, detail=False))
    except UserError:
        return f"{folder} cannot be listed."
    return f"In {folder} there is: {listing(names)}." if names else f"{folder} is empty."


def listing(names: list[str]) -> str:
    """Return the first of some names, and how many more there are."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8:,} more" if len(names) > 8 else "")


def size_and_version(address: str, timeout: float = TIMEOUT) -> tuple[int | None, str]:
    """Return a file's size in bytes, None where the server does not say, and what changes when the file does.

    Raises:
        AddressError: it cannot be reached.
    """
    with _reaching(address):
        files, place = _file_system(address)
        info = _information(files, address, place, timeout)
    return info.get("size"), " ".join(str(info[name]) for name in _VERSIONS if name in info)


def forget_listing(address: str) -> None:
    """Make `size_and_version` ask the service again, where what a folder held is remembered."""
    with _reaching(address):
        files, _ = _file_system(address)
        files.invalidate_cache()


class RemoteFile(io.RawIOBase):
    """A file at an address, open for reading.

    Args:
        address: where it is.
        random_access: it must be possible to seek. Without it a web server need not be able to send ranges.
        offset: the byte to begin at, where that is possible.
        timeout: seconds that a web server may be silent, without random access.

    Attributes:
        start: the byte at which it begins: `offset`, or 0 where a web server sends no ranges.

    Raises:
        AddressError: it cannot be opened; reading and seeking raise it too, where the connection fails.
    """

    def __init__(self, address: str, random_access: bool, offset: int = 0, timeout: float = TIMEOUT) -> None:
        self.address = address
        # fsspec says that what a web server sends in one go can seek, and then refuses.
        self._seeks = random_access or not _is_web(address)
        with _reaching(address):
            files, place = _file_system(address)
            self._files = files  # an archive is closed when its file system goes
            if _is_web(address) and not random_access:
                self._file, self.start = _open_web(files, place, offset, timeout)
            else:
                self._file = files.open(place, "rb")
                self.start = self._file.seek(offset) if offset else 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seeks and bool(self._file.seekable())

    def readinto(self, buffer: Any) -> int:
        with _reaching(self.address):
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _reaching(self.address):
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        with _reaching(self.address):
            return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _open_web(files: Any, place: str, offset: int, timeout: float) -> tuple[Any, int]:
    """Begin to read a file from a web server at a byte, or where it cannot, at the first; return which it is."""
    from aiohttp import ClientResponseError, ClientTimeout

    headers = {**files.kwargs.get("headers", {}), "Accept-Encoding": "identity"}
    # By default the whole request is bounded, and so is what can be read.
    silence = ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout)

    def get(**more: str) -> Any:
        # With a size given, fsspec does not ask for it first.
        return files.open(place, "rb", block_size=0, size=1, headers={**headers, **more}, timeout=silence)

    if not offset:
        return get(), 0
    try:
        file = get(Range=f"bytes={offset}-")
    except ClientResponseError as error:
        if error.status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        return get(), 0
    if file.r.status != HTTPStatus.PARTIAL_CONTENT:
        return file, 0
    if not file.r.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
        file.close()
        return get(), 0
    return file, offset

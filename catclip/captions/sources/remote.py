"""Addresses (``s3://…``, ``https://…``, ``memory://…``) through fsspec, and its errors in plain words."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from catclip.errors import UserError

# What file systems call the time of a file's last change, or a tag of its content.
_VERSIONS = ("mtime", "created", "LastModified", "last_modified", "Last-Modified", "updated", "ETag", "etag")


def is_address(path: str) -> bool:
    return "://" in path


@contextmanager
def _reaching(address: str) -> Iterator[None]:
    """Turn whatever a file system raises into a `UserError` that names the address."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{address} cannot be read: there is no such file.") from error
    except ImportError as error:
        raise UserError(f"{address} needs a package that is not installed: {error}{_install(address)}") from error
    except Exception as error:  # each service has its own, and fsspec passes them on
        raise UserError(f"{address} cannot be read: {type(error).__name__}: {error}") from error


def _install(address: str) -> str:
    from fsspec.registry import known_implementations

    package = known_implementations.get(address.partition("://")[0], {}).get("class", "fsspec.").partition(".")[0]
    return "" if package == "fsspec" else f" (pip install {package})"


def _file_system(address: str) -> tuple[Any, str]:
    """Return fsspec's file system for an address, and the place in it."""
    from fsspec.core import url_to_fs

    return url_to_fs(address)


def _is_web(address: str) -> bool:
    return address.startswith(("http://", "https://"))


def matches(pattern: str) -> tuple[list[str], bool]:
    """Return the addresses that a pattern stands for, and whether it named a folder.

    Raises:
        UserError: it cannot be reached, or a package is missing.
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
            info = files.info(place)
        except FileNotFoundError as error:
            if isinstance(error.__cause__, OSError):  # of the connection
                raise error.__cause__ from None
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


def size_and_version(address: str) -> tuple[int | None, str]:
    """Return a file's size in bytes, None where the server does not say, and what changes when the file does.

    Raises:
        UserError: it cannot be reached.
    """
    with _reaching(address):
        files, place = _file_system(address)
        info = files.info(place)
    return info.get("size"), " ".join(str(info[name]) for name in _VERSIONS if name in info)


class RemoteFile(io.RawIOBase):
    """A file at an address, open for reading.

    Args:
        address: where it is.
        random_access: it must be possible to seek. Without it a web server need not be able to send ranges.

    Raises:
        UserError: it cannot be opened; reading and seeking raise it too, where the connection fails.
    """

    def __init__(self, address: str, random_access: bool) -> None:
        self.address = address
        # fsspec says that what a web server sends in one go can seek, and then refuses.
        self._seeks = random_access or not _is_web(address)
        with _reaching(address):
            files, place = _file_system(address)
            self._files = files  # an archive is closed when its file system goes
            self._file = files.open(
                place, "rb", **({"block_size": 0} if _is_web(address) and not random_access else {})
            )

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

"""Writing files so that a kill or a full disk never leaves half of one."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from catclip.errors import UserError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, aside, force it to disk, and rename it into place."""
    with replacing(path) as aside:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to: what is written is forced to disk and renamed to `path`, or removed after an error."""
    aside = path_aside(path)
    try:
        yield aside
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def usual_mode(path: Path) -> Iterator[None]:
    """Leave a file that is written here as readable as any other; safetensors' own are for nobody but their owner."""
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    yield
    path.chmod(mode)


def path_aside(path: Path) -> Path:
    """Return where a file is written before it is renamed to `path`; a killed process leaves it there."""
    return path.with_name(f".{path.name}.partial")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in a `UserError` why a file or folder could not be written here."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"The disk is full: {path} cannot be written. Free some space and try again.") from error
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from error


@contextmanager
def locked(folder: Path, use: str) -> Iterator[None]:
    """Keep other processes out of a folder, which is made if it does not exist. The lock ends with the process.

    Args:
        folder: what to lock.
        use: what another process then does there, for the message.

    Raises:
        UserError: another process holds it.
    """
    message = f"Another process {use} {folder}. Wait for it, or choose another folder."
    while True:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY)
        with _exclusive(handle, message):
            if _is_at(handle, folder):
                yield
                return


@contextmanager
def locked_file(path: Path, use: str) -> Iterator[None]:
    """Keep other processes from a file that is there already, as `locked` does from a folder.

    Raises:
        OSError: it cannot be opened.
        UserError: another process holds it.
    """
    with _exclusive(os.open(path, os.O_RDONLY), f"Another process {use} {path}. Wait for it."):
        yield


def _is_at(handle: int, path: Path) -> bool:
    """Whether what is open is still what the path leads to: the process that held its lock may have deleted it."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _exclusive(handle: int, message: str) -> Iterator[None]:
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(message) from None
        except OSError as error:
            # Some network file systems know no such locks: there the user has to take care.
            if error.errno not in (errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
        yield
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Force a folder's entries to disk: a rename counts only then."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

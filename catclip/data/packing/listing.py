"""What pictures and texts there are in a folder and all below it."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

from catclip.errors import UserError

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


class Picture(NamedTuple):
    """A picture's path below the folder, as ``a/b.jpg``, and its bytes; 0 where nobody can tell."""

    path: str
    size: int


class Listing(NamedTuple):
    """The pictures of a folder, sorted by path, and the paths of its text files."""

    pictures: list[Picture]
    texts: set[str]


def list_folder(folder: Path) -> Listing:
    """List a folder. Hidden files and folders are left out; links are followed, each folder is visited once.

    Raises:
        UserError: a folder cannot be read, or there are no pictures.
    """
    listing = Listing([], set())
    visited: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        try:
            waiting += reversed(_list_one(folder, prefix, listing, visited))
        except OSError as error:
            raise UserError(f"{folder / prefix} cannot be read: {error.strerror}.") from error
    if not listing.pictures:
        raise UserError(f"No pictures ({', '.join(PICTURES)}) in {folder} or the folders below it.")
    listing.pictures.sort()
    return listing


def _list_one(folder: Path, prefix: str, listing: Listing, visited: set[tuple[int, int]]) -> list[str]:
    """Add one folder's files to the listing, and return the folders in it."""
    status = os.stat(folder / prefix)
    if (status.st_dev, status.st_ino) in visited:
        return []
    visited.add((status.st_dev, status.st_ino))
    folders = []
    with os.scandir(folder / prefix) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = f"{prefix}{entry.name}"
            ending = os.path.splitext(entry.name)[1].lower()
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append(f"{path}/")
            elif ending in PICTURES and (size := _size(entry)) is not None:
                listing.pictures.append(Picture(path, size))
            elif ending == ".txt":
                listing.texts.add(path)
    return folders


def _size(entry: os.DirEntry[str]) -> int | None:
    """Return a file's bytes; None for a pipe or device, which nobody should open."""
    try:
        status = entry.stat()
    except OSError:
        return 0  # a link to nowhere: whoever reads it says so
    return status.st_size if stat.S_ISREG(status.st_mode) else None

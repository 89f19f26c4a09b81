"""Names in tables and annotation files → the pictures of a folder that they mean."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from unicodedata import normalize

from catclip.data.pairs import BadSampleError


class PictureNames:
    """Finds pictures by a path, seen from the folder or from the table, or by a file name that only one of them has.

    Folders in a name are never overlooked: ``val/1.jpg`` is not ``train/1.jpg``.
    """

    def __init__(self, folder: Path, table: Path, pictures: Sequence[str]) -> None:
        self._folder = os.path.join(os.path.abspath(folder), "")
        self._roots = [self._folder, os.path.abspath(table.parent)]
        self._pictures = set(pictures)

    def find(self, name: str) -> str:
        """Return the path of the picture below the folder.

        Raises:
            BadSampleError: there is none, or more than one.
        """
        for spelled in dict.fromkeys([name, name.replace("\\", "/")]):
            for root in self._roots:
                path = os.path.normpath(os.path.join(root, spelled)).removeprefix(self._folder)
                if path in self._pictures:
                    return path
        same_name = [] if "/" in name else self._by_file_name.get(normalize("NFC", name), [])
        if len(same_name) == 1:
            return same_name[0]
        raise BadSampleError("several pictures of that name" if same_name else "no such picture")

    @cached_property
    def _by_file_name(self) -> dict[str, list[str]]:
        """File name, with its ending or without → paths."""
        found: dict[str, list[str]] = {}
        for path in self._pictures:
            file = normalize("NFC", path.rpartition("/")[2])
            for name in (file, os.path.splitext(file)[0]):
                found.setdefault(name, []).append(path)
        return found

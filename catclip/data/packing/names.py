"""Names in tables and annotation files → the pictures of a folder that they mean."""

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from unicodedata import normalize

from catclip.data.pairs import BadSampleError


class PictureNames:
    """Finds pictures by a path, seen from the folder or from the table, or by a file name that only one of them has.

    Either may lack its ending, where that leaves no doubt. Folders in a name are never overlooked: ``val/1.jpg`` is not
    ``train/1.jpg``.
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
        paths = [
            os.path.normpath(os.path.join(root, spelled)).removeprefix(self._folder)
            for spelled in dict.fromkeys([name, name.replace("\\", "/")])
            for root in self._roots
        ]
        for path in paths:
            if path in self._pictures:
                return path
        others = [self._by_path.get(normalize("NFC", path)) for path in paths]
        if "/" not in name:
            others.append(self._by_file_name.get(normalize("NFC", name)))
        found = next((each for each in others if each), [])
        if len(found) == 1:
            return found[0]
        raise BadSampleError("several pictures of that name" if found else "no such picture")

    @cached_property
    def _by_path(self) -> dict[str, list[str]]:
        return self._by_names(lambda path: path)

    @cached_property
    def _by_file_name(self) -> dict[str, list[str]]:
        return self._by_names(lambda path: path.rpartition("/")[2])

    def _by_names(self, part: Callable[[str], str]) -> dict[str, list[str]]:
        """A part of the path, with its ending or without → paths."""
        found: dict[str, list[str]] = {}
        for path in self._pictures:
            whole = normalize("NFC", part(path))
            for name in (whole, os.path.splitext(whole)[0]):
                found.setdefault(name, []).append(path)
        return found

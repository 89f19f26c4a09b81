"""The folder in which a count is kept while it lasts, so that after a kill the same command goes on from there."""

import io
import zipfile
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from catclip.captions.counting.corpus import CorpusCounts
from catclip.files import locked, write_atomically, writing

_PART_FILES = 64  # before they are merged into one
_MERGED = "merged.npz"


class Journal:
    """The counts of the parts that are done, in files that each are complete or absent; and a lock on their folder.

    A context manager. The folder is made and locked by `restore`, and stays, unlocked, until some journal's `remove`;
    but if there is nothing in it, it goes at once.

    Raises:
        UserError: by all methods, where the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._done: set[str] = set()
        self._is_mine = False  # the lock
        self._lock = ExitStack()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_mine and not self._done:
            with suppress(OSError):  # someone else's file is in it, or it is gone
                self.folder.rmdir()
        self._lock.close()

    @property
    def holds_counts(self) -> bool:
        return bool(self._done)

    def restore(self, wanted: Collection[str], corpus: CorpusCounts) -> set[str]:
        """Add to an empty `corpus` what was counted before.

        Counts of parts hold together only (see `Settled`): where any is of another part than the `wanted`, or cannot be
        read, all are deleted.

        Returns:
            The fingerprints of the parts that are done.

        Raises:
            UserError: another process counts there.
        """
        wanted = set(wanted)
        self._lock.enter_context(locked(self.folder, "counts into"))
        self._is_mine = True
        with writing(self.folder):
            kept = {path: _read(path, corpus.synsets) for path in self._files()}
            intact = all(counted and parts <= wanted for parts, counted in kept.values())
            for path, (parts, counted) in kept.items():
                # What was merged may still lie beside the merged file, which comes first.
                if counted and intact and not parts & self._done:
                    corpus.merge(counted)
                    self._done |= parts
                else:
                    path.unlink()
        return set(self._done)

    def add(self, fingerprint: str, part: CorpusCounts, total: CorpusCounts) -> None:
        """Keep the counts of a part; `total` are those of all that are done, this one too."""
        self._done.add(fingerprint)
        with writing(self.folder):
            parts = list(self.folder.glob("part-*.npz"))
            if len(parts) < _PART_FILES:
                _write(self.folder / f"part-{fingerprint}.npz", {fingerprint}, part)
                return
            _write(self.folder / _MERGED, self._done, total)
            for path in parts:
                path.unlink()

    def remove(self) -> None:
        """Delete the folder, when its counts are needed no more."""
        self._done.clear()
        with writing(self.folder):
            for path in [*self._files(), *self.folder.glob(".*.partial")]:
                path.unlink()
            with suppress(OSError):  # someone else's file is in it
                self.folder.rmdir()

    def _files(self) -> list[Path]:
        """The files of counts, the merged one first."""
        return [*self.folder.glob(_MERGED), *self.folder.glob("part-*.npz")]


def _write(path: Path, parts: Collection[str], corpus: CorpusCounts) -> None:
    content = io.BytesIO()
    arrays: dict[str, Any] = {"parts": np.array(sorted(parts)), **corpus.arrays()}
    np.savez(content, **arrays)
    write_atomically(path, content.getvalue())


def _read(path: Path, synsets: Sequence[str]) -> tuple[set[str], CorpusCounts | None]:
    """Return what parts a file holds, and their counts; None where the disk has damaged it."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return set(arrays["parts"].tolist()), CorpusCounts.from_arrays(arrays, synsets)
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError):
        return set(), None

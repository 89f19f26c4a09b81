"""Where the pictures of a data set lie: files in folders, or members of shards."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from catclip.data.shards import ChangedShardError, Shards
from catclip.errors import UserError


class Pictures(Protocol):
    """P pictures by their number."""

    def __len__(self) -> int: ...

    def name(self, number: int) -> str:
        """What a picture is called in messages."""

    def read(self, number: int) -> bytes:
        """The bytes of a picture, as they are stored.

        Raises:
            UserError: it is not there, or cannot be read.
        """


class PictureFiles:
    """Picture files.

    Args:
        folder: what the names are relative to.
        names: paths of the files.
    """

    def __init__(self, folder: Path, names: Sequence[str]):
        self.folder = folder
        # Not a list: workers that only look at a million Python strings come to hold a copy of them each.
        self._names = pa.array([os.fsencode(name) for name in names], pa.large_binary())

    def __len__(self) -> int:
        return len(self._names)

    def path(self, number: int) -> Path:
        return self.folder / os.fsdecode(self._names[number].as_py())

    def name(self, number: int) -> str:
        return str(self.path(number))

    def read(self, number: int) -> bytes:
        try:
            return self.path(number).read_bytes()
        except OSError as error:
            raise UserError(f"{self.name(number)} cannot be read: {error.strerror}.") from error


class ShardPictures:
    """The pictures of the samples in shards, as they lie.

    Args:
        shards: the shards.
        keys: extensions of pictures; the first that a sample has is taken.
    """

    def __init__(self, shards: Shards, keys: Sequence[str]):
        self.shards, self.keys = shards, keys
        self._places = np.array(list(shards.in_order()), np.int64).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self._places)

    def name(self, number: int) -> str:
        shard, row = self._places[number].tolist()
        return f"Sample {self.shards[shard].index.key(row)} of {self.shards.paths[shard]}"

    def read(self, number: int) -> bytes:
        members = self.members(number, self.keys)
        for key in self.keys:
            if key in members:
                return members[key]
        raise UserError(
            f"{self.name(number)} has no picture under data.image_key={';'.join(self.keys)}: "
            f"it has {', '.join(self.members(number)) or 'nothing'}."
        )

    def members(self, number: int, keys: Sequence[str] | None = None) -> dict[str, bytes]:
        """The members of a sample by extension; only those of `keys` that it has, if given.

        Raises:
            UserError: the shard is gone or cannot be read.
        """
        shard, row = self._places[number].tolist()
        try:
            return self.shards.read(shard, row, keys)
        except OSError as error:
            raise UserError(
                f"{self.name(number)} cannot be read: {str(error.strerror or error).rstrip('.')}."
            ) from error
        except ChangedShardError as error:
            raise UserError(f"{self.name(number)} cannot be read: {error}.") from error


def listed_files(folder: Path, names: Sequence[str], source: str) -> PictureFiles:
    """The files that a table or an annotation file lists.

    Args:
        folder: what the names are relative to.
        names: paths of the files.
        source: what lists them, for messages.

    Raises:
        UserError: some of them do not exist.
    """
    missing = [name for name in names if not os.path.isfile(folder / name)]
    if missing:
        raise UserError(
            f"{len(missing):,} of the {len(names):,} pictures that {source} lists are missing; the first is "
            f"{folder / missing[0]}. Give the folder that the names are relative to as data.images=…"
        )
    return PictureFiles(folder, names)

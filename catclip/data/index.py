"""`ShardIndex`: the samples of a shard and where their members lie, in arrays; and the file that keeps it.

With the index a sample is read from anywhere in a shard at once, so that order is arithmetic and any worker can read
any sample.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catclip.captions.sources.files import INDEX_ENDING
from catclip.data.tar import Member, tar_members
from catclip.files import replacing

_VERSION = "1"
_SIZE, _PROBLEM = b"catclip.tar_size", b"catclip.problem"
_COMPLETE = b"catclip.index"


class ShardIndex:
    """Where the members of a shard's N samples lie.

    Attributes:
        keys: strings [N], the samples' keys.
        extensions: names of members, as jpg, txt, json; E of them.
        offsets: int64 [N, E], where each member begins in the tar; -1 for none.
        sizes: int64 [N, E], its bytes.
        tar_size: the tar's, in bytes.
        problem: what is wrong with the tar; None where nothing is.
    """

    def __init__(
        self,
        keys: pa.StringArray,
        extensions: Sequence[str],
        offsets: np.ndarray,
        sizes: np.ndarray,
        tar_size: int,
        problem: str | None = None,
    ) -> None:
        self.keys = keys
        self.extensions = list(extensions)
        self.offsets = offsets
        self.sizes = sizes
        self.tar_size = tar_size
        self.problem = problem
        self._columns = {extension: place for place, extension in enumerate(self.extensions)}

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, row: int) -> str:
        return self.keys[row].as_py()

    def member(self, row: int, extension: str) -> tuple[int, int] | None:
        """Return offset and size of a sample's member, None where it has none of that name."""
        column = self._columns.get(extension)
        if column is None or self.offsets[row, column] < 0:
            return None
        return int(self.offsets[row, column]), int(self.sizes[row, column])

    def counts(self) -> dict[str, int]:
        """Return how many samples have a member of each name."""
        return dict(zip(self.extensions, (self.offsets >= 0).sum(0).tolist(), strict=True))

    # ---- out of a tar -------------------------------------------------------------------------------------------

    @classmethod
    def scan(cls, path: str | Path) -> "ShardIndex":
        """Read the headers of a webdataset tar: members that share a name up to the first dot are one sample.

        Where a name comes twice a second sample begins, so that nothing is lost. A damaged tar gives the samples that
        are whole, and `problem` says what is wrong; so does one that cannot be opened.
        """
        members: list[Member] = []
        damage: list[str] = []
        size = 0
        try:
            handle = os.open(path, os.O_RDONLY)
            try:
                size = os.fstat(handle).st_size
                members.extend(tar_members(handle, size, damage))
            finally:
                os.close(handle)
        except OSError as error:
            damage.append(os.strerror(error.errno or 0))
        more = f" and in {len(damage) - 1:,} more places" if len(damage) > 1 else ""
        return cls._of_members(members, size, f"{damage[0]}{more}" if damage else None)

    @classmethod
    def _of_members(cls, members: Iterable[Member], size: int, problem: str | None) -> "ShardIndex":
        keys: list[str] = []
        rows: dict[str, int] = {}  # the last of each key
        columns: dict[str, int] = {}
        taken: set[tuple[int, int]] = set()
        places: list[tuple[int, int, int, int]] = []  # row, column, offset, size
        for name, offset, length in members:
            folder, slash, rest = name.rpartition("/")
            stem, dot, extension = rest.partition(".")
            if not stem or not dot:
                continue
            key = f"{folder}{slash}{stem}".lstrip("/")
            column = columns.setdefault(extension.lower(), len(columns))
            row = rows.get(key)
            if row is None or (row, column) in taken:
                row = rows[key] = len(keys)
                keys.append(key)
            taken.add((row, column))
            places.append((row, column, offset, length))
        offsets = np.full((len(keys), len(columns)), -1, np.int64)
        sizes = np.zeros_like(offsets)
        if places:
            row_, column_, offset_, size_ = np.array(places, np.int64).T
            offsets[row_, column_], sizes[row_, column_] = offset_, size_
        texts = [key.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for key in keys]
        return cls(pa.array(texts, pa.string()), list(columns), offsets, sizes, size, problem)

    # ---- as a file ----------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write the index as Parquet: `key`, and for each kind of member its offset and size, null for none.

        Raises:
            OSError: it cannot be written.
        """
        columns: dict[str, pa.Array] = {"key": self.keys}
        for column, extension in enumerate(self.extensions):
            none = self.offsets[:, column] < 0
            columns[f"{extension}.offset"] = pa.array(self.offsets[:, column], mask=none)
            columns[f"{extension}.size"] = pa.array(self.sizes[:, column], mask=none)
        metadata = {_COMPLETE: _VERSION, _SIZE: str(self.tar_size)} | (
            {_PROBLEM: self.problem} if self.problem is not None else {}
        )
        with replacing(path) as aside:
            pq.write_table(pa.table(columns).replace_schema_metadata(metadata), aside, compression="zstd")

    @classmethod
    def load(cls, path: Path) -> "ShardIndex | None":
        """Read what `save` wrote; None where there is none, or none that can be read: it is made anew then."""
        try:
            table = pq.read_table(path, memory_map=False)
        except (OSError, pa.ArrowException):
            return None
        metadata = table.schema.metadata or {}
        if metadata.get(_COMPLETE) != _VERSION.encode():
            return None
        extensions = [name.removesuffix(".offset") for name in table.column_names if name.endswith(".offset")]

        def column(name: str, absent: int) -> np.ndarray:
            return table.column(name).fill_null(absent).to_numpy()

        shape = (len(table), len(extensions))
        offsets, sizes = np.empty(shape, np.int64), np.empty(shape, np.int64)
        for place, extension in enumerate(extensions):
            offsets[:, place] = column(f"{extension}.offset", -1)
            sizes[:, place] = column(f"{extension}.size", 0)
        problem = metadata.get(_PROBLEM)
        keys = table.column("key").combine_chunks()
        return cls(keys, extensions, offsets, sizes, int(metadata[_SIZE]), problem.decode() if problem else None)


def index_address(shard: str) -> str:
    """Return where a shard's index lies beside it."""
    return f"{shard.removesuffix('.tar')}{INDEX_ENDING}"


def index_path(shard: str | Path) -> Path:
    """Return where the index of a shard of this machine lies beside it."""
    return Path(index_address(str(shard)))


def write_index(shard: str | Path) -> ShardIndex:
    """Index a shard, and keep the index beside it.

    Raises:
        OSError: it cannot be written.
    """
    index = ShardIndex.scan(shard)
    index.save(index_path(shard))
    return index

"""`pack.jsonl`, beside the shards: how they are packed, and what is in those that are done."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from catclip.data.packing.inventory import Skipped
from catclip.errors import UserError
from catclip.files import path_aside, write_atomically, writing

NAME = "pack.jsonl"
CONTENT = "content"  # among what the shards' bytes depend on: a digest of the pictures and captions


class ShardRecord(NamedTuple):
    """A shard that is done.

    Attributes:
        shard: its file name.
        samples: in it.
        captions: of all samples together.
        size: bytes.
        skipped: pictures that were to be in it and cannot be read.
    """

    shard: str
    samples: int
    captions: int
    size: int
    skipped: list[Skipped]


class Journal:
    """The shards that are done, by name: in memory, and a line each in the file.

    Raises:
        UserError: by all methods, where the file cannot be written.
    """

    def __init__(self, out: Path, made: dict[str, Any]) -> None:
        self.path = out / NAME
        self.made = made
        self.records: dict[str, ShardRecord] = {}

    @classmethod
    def open(cls, out: Path, made: dict[str, Any]) -> "Journal":
        """Read the journal of a folder or begin it. The folder is locked by the caller.

        Args:
            out: the folder.
            made: all that the shards' bytes depend on.

        Raises:
            UserError: the folder holds something else, or shards that were made otherwise.
        """
        journal = cls(out, made)
        if journal.path.exists():
            journal._restore()
        elif any(path != path_aside(journal.path) for path in out.iterdir()):
            raise UserError(f"{out} is not empty, and was not packed by catclip. Choose another folder with out=…")
        journal.write()
        return journal

    def _restore(self) -> None:
        first, *lines = self.path.read_bytes().split(b"\n")
        try:
            made = json.loads(first)["made"]
            # A kill may cut the last line short; after a whole one nothing is left.
            records = [_record(json.loads(line)) for line in lines[:-1]]
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{self.path} is damaged. Choose another folder with out=…, or delete this one.") from None
        if made == self.made:
            self.records = {
                each.shard: each for each in records if _has_size(self.path.with_name(each.shard), each.size)
            }
        elif any(self.path.parent.glob("*.tar")):
            raise UserError(
                f"{self.path.parent} was packed otherwise: {_differences(made, self.made)}. "
                "Choose another folder with out=…, or delete this one."
            )

    def add(self, record: ShardRecord) -> None:
        """Note that a shard is done: it is on disk."""
        self.records[record.shard] = record
        with writing(self.path), self.path.open("ab") as file:
            file.write(_line(record))
            file.flush()
            os.fsync(file.fileno())

    def write(self) -> None:
        """Write the whole file anew, the shards in their order."""
        lines = [json.dumps({"made": self.made}).encode() + b"\n"]
        lines += [_line(record) for _, record in sorted(self.records.items())]
        with writing(self.path):
            write_atomically(self.path, b"".join(lines))


def _line(record: ShardRecord) -> bytes:
    return json.dumps(record._asdict()).encode() + b"\n"


def _record(fields: dict[str, Any]) -> ShardRecord:
    return ShardRecord(**fields | {"skipped": [Skipped(*each) for each in fields["skipped"]]})


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _differences(made: dict[str, Any], now: dict[str, Any]) -> str:
    changed = [key for key, value in now.items() if made.get(key) != value]
    settings = [
        f"{key} was {json.dumps(made.get(key))}, is {json.dumps(now[key])}" for key in changed if key != CONTENT
    ]
    return "; ".join(settings) or "its pictures or captions have changed"

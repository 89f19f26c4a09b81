"""Label files: Parquet beside a shard or table, a row for each of its samples, with how the labels were made.

Columns: `key`, string, and `ids`, a list of int32: places in the vocabulary, rising, each once; null for a sample that
has no caption. How they were made is JSON in the schema's metadata, under ``catclip``.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catclip.captions.lexicon import lexicon_version
from catclip.captions.sources.files import LABELS_ENDING, split_name
from catclip.captions.vocabulary import Vocabulary
from catclip.errors import UserError
from catclip.files import replacing

_ABOUT, _BAD = b"catclip", b"catclip.bad"
_SCHEMA = pa.schema([("key", pa.string()), ("ids", pa.list_(pa.int32()))])
_IN_WORDS = {
    "vocabulary": "vocabulary",
    "rule": "rule",
    "tagger": "captions.tagger",
    "sense": "captions.sense",
    "lexicon": "noun lexicon",
    "captions": "data.captions",
    "caption_key": "data.caption_key",
    "source_size": "size in bytes",
}


@dataclass(frozen=True)
class Labelling:
    """All that the labels in a file depend on.

    Attributes:
        vocabulary: `Vocabulary.digest`.
        rule, tagger, sense, lexicon: how captions are read.
        captions: of a sample's captions the ``first`` gives labels, or ``all``.
        caption_key: where the captions stand.
        source_size: bytes of the shard or table.
    """

    vocabulary: str
    rule: str
    tagger: str
    sense: str
    lexicon: str
    captions: str
    caption_key: str
    source_size: int

    @classmethod
    def of(cls, vocabulary: Vocabulary, captions: str, caption_key: str, source_size: int) -> "Labelling":
        """Return how a source is labelled for a vocabulary: its captions are read as those of its corpus were.

        Raises:
            UserError: the vocabulary does not say how.
        """
        lexicon = vocabulary.metadata.get("lexicon", lexicon_version())
        return cls(vocabulary.digest, *vocabulary.reading, lexicon, captions, caption_key, source_size)

    def differences(self, now: "Labelling") -> str:
        """Say what was another when these labels were made than it is `now`; ``""`` when nothing was."""
        return "; ".join(
            f"{_IN_WORDS[name]} was {getattr(self, name)}, is {getattr(now, name)}"
            for name in (field.name for field in fields(self))
            if getattr(self, name) != getattr(now, name)
        )


class FileLabels(NamedTuple):
    """The labels of B samples.

    Attributes:
        keys: strings [B].
        ids: int32 [N], the samples' labels laid end to end.
        offsets: int64 [B+1]; sample b has ``ids[offsets[b] : offsets[b + 1]]``.
    """

    keys: pa.StringArray
    ids: np.ndarray
    offsets: np.ndarray


def label_path(source: str, folder: str | None) -> Path:
    """Return where the labels of a shard or table lie, beside it or in a folder: ``00000.labels.parquet``."""
    kind, compression = split_name(source)
    path = Path(source)
    return (path.parent if folder is None else Path(folder)) / (
        path.name.removesuffix(compression).removesuffix(kind) + LABELS_ENDING
    )


def write(path: Path, labelling: Labelling, tables: Iterable[pa.RecordBatch], bad: Counter[str]) -> None:
    """Write a label file, atomically.

    Args:
        path: where.
        labelling: how the labels were made.
        tables: the samples, with the columns `key` and `ids`.
        bad: reason → samples without a caption; complete when `tables` are.
    """
    schema = _SCHEMA.with_metadata({_ABOUT: json.dumps(asdict(labelling))})
    with replacing(path) as aside, pq.ParquetWriter(aside, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_batch(table)
        writer.add_key_value_metadata({_BAD.decode(): json.dumps(dict(sorted(bad.items())))})


def read_labelling(path: Path) -> Labelling:
    """Return how the labels of a file were made.

    Raises:
        UserError: it cannot be read, or is no label file.
    """
    try:
        with pq.ParquetFile(path) as file:
            return Labelling(**json.loads(file.schema_arrow.metadata[_ABOUT]))
    except (OSError, pa.ArrowException, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is no label file: remove it, and run `catclip label` again. ({error})") from error


def read_bad(path: Path) -> tuple[int, Counter[str]]:
    """Return how many samples a label file has, and how many of them have no caption, by reason."""
    metadata = pq.read_metadata(path)
    return metadata.num_rows, Counter(json.loads(metadata.metadata[_BAD]))


def read(path: Path) -> FileLabels:
    """Read a label file.

    Raises:
        UserError: it is damaged.
    """
    try:
        table = pq.read_table(path, schema=_SCHEMA, use_threads=False, memory_map=False).combine_chunks()
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} is damaged: remove it, and run `catclip label` again. ({error})") from error
    keys, ids = (column.combine_chunks() for column in table.columns)
    lengths = pc.fill_null(pc.list_value_length(ids), 0).to_numpy()
    return FileLabels(keys, ids.flatten().to_numpy(), np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))

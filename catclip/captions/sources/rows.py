"""Rows of samples with their captions, and the labels of these: what label files are made of."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from catclip.captions.sources.texts import from_python
from catclip.captions.vocabulary import Vocabulary

ROWS = 1 << 14  # samples labelled at once


class Rows(NamedTuple):
    """Neighbouring samples of a file, each with the captions that give its labels.

    Attributes:
        keys: strings [B].
        captions: strings [C].
        owners: int64 [C], the row of each caption, rising.
        bad: reason → samples without a caption.
        size: bytes of the file read for them.
    """

    keys: pa.StringArray
    captions: pa.StringArray
    owners: np.ndarray
    bad: Counter[str]
    size: int


def gather(keys: Sequence[str | None], found: Sequence[Sequence[str] | str], size: int) -> Rows:
    """Put samples together.

    Args:
        keys: theirs; null where a table has none.
        found: for each its captions, or why it has none.
        size: bytes of the file read for them.
    """
    lists = [[] if isinstance(each, str) else each for each in found]
    captions = from_python([caption for each in lists for caption in each])
    owners = np.repeat(np.arange(len(lists)), [len(each) for each in lists])
    return Rows(
        pa.array([key and utf8(key) for key in keys], pa.string()),
        captions,
        owners,
        Counter(each for each in found if isinstance(each, str)),
        size,
    )


def utf8(key: str) -> str:
    """Return a sample's key as it stands in label files: names in tars may be no valid text."""
    return key.encode("utf-8", "backslashreplace").decode()


class RowLabeller:
    """Rows → their labels, as `Vocabulary.labels` gives them for the captions of each, united."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.extractor = vocabulary.extractor
        self.lookup = vocabulary.lookup(self.extractor.synsets)

    def __call__(self, rows: Rows) -> pa.RecordBatch:
        """Return the columns `key` and `ids`, B rows; null for a row without captions."""
        found = self.extractor.label_column(rows.captions)
        labels = self.lookup[found.ids].astype(np.int64)
        owners = np.repeat(rows.owners, np.diff(found.offsets))
        # A number for each pair of row and label: sorted and made unique in one go.
        size = max(1, len(self.vocabulary))
        pairs = np.unique((owners * size + labels)[labels >= 0])
        offsets = np.searchsorted(pairs, np.arange(len(rows.keys) + 1) * size).astype(np.int32)
        absent = np.ones(len(rows.keys), bool)
        absent[rows.owners] = False
        ids = pa.ListArray.from_arrays(
            pa.array(offsets), pa.array((pairs % size).astype(np.int32)), mask=pa.array(absent)
        )
        return pa.record_batch({"key": rows.keys, "ids": ids})

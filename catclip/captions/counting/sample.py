"""The labels of a sample of a corpus's captions: what a vocabulary, whichever one is chosen, makes of them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from catclip.captions.extract import ColumnLabels

SIZE = 1 << 18  # captions; of more, shares are estimates, with a standard error of at most 0.1 %
_NO_LIMIT = np.uint64(2**64 - 1)


class _Block(NamedTuple):
    """Some captions [B] with N labels: their keys, what each counts, how many labels each has, and these."""

    keys: np.ndarray  # uint64 [B]
    units: np.ndarray  # int64 [B]
    lengths: np.ndarray  # int32 [B]
    ids: np.ndarray  # int32 [N]

    def take(self, rows: np.ndarray) -> "_Block":
        starts = (np.cumsum(self.lengths) - self.lengths)[rows]
        lengths = self.lengths[rows]
        ends = np.cumsum(lengths)
        places = np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)
        return _Block(self.keys[rows], self.units[rows], lengths, self.ids[places])


class CaptionSample:
    """The `SIZE` captions with the smallest keys, or all if there are no more: with labels or without.

    The keys look like chance, so that the sample is a fair one, and come with the captions, so that it is the same in
    whatever order a corpus is counted.
    """

    def __init__(self) -> None:
        none = np.zeros(0, np.int64)
        self._blocks = [_Block(none.astype(np.uint64), none, none.astype(np.int32), none.astype(np.int32))]
        self._count = 0
        self._limit = _NO_LIMIT  # captions with keys from here on are left out
        self._complete = True

    @property
    def complete(self) -> bool:
        """Whether no caption was left out."""
        self._joined()
        return self._complete

    def __len__(self) -> int:
        return len(self._joined().keys)

    def add(self, labels: ColumnLabels, weight: int, keys: np.ndarray) -> None:
        """Look at a column of captions [B]: their labels, what each counts, and their keys, uint64 [B]."""
        units = np.full(len(keys), weight, np.int64)
        self._add(_Block(keys, units, np.diff(labels.offsets).astype(np.int32), labels.ids))

    def merge(self, other: "CaptionSample") -> None:
        """Take in the sample of another part of the corpus."""
        self._complete &= other._complete
        self._limit = min(self._limit, other._limit)
        for block in other._blocks:
            self._add(block)

    def leave_out(self, settled: "CaptionSample") -> None:
        """Leave out what cannot be among the smallest once `settled`, of other parts of the corpus, is merged."""
        settled._joined()
        self._limit = min(self._limit, settled._limit)
        self._complete &= settled._complete

    def _add(self, block: _Block) -> None:
        if self._limit != _NO_LIMIT:
            block = block.take(np.flatnonzero(block.keys <= self._limit))
        self._blocks.append(block)
        self._count += len(block.keys)
        if self._count > 2 * SIZE:
            self._joined()

    def _joined(self) -> _Block:
        """Make one block of all, of the captions with the smallest keys."""
        block = _Block(*map(np.concatenate, zip(*self._blocks, strict=True)))
        if len(block.keys) > SIZE:
            rows = np.sort(np.argpartition(block.keys, SIZE - 1)[:SIZE])
            block = block.take(rows)
            self._limit = block.keys.max()
            self._complete = False
        self._blocks, self._count = [block], len(block.keys)
        return block

    # ---- what a vocabulary makes of them ------------------------------------------------------------------------

    def share_with(self, wanted: np.ndarray) -> float:
        """Return the share of captions with a label that is wanted: bool [S], by the ids of the labels."""
        _, units, lengths, ids = self._joined()
        totals = np.concatenate([[0], np.cumsum(wanted[ids])])
        ends = np.cumsum(lengths)
        has = totals[ends] > totals[ends - lengths]
        return float(units[has].sum() / max(1, units.sum()))

    def labels_a_caption(self, labels: np.ndarray) -> np.ndarray:
        """Return float64 [L]: the shares of captions with 0, 1, 2, … different labels.

        Args:
            labels: int32 [S], the label that each id stands for, -1 for none: `Vocabulary.lookup`.
        """
        _, units, lengths, ids = self._joined()
        found = labels[ids]
        rows = np.repeat(np.arange(len(lengths)), lengths)[found >= 0]
        width = int(labels.max(initial=0)) + 1
        different = np.unique(rows * width + found[found >= 0]) // width
        numbers = np.bincount(different, minlength=len(lengths))
        return np.bincount(numbers, units) / max(1, units.sum())

    # ---- as arrays ----------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the sample as arrays, to be sent or written."""
        columns = {f"sample_{name}": column for name, column in self._joined()._asdict().items()}
        return columns | {"sample_complete": np.array(self._complete)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "CaptionSample":
        """Return the sample that became these arrays."""
        sample = cls()
        block = _Block(*(arrays[f"sample_{name}"] for name in _Block._fields))
        sample._blocks, sample._count = [block], len(block.keys)
        sample._complete = bool(arrays["sample_complete"])
        if not sample._complete:
            sample._limit = block.keys.max()
        return sample

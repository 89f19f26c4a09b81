"""The captions that have rare labels only: what is needed to know how many of a corpus a vocabulary covers."""

from collections.abc import Mapping

import numpy as np

from catclip.captions.extract import ColumnLabels

_LEAST_TO_SWEEP = 1 << 16  # captions


class RareCaptions:
    """The labels of B captions, ragged: those all of whose labels were rare when they were last looked at."""

    def __init__(self) -> None:
        self._blocks = [(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))]
        self._count = 0  # captions
        self._swept = 0  # captions, when last they were looked at

    def __len__(self) -> int:
        return self._count

    @property
    def ids(self) -> np.ndarray:
        """int32 [N]: the captions' labels, one after the other."""
        return self._joined()[0]

    @property
    def lengths(self) -> np.ndarray:
        """int64 [B]: how many labels each has."""
        return self._joined()[1]

    @property
    def units(self) -> np.ndarray:
        """int64 [B]: how much each counts."""
        return self._joined()[2]

    def add(self, labels: ColumnLabels, weight: int, frequent: np.ndarray) -> None:
        """Keep those captions of a column that have labels, but none of the `frequent` (bool [S])."""
        lengths = np.diff(labels.offsets)
        rare = (_sums(frequent[labels.ids], lengths) == 0) & (lengths > 0)
        kept = lengths[rare]
        self._extend(labels.ids[np.repeat(rare, lengths)], kept, np.full(len(kept), weight))
        self._sweep(frequent)

    def merge(self, other: "RareCaptions", frequent: np.ndarray) -> None:
        """Take in other captions, without those of all that have a `frequent` label (bool [S])."""
        self._extend(other.ids, other.lengths, other.units)
        self._sweep(frequent)

    def _extend(self, ids: np.ndarray, lengths: np.ndarray, units: np.ndarray) -> None:
        self._blocks.append((ids, lengths, units))
        self._count += len(lengths)

    def _joined(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if len(self._blocks) > 1:
            ids, lengths, units = (np.concatenate(arrays) for arrays in zip(*self._blocks, strict=True))
            self._blocks = [(ids, lengths, units)]
        return self._blocks[0]

    def _sweep(self, frequent: np.ndarray) -> None:
        # What has become frequent may stay a while: to look at all for every few that come would take ever longer.
        if len(self) < max(2 * self._swept, _LEAST_TO_SWEEP):
            return
        ids, lengths, units = self._joined()
        rare = _sums(frequent[ids], lengths) == 0
        self._blocks = [(ids[np.repeat(rare, lengths)], lengths[rare], units[rare])]
        self._count = self._swept = int(rare.sum())

    def greatest(self, values: np.ndarray) -> np.ndarray:
        """Return [B]: the greatest among the `values` [S] of each caption's labels."""
        return np.maximum.reduceat(values[self.ids], np.cumsum(self.lengths) - self.lengths)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"rare_ids": self.ids, "rare_lengths": self.lengths, "rare_units": self.units}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "RareCaptions":
        rare = cls()
        rare._extend(arrays["rare_ids"], arrays["rare_lengths"], arrays["rare_units"])
        return rare


def _sums(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the sums of `values` [N] over B neighbouring runs of these `lengths` [B], which may be 0."""
    totals = np.concatenate([[0], np.cumsum(values)])
    ends = np.cumsum(lengths)
    return totals[ends] - totals[ends - lengths]

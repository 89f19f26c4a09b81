"""`CorpusCounts`: how often each synset occurs in a corpus, and what else one pass over its captions can tell."""

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from catclip.captions.counting.examples import Examples
from catclip.captions.counting.rare import RareCaptions
from catclip.captions.counting.sample import CaptionSample
from catclip.captions.extract import ColumnLabels

MOST_LABELS = 64  # in `CorpusCounts.lengths`; captions with more count there


class Settled:
    """What some parts of a corpus settle for the others: which synsets are frequent, which keys are too large.

    What the others leave out because of it, they leave out rightly only if they are merged with those parts.
    """

    def __init__(self, synsets: int) -> None:
        self.label_units = np.zeros(synsets, np.int64)
        self.examples = Examples(synsets)
        self.sample = CaptionSample()

    def add(self, part: "CorpusCounts") -> None:
        """Learn from the counts of a part."""
        self.label_units += part.label_units
        self.examples.leave_out(part.examples)
        self.sample.merge(part.sample)


class CorpusCounts:
    """What counting a corpus gives. Merging two gives the counts of both corpora; the order makes no difference.

    Weighted captions are counted exactly, as whole numbers of a fraction of a caption, and rounded (half up) where they
    are asked for: so the same corpus always gives the same numbers.

    Args:
        synsets: the WNIDs that the ids of labels stand for, sorted.
        tau: `coverage` will be known up to this threshold.
        unit: into how many units a caption of weight 1 is divided; all weights are whole numbers of units.
        settled: by other parts of the corpus, with which these counts are going to be merged.

    Attributes:
        label_units: int64 [S], occurrences of each synset in units, repeats within a caption included.
        length_units: int64 [MOST_LABELS + 1], captions in units by their number of labels.
        skipped: reason → samples that gave no caption, unweighted.
        rare: the captions all of whose labels occur less than `tau` times. The others have a label at every threshold,
            so that they need not be kept.
        examples: a few captions for each synset.
        sample: the labels of many captions, to see what any vocabulary makes of them.
    """

    def __init__(self, synsets: Sequence[str], tau: int, unit: int = 1, settled: Settled | None = None) -> None:
        self.synsets = synsets
        self.tau = tau
        self.unit = unit
        self.label_units = np.zeros(len(synsets), np.int64)
        self.length_units = np.zeros(MOST_LABELS + 1, np.int64)
        self.skipped = Counter[str]()
        self.rare = RareCaptions()
        self.examples = Examples(len(synsets))
        self.sample = CaptionSample()
        self._elsewhere: np.ndarray | int = 0  # occurrences in units
        if settled:
            self._elsewhere = settled.label_units.copy()
            self.examples.leave_out(settled.examples)
            self.sample.leave_out(settled.sample)

    # ---- counting -----------------------------------------------------------------------------------------------

    def add(
        self, captions: pa.StringArray, labels: ColumnLabels, weight: int = 1, keys: np.ndarray | None = None
    ) -> None:
        """Count a column of captions.

        Args:
            captions: strings [B].
            labels: theirs.
            weight: of each caption, in units.
            keys: uint64 [B], by which `examples` and `sample` are chosen; None for neither.
        """
        lengths = np.diff(labels.offsets)
        self.label_units += weight * np.bincount(labels.ids, minlength=len(self.synsets))
        self.length_units += weight * np.bincount(np.minimum(lengths, MOST_LABELS), minlength=MOST_LABELS + 1)
        self.rare.add(labels, weight, self._frequent())
        if keys is not None:
            self.examples.add(captions, labels, keys)
            self.sample.add(labels, weight, keys)

    def merge(self, other: "CorpusCounts") -> None:
        """Add the counts of another corpus, of the same synsets, tau and unit, to these."""
        assert (self.tau, self.unit, len(self.synsets)) == (other.tau, other.unit, len(other.synsets))
        self.label_units += other.label_units
        self.length_units += other.length_units
        self.skipped.update(other.skipped)
        self.rare.merge(other.rare, self._frequent())
        self.examples.merge(other.examples)
        self.sample.merge(other.sample)

    def _frequent(self) -> np.ndarray:
        return self.label_units + self._elsewhere >= self.tau * self.unit

    # ---- what was counted ---------------------------------------------------------------------------------------

    @property
    def captions(self) -> int:
        """Captions read, each as often as its weight says."""
        return int(self._whole(self.length_units.sum()))

    @property
    def labelled(self) -> int:
        """Captions with at least one label."""
        return int(self._whole(self.length_units[1:].sum()))

    @property
    def occurrences(self) -> np.ndarray:
        """int64 [S]: how often each synset occurs, repeats within a caption included."""
        return self._whole(self.label_units)

    @property
    def lengths(self) -> np.ndarray:
        """int64 [MOST_LABELS + 1]: captions by their number of labels, repeats included; the last for all above too."""
        return self._whole(self.length_units)

    @property
    def counts(self) -> Counter[str]:
        """Synset → occurrences, without those that never occur."""
        occurrences = self.occurrences
        return Counter({self.synsets[i]: int(occurrences[i]) for i in np.flatnonzero(occurrences).tolist()})

    def size(self, tau: int) -> int:
        """Return how many synsets occur at least `tau` times."""
        return int((self.occurrences >= max(tau, 1)).sum())

    def coverage(self, tau: int) -> float:
        """Return the share of captions with a label that occurs at least `tau` times in the corpus."""
        assert tau <= self.tau, f"counted for thresholds up to {self.tau}"
        captions = self.length_units.sum()
        if not captions:
            return 0.0
        lost = self.rare.units[self.rare.greatest(self.occurrences) < tau].sum()
        return float((self.length_units[1:].sum() - lost) / captions)

    def examples_of(self, wnid: str) -> list[str]:
        """Return a few captions that gave a synset, cut off where they are long."""
        return self.examples.of(bisect_left(self.synsets, wnid))

    def _whole(self, units):
        return (2 * units + self.unit) // (2 * self.unit)

    # ---- as arrays ----------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """Return these counts as arrays of numbers and bytes, to be sent or written."""
        labels = np.flatnonzero(self.label_units)
        about = {"tau": self.tau, "unit": self.unit, "skipped": dict(self.skipped)}
        return {
            "about": np.frombuffer(json.dumps(about).encode(), np.uint8),
            "labels": labels.astype(np.int32),
            "label_units": self.label_units[labels],
            "length_units": self.length_units,
            **self.rare.arrays(),
            **self.examples.arrays(),
            **self.sample.arrays(),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], synsets: Sequence[str]) -> "CorpusCounts":
        """Return the counts that became these arrays."""
        about = json.loads(arrays["about"].tobytes())
        corpus = cls(synsets, about["tau"], about["unit"])
        corpus.label_units[arrays["labels"]] = arrays["label_units"]
        corpus.length_units += arrays["length_units"]
        corpus.skipped.update(about["skipped"])
        corpus.rare = RareCaptions.from_arrays(arrays)
        corpus.examples = Examples.from_arrays(arrays, len(synsets))
        corpus.sample = CaptionSample.from_arrays(arrays)
        return corpus

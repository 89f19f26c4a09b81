"""`CorpusCounts`: how often each synset occurs in a corpus, and what else one pass over its captions can tell."""

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from catclip.captions.counting.examples import Examples
from catclip.captions.counting.sample import CaptionSample
from catclip.captions.extract import ColumnLabels
from catclip.captions.sources.lines import EMPTY_LINE

MOST_LABELS = 64  # in `CorpusCounts.lengths`; captions with more count there


class Settled:
    """What some parts of a corpus settle for the others: which keys are too large.

    What the others leave out because of it, they leave out rightly only if they are merged with those parts.
    """

    def __init__(self, synsets: int) -> None:
        self.examples = Examples(synsets)
        self.sample = CaptionSample()

    def add(self, part: "CorpusCounts") -> None:
        """Learn from the counts of a part."""
        self.examples.leave_out(part.examples)
        self.sample.merge(part.sample)


class CorpusCounts:
    """What counting a corpus gives. Merging two gives the counts of both corpora; the order makes no difference.

    Weighted captions are counted exactly, as whole numbers of a fraction of a caption, and rounded (half up) where they
    are asked for: so the same corpus always gives the same numbers.

    Args:
        synsets: the WNIDs that the ids of labels stand for, sorted.
        unit: into how many units a caption of weight 1 is divided; all weights are whole numbers of units.
        settled: by other parts of the corpus, with which these counts are going to be merged.

    Attributes:
        label_units: int64 [S], occurrences of each synset in units, repeats within a caption included.
        length_units: int64 [MOST_LABELS + 1], captions in units by their number of labels.
        samples: those that gave a caption, or several, unweighted.
        skipped: reason → samples that gave no caption, unweighted.
        examples: a few captions for each synset.
        sample: the labels of many captions, to see what any vocabulary makes of them.
    """

    def __init__(self, synsets: Sequence[str], unit: int = 1, settled: Settled | None = None) -> None:
        self.synsets = synsets
        self.unit = unit
        self.label_units = np.zeros(len(synsets), np.int64)
        self.length_units = np.zeros(MOST_LABELS + 1, np.int64)
        self.samples = 0
        self.skipped = Counter[str]()
        self.examples = Examples(len(synsets))
        self.sample = CaptionSample()
        if settled:
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
        if keys is not None:
            self.examples.add(captions, labels, keys)
            self.sample.add(labels, weight, keys)

    def merge(self, other: "CorpusCounts") -> None:
        """Add the counts of another corpus, of the same synsets and unit, to these."""
        assert (self.unit, len(self.synsets)) == (other.unit, len(other.synsets))
        self.label_units += other.label_units
        self.length_units += other.length_units
        self.samples += other.samples
        self.skipped.update(other.skipped)
        self.examples.merge(other.examples)
        self.sample.merge(other.sample)

    # ---- what was counted ---------------------------------------------------------------------------------------

    @property
    def bad(self) -> Counter[str]:
        """Reason → samples that should have a caption; an empty line of text is no sample."""
        return Counter({reason: number for reason, number in self.skipped.items() if reason != EMPTY_LINE})

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
        """Return the share of captions with a label that occurs at least `tau` times, an estimate as `sample` is."""
        return self.sample.share_with(self.occurrences >= tau)

    def examples_of(self, wnid: str) -> list[str]:
        """Return a few captions that gave a synset, cut off where they are long."""
        return self.examples.of(bisect_left(self.synsets, wnid))

    def _whole(self, units):
        return (2 * units + self.unit) // (2 * self.unit)

    # ---- as arrays ----------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """Return these counts as arrays of numbers and bytes, to be sent or written."""
        labels = np.flatnonzero(self.label_units)
        about = {"unit": self.unit, "samples": self.samples, "skipped": dict(self.skipped)}
        return {
            "about": np.frombuffer(json.dumps(about).encode(), np.uint8),
            "labels": labels.astype(np.int32),
            "label_units": self.label_units[labels],
            "length_units": self.length_units,
            **self.examples.arrays(),
            **self.sample.arrays(),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], synsets: Sequence[str]) -> "CorpusCounts":
        """Return the counts that became these arrays."""
        about = json.loads(arrays["about"].tobytes())
        corpus = cls(synsets, about["unit"])
        corpus.label_units[arrays["labels"]] = arrays["label_units"]
        corpus.length_units += arrays["length_units"]
        corpus.samples = about["samples"]
        corpus.skipped.update(about["skipped"])
        corpus.examples = Examples.from_arrays(arrays, len(synsets))
        corpus.sample = CaptionSample.from_arrays(arrays)
        return corpus

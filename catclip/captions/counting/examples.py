"""A few captions for each synset, chosen by chance and yet the same ones in whatever order a corpus is counted."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catclip.captions.extract import ColumnLabels

EXAMPLES = 3  # for each synset
LONGEST = 200  # characters
_LEAST_TO_SORT = 1 << 15
_NONE_YET = np.uint64(2**64 - 1)


def caption_keys(seed: int, first: int, count: int) -> np.ndarray:
    """Return uint64 [count]: what looks like chance, a function of where captions lie.

    Args:
        seed: of their file, uint64.
        first: place of the first of them in the file.
        count: how many there are.
    """
    keys = np.arange(first, first + count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


class Examples:
    """For each synset the `EXAMPLES` captions with the smallest keys."""

    def __init__(self, synsets: int) -> None:
        self._blocks = [(np.zeros(0, np.int32), np.zeros(0, np.uint64), pa.array([], pa.string()))]
        self._count = 0  # in the blocks
        self._kept = 0  # of those, when last they were sorted
        self._is_sorted = True
        self._limits = np.full(synsets, _NONE_YET)  # a synset's keys from here on are not among its smallest

    def add(self, captions: pa.StringArray, labels: ColumnLabels, keys: np.ndarray) -> None:
        """Look at a column of captions [B] with their labels and keys (uint64 [B])."""
        rows = np.repeat(np.arange(len(captions)), np.diff(labels.offsets))
        wanted = np.flatnonzero(keys[rows] < self._limits[labels.ids])
        rows = rows[wanted]
        texts = pc.utf8_slice_codeunits(captions.take(pa.array(rows)), 0, LONGEST)
        self._extend(labels.ids[wanted], keys[rows], texts)

    def merge(self, other: "Examples") -> None:
        """Take in the examples of another part of the corpus."""
        ids, keys, texts = other._joined()
        wanted = np.flatnonzero(keys < self._limits[ids])
        self._extend(ids[wanted], keys[wanted], texts.take(pa.array(wanted)))

    def _extend(self, ids: np.ndarray, keys: np.ndarray, texts: pa.StringArray) -> None:
        self._blocks.append((ids, keys, texts))
        self._count += len(ids)
        self._is_sorted = False
        if self._count > max(2 * self._kept, _LEAST_TO_SORT):
            self._sort()

    def _joined(self) -> tuple[np.ndarray, np.ndarray, pa.StringArray]:
        if len(self._blocks) > 1:
            ids, keys, texts = zip(*self._blocks, strict=True)
            self._blocks = [(np.concatenate(ids), np.concatenate(keys), pa.concat_arrays(texts))]
        return self._blocks[0]

    def leave_out(self, settled: "Examples") -> None:
        """Leave out what cannot be among the smallest once `settled`, of other parts of the corpus, is merged."""
        settled._sort()
        np.minimum(self._limits, settled._limits, out=self._limits)

    def _sort(self) -> None:
        """Keep what is among the smallest, ordered by synset and key, and set the limits by it."""
        if self._is_sorted:
            return
        ids, keys, texts = self._joined()
        order = np.lexsort((keys, ids))
        ids, keys = ids[order], keys[order]
        # A caption may give a synset twice.
        new = np.ones(len(ids), bool)
        new[1:] = (ids[1:] != ids[:-1]) | (keys[1:] != keys[:-1])
        order, ids, keys = order[new], ids[new], keys[new]
        ranks = np.arange(len(ids)) - np.searchsorted(ids, ids)
        last = ranks == EXAMPLES - 1
        self._limits[ids[last]] = keys[last]
        kept = ranks < EXAMPLES
        self._blocks = [(ids[kept], keys[kept], texts.take(pa.array(order[kept])))]
        self._count = self._kept = int(kept.sum())
        self._is_sorted = True

    def of(self, synset: int) -> list[str]:
        """Return the examples of one synset, each text once."""
        self._sort()
        ids, _, texts = self._blocks[0]
        first, end = np.searchsorted(ids, [synset, synset + 1])
        return list(dict.fromkeys(texts.slice(first, end - first).to_pylist()))

    def arrays(self) -> dict[str, np.ndarray]:
        self._sort()
        ids, keys, texts = self._blocks[0]
        data = np.frombuffer("".join(texts.to_pylist()).encode(), np.uint8)
        lengths = pc.binary_length(texts).to_numpy(zero_copy_only=False)
        return {"example_ids": ids, "example_keys": keys, "example_lengths": lengths, "example_data": data}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], synsets: int) -> "Examples":
        examples = cls(synsets)
        offsets = np.concatenate([[0], np.cumsum(arrays["example_lengths"])]).astype(np.int32)
        buffers = pa.py_buffer(offsets), pa.py_buffer(arrays["example_data"].tobytes())
        texts = pa.StringArray.from_buffers(len(offsets) - 1, *buffers)
        examples._blocks = [(arrays["example_ids"], arrays["example_keys"], texts)]
        examples._count = len(texts)
        return examples

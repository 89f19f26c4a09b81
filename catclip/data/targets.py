"""A sample's annotation → what an objective learns from: ragged label ids, or text tokens.

A target is called once a sample, in the loader's workers, with the captions that `data.captions` selected and their
labels, if those are stored (`data.labels`); its `collate` makes the batch's tensors. Several targets can share a batch:
each adds keys of its own.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch

from catclip.captions import Vocabulary
from catclip.captions.sources.rows import RowLabeller, gather
from catclip.data.pairs import Annotation


class Targets(Protocol):
    def __call__(self, annotation: Annotation, rng: np.random.Generator) -> Any:
        """The target of one sample."""

    def collate(self, targets: Sequence[Any]) -> dict[str, torch.Tensor]:
        """The tensors of a batch."""


class LabelTargets:
    """Captions → vocabulary indices, or those that are stored; the labels of several captions are united.

    The captions of a batch are labelled when it is collated, all at once: one by one they take up to ten times as long.

    Collated, ragged: `label_ids` int64 [N], all labels of the batch laid end to end, and `label_offsets` int64
    [B + 1]; picture b has `label_ids[label_offsets[b] : label_offsets[b + 1]]`.
    """

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary
        self._label: RowLabeller | None = None  # made in the process that needs it

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_label": None}

    def __call__(self, annotation: Annotation, rng: np.random.Generator) -> Annotation:
        return annotation

    def labels(self, annotation: Annotation) -> list[int]:
        """Rising vocabulary indices."""
        captions, stored = annotation
        if stored is not None:
            return stored
        if len(captions) == 1:
            return self.vocabulary.labels(captions[0])
        return sorted({label for caption in captions for label in self.vocabulary.labels(caption)})

    def labels_of(self, annotations: Sequence[Annotation]) -> list[list[int]]:
        """What `labels` gives for each."""
        one_by_one = any(annotation.labels is not None for annotation in annotations)
        if one_by_one or not isinstance(self.vocabulary, Vocabulary):
            return [self.labels(annotation) for annotation in annotations]
        self._label = self._label or RowLabeller(self.vocabulary)
        rows = gather([None] * len(annotations), [annotation.captions for annotation in annotations], 0)
        found = self._label(rows).column("ids")
        ids = found.flatten().to_numpy().tolist()
        return [ids[start:stop] for start, stop in pairwise(found.offsets.to_numpy().tolist())]

    def collate(self, targets: Sequence[Annotation]) -> dict[str, torch.Tensor]:
        found = self.labels_of(targets)
        lengths = torch.tensor([0, *map(len, found)], dtype=torch.int64)
        ids = torch.tensor([label for labels in found for label in labels], dtype=torch.int64)
        return {"label_ids": ids, "label_offsets": lengths.cumsum(0)}


class TokenTargets:
    """Captions → open_clip's byte-pair tokens of one of them, drawn at random when there are several.

    Collated: `tokens` int64 [B, length], zero-padded.
    """

    def __init__(self, length: int):
        from open_clip.tokenizer import SimpleTokenizer  # imports transformers-sized modules: only who needs it

        self.length = length
        self.tokenizer = SimpleTokenizer(context_length=length)

    def __call__(self, annotation: Annotation, rng: np.random.Generator) -> torch.Tensor:
        captions = annotation.captions
        caption = captions[0] if len(captions) == 1 else captions[int(rng.integers(len(captions)))]
        # Far more than fits: the tokenizer's time grows with the square of a word's length, and the web has endless
        # ones, over which a worker would sit for minutes.
        return self.tokenizer(caption[: 32 * self.length])[0]

    def collate(self, targets: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"tokens": torch.stack(list(targets))}

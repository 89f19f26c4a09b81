"""A sample's annotation → what an objective learns from: ragged label ids, or text tokens.

A target is called once a sample, in the loader's workers, with the captions that `data.captions` selected and their
labels, if those are stored (`data.labels`); its `collate` makes the batch's tensors. Several targets can share a batch:
each adds keys of its own, or is kept apart (`keep_apart`).
"""

from collections.abc import Callable, Sequence
from itertools import islice, pairwise
from typing import Any, Protocol

import numpy as np
import torch

from catclip.captions import Vocabulary
from catclip.captions.hierarchy import find_synset, path
from catclip.captions.sources.rows import RowLabeller, gather
from catclip.data.pairs import Annotation

# Characters that are read for each token that is kept, far more than it has: the tokenizer's time grows with the square
# of a word's length, and the web has endless ones, over which a worker would sit for minutes.
LONGEST_TOKEN = 32


class Targets(Protocol):
    def __call__(self, annotation: Annotation, rng: np.random.Generator) -> Any:
        """The target of one sample."""

    def collate(self, targets: Sequence[Any]) -> dict[str, torch.Tensor]:
        """The tensors of a batch."""


class Labels(Protocol):
    """A vocabulary: what the labels of a caption are."""

    names: list[str]

    def labels(self, caption: str, /) -> list[int]:
        """Rising indices, each once."""

    @property
    def digest(self) -> str:
        """The same for vocabularies that give the same labels."""

    def __len__(self) -> int: ...


class LabelTargets:
    """Captions → vocabulary indices, or those that are stored; the labels of several captions are united.

    The captions of a batch are labelled when it is collated, all at once: one by one they take up to ten times as long.

    Collated, ragged: `label_ids` int64 [N], all labels of the batch laid end to end, and `label_offsets` int64
    [B + 1]; picture b has `label_ids[label_offsets[b] : label_offsets[b + 1]]`. With `above` there are also
    `label_weights` float32 [N]: 1 for the labels, and below for what lies above them.

    Args:
        vocabulary: of synsets, words or subwords.
        above: for each label those that are added to it, as `hypernyms_of` gives them.
        above_weight: the weight of what is added, from 0 to 1.
    """

    def __init__(self, vocabulary: Labels, above: Sequence[Sequence[int]] | None = None, above_weight: float = 0.5):
        self.vocabulary, self.above, self.above_weight = vocabulary, above, above_weight
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
        whole = [[*labels, *self.added(labels)] for labels in found]
        lengths = torch.tensor([0, *map(len, whole)], dtype=torch.int64)
        ids = torch.tensor([label for labels in whole for label in labels], dtype=torch.int64)
        batch = {"label_ids": ids, "label_offsets": lengths.cumsum(0)}
        if self.above is not None:
            weights = (
                weight
                for labels, all_ in zip(found, whole, strict=True)
                for weight in (*[1.0] * len(labels), *[self.above_weight] * (len(all_) - len(labels)))
            )
            batch["label_weights"] = torch.tensor(list(weights), dtype=torch.float32)
        return batch

    def added(self, labels: Sequence[int]) -> list[int]:
        """What lies above a picture's labels and is none of them, rising."""
        if self.above is None:
            return []
        return sorted({label for below in labels for label in self.above[below]} - set(labels))


def hypernyms_of(vocabulary: Vocabulary, most: int) -> list[list[int]]:
    """For each synset of a vocabulary the indices of its nearest hypernyms that are labels too, at most `most`.

    Raises:
        UserError: a label is no synset of WordNet 3.0.
    """
    above = []
    for wnid in vocabulary.wnids:
        find_synset(wnid)
        chain = (vocabulary.index(each) for each in reversed(path(wnid)[:-1]) if each in vocabulary)
        above.append(list(islice(chain, most)))
    return above


class SubwordLabels:
    """CLIP's byte-pair tokens as labels (SuperClass, NeurIPS 2024), as far as CLIP reads a caption.

    Attributes:
        names: the tokens' texts; a label's index is the token's id. Those of the start and the end are no labels.
    """

    def __init__(self) -> None:
        from open_clip.tokenizer import SimpleTokenizer

        self._tokenizer = SimpleTokenizer()
        special = set(self._tokenizer.all_special_ids)
        self.names = [name for name, index in self._tokenizer.encoder.items() if index not in special]

    def __len__(self) -> int:
        return len(self.names)

    def labels(self, caption: str, /) -> list[int]:
        """Return the ids of a caption's tokens, sorted, each once."""
        length = self._tokenizer.context_length - 2  # without start and end
        return sorted(set(self._tokenizer.encode(caption[: LONGEST_TOKEN * length])[:length]))

    @property
    def digest(self) -> str:
        return "subwords"


class TokenTargets:
    """Captions → the tokens of one of them, drawn at random when there are several.

    Collated: `tokens` int64 [B, length], padded.

    Args:
        length: tokens.
        tokenizer: texts → tokens int64 [B, length]; without, open_clip's byte-pair tokens of CLIP.
    """

    def __init__(self, length: int, tokenizer: Callable[[str], torch.Tensor] | None = None):
        self.length = length
        if tokenizer is None:
            from open_clip.tokenizer import SimpleTokenizer  # imports transformers-sized modules: only who needs it

            tokenizer = SimpleTokenizer(context_length=length)
        self.tokenizer = tokenizer

    def __call__(self, annotation: Annotation, rng: np.random.Generator) -> torch.Tensor:
        captions = annotation.captions
        caption = captions[0] if len(captions) == 1 else captions[int(rng.integers(len(captions)))]
        return self.tokenizer(caption[: LONGEST_TOKEN * self.length])[0]

    def collate(self, targets: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"tokens": torch.stack(list(targets))}


class JointTargets:
    """Several targets of the same sample, each with keys of its own."""

    def __init__(self, *parts: Targets):
        self.parts = parts

    def __call__(self, annotation: Annotation, rng: np.random.Generator) -> tuple[Any, ...]:
        return tuple(part(annotation, rng) for part in self.parts)

    def collate(self, targets: Sequence[tuple[Any, ...]]) -> dict[str, torch.Tensor]:
        batch: dict[str, torch.Tensor] = {}
        for index, part in enumerate(self.parts):
            batch |= part.collate([target[index] for target in targets])
        return batch


# ---- of several runs that share batches -----------------------------------------------------------------------------


class _Apart:
    """Targets whose keys end in a mark of their own, so that they overwrite no others."""

    def __init__(self, targets: Targets, mark: str):
        self.targets, self.mark = targets, mark

    def __call__(self, annotation: Annotation, rng: np.random.Generator) -> Any:
        return self.targets(annotation, rng)

    def collate(self, targets: Sequence[Any]) -> dict[str, torch.Tensor]:
        return {key + self.mark: tensor for key, tensor in self.targets.collate(targets).items()}


def keep_apart(targets: Sequence[Targets]) -> list[Targets]:
    """The targets of several runs, so that `own_entries` finds those of each in a common batch; one stays as it is."""
    return [_Apart(each, _mark(run)) for run, each in enumerate(targets)] if len(targets) > 1 else list(targets)


def own_entries(batch: dict[str, Any], run: int) -> dict[str, Any]:
    """What the run at that place is meant to see of a batch with targets that were kept apart."""
    own = {key: value for key, value in batch.items() if _MARK not in key}
    mark = _mark(run)
    return own | {key.removesuffix(mark): value for key, value in batch.items() if key.endswith(mark)}


_MARK = " of run "


def _mark(run: int) -> str:
    return f"{_MARK}{run}"

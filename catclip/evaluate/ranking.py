"""Retrieval among pictures with any number of captions each: by text, or by labels alone."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from catclip.data.loader import Batch
from catclip.data.pairs import Annotation
from catclip.models.finite import check_finite
from catclip.objectives.base import Objective

KS = (1, 5, 10)
_AT_ONCE = 256  # texts


class CaptionTexts:
    """Targets of the loader: the selected captions themselves. Collated: `captions` list[list[str]]."""

    def __call__(self, annotation: Annotation, rng: np.random.Generator) -> list[str]:
        return list(annotation.captions)

    def collate(self, targets: Sequence[list[str]]) -> dict[str, Any]:
        return {"captions": list(targets)}


def read_texts(objective: Objective, texts: Iterable[str]) -> dict[str, torch.Tensor]:
    """What an objective's targets make of texts, a sample each: `tokens`, `label_ids` and `label_offsets`, or all."""
    targets, rng = objective.targets, np.random.default_rng(0)
    return targets.collate([targets(Annotation([text], None), rng) for text in texts])


def label_log_probabilities(objective: Any, images: torch.Tensor) -> torch.Tensor:
    """How likely each label is there, as the loss had it that the head was trained with: float32 [B, V]."""
    logits = objective.head(objective.backbone(images)).float()
    is_softmax = getattr(objective, "categorical", objective).loss_name == "softmax"
    return F.log_softmax(logits, dim=1) if is_softmax else F.logsigmoid(logits)


@torch.no_grad()
def retrieve_by_text(objective: Any, batches: Iterable[Batch]) -> Iterator[tuple[str, float]]:
    """Recall among all pictures and all captions, both ways, by the cosines of the towers' embeddings.

    Args:
        objective: one with `embed_pictures` and `embed_texts`, in evaluation mode.
        batches: with `images` and `captions`, as `CaptionTexts` has them.

    Yields:
        `images` and `captions`: how many; `image_to_text_recall_at_k`: the share of pictures of which a caption is
        among the k nearest; `text_to_image_recall_at_k`: the share of captions whose picture is. Ties count against it.

    Raises:
        UserError: embeddings that are not finite.
    """
    device = next(objective.parameters()).device
    pictures: list[torch.Tensor] = []
    captions: list[str] = []
    owners: list[int] = []
    for batch in batches:
        owners += [len(pictures) + i for i, texts in enumerate(batch["captions"]) for _ in texts]
        captions += [text for texts in batch["captions"] for text in texts]
        pictures += list(objective.embed_pictures(batch["images"].to(device)).float().cpu())
    parts = (read_texts(objective, some)["tokens"].to(device) for some in _parts(captions))
    texts = torch.cat([objective.embed_texts(tokens).float().cpu() for tokens in parts])
    check_finite(*pictures, texts)
    similarity, owner = texts @ torch.stack(pictures).T, torch.tensor(owners)
    yield "images", len(pictures)
    yield "captions", len(captions)
    yield from _recalls("image_to_text", image_ranks(similarity, owner))
    yield from _recalls("text_to_image", text_ranks(similarity, owner))


@torch.no_grad()
def retrieve_by_labels(objective: Any, batches: Iterable[Batch]) -> Iterator[tuple[str, float]]:
    """Recall of pictures by captions of which only the labels are known: text → labels → images.

    A picture's score is the log-probability that all of a caption's labels are there, as the head has it.

    Args:
        objective: one with a label head, in evaluation mode.
        batches: with `images` and `captions`, as `CaptionTexts` has them.

    Yields:
        `images` and `captions`: how many; `captions_without_labels`: a caption without any finds nothing;
        `text_to_image_recall_at_k`: the share of all captions whose picture is among the k with the highest scores.

    Raises:
        UserError: scores that are not finite.
    """
    device = next(objective.parameters()).device
    scores: list[torch.Tensor] = []
    captions: list[str] = []
    owners: list[int] = []
    for batch in batches:
        owners += [len(scores) + i for i, texts in enumerate(batch["captions"]) for _ in texts]
        captions += [text for texts in batch["captions"] for text in texts]
        scores += list(label_log_probabilities(objective, batch["images"].to(device)).cpu())
    check_finite(*scores)
    table = torch.stack(scores, dim=1)  # [V, P]
    similarities, counts = [], []
    for some in _parts(captions):
        labels = read_texts(objective, some)
        ids, offsets, weights = labels["label_ids"], labels["label_offsets"], labels.get("label_weights")
        similarities.append(F.embedding_bag(ids, table, offsets[:-1], mode="sum", per_sample_weights=weights))
        counts.append(offsets.diff())
    yield "images", len(scores)
    yield "captions", len(captions)
    unlabelled = torch.cat(counts) == 0
    yield "captions_without_labels", int(unlabelled.sum())
    ranks = text_ranks(torch.cat(similarities), torch.tensor(owners))
    yield from _recalls("text_to_image", ranks.masked_fill(unlabelled, torch.iinfo(torch.int64).max))


def _parts(texts: list[str]) -> Iterator[list[str]]:
    return (texts[start : start + _AT_ONCE] for start in range(0, len(texts), _AT_ONCE))


def text_ranks(similarity: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
    """How many other pictures are as near to a text as its own or nearer: int64 [T].

    Args:
        similarity: [T, P] of texts and pictures.
        owners: int64 [T], the picture of each text.
    """
    return (similarity >= similarity.gather(1, owners[:, None])).sum(dim=1) - 1


def image_ranks(similarity: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
    """How many texts of other pictures are as near to a picture as the nearest of its own or nearer: int64 [P].

    Arguments as for `text_ranks`.
    """
    is_own = owners[:, None] == torch.arange(similarity.shape[1])
    best = similarity.masked_fill(~is_own, -torch.inf).amax(dim=0)
    return ((similarity >= best) & ~is_own).sum(dim=0)


def _recalls(name: str, ranks: torch.Tensor) -> Iterator[tuple[str, float]]:
    for k in KS:
        yield f"{name}_recall_at_{k}", (ranks < k).float().mean().item()

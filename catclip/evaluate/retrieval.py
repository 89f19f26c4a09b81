"""Retrieval on held-out pairs: which caption belongs to the picture, which picture to the caption?"""

from collections.abc import Iterable, Iterator

import torch

from catclip.data.loader import Batch
from catclip.models.finite import check_finite
from catclip.objectives.contrastive import Contrastive


def evaluate(objective: Contrastive, batches: Iterable[Batch]) -> Iterator[tuple[str, float]]:
    """Recall at 1, 5 and 10, both ways, among all the held-out pairs; one caption a picture.

    Args:
        objective: in evaluation mode.
        batches: held-out batches with token targets.

    Yields:
        `image_to_text_recall_at_k` and `text_to_image_recall_at_k`, and `pairs_evaluated`.

    Raises:
        UserError: embeddings that are not finite.
    """
    device = next(objective.parameters()).device
    pictures, texts = [], []
    for batch in batches:
        pictures.append(objective.embed_pictures(batch["images"].to(device)).float().cpu())
        texts.append(objective.embed_texts(batch["tokens"].to(device)).float().cpu())
    check_finite(*pictures, *texts)
    # In full precision, whatever the forward passes ran in: bfloat16 has 1/256 steps, and pairs would tie.
    with torch.autocast("cpu", enabled=False):
        similarity = torch.cat(pictures) @ torch.cat(texts).T
    yield "pairs_evaluated", len(similarity)
    for name, matrix in (("image_to_text", similarity), ("text_to_image", similarity.T)):
        for k, recall in recall_at(matrix, (1, 5, 10)).items():
            yield f"{name}_recall_at_{k}", recall


def recall_at(similarity: torch.Tensor, ks: Iterable[int]) -> dict[int, float]:
    """The share of rows of similarity [N, N] whose diagonal entry is among the k largest; ties count against it."""
    others = (similarity >= similarity.diagonal().unsqueeze(1)).sum(dim=1) - 1
    return {k: (others < k).float().mean().item() for k in ks}

"""Losses of pairs: every picture of the global batch against every text, each rank its own rows.

The mean of the ranks' losses, weighted by their pictures, is the loss of the global batch, and so with its gradient:
the other ranks' features are gathered with gradients. A rank without pictures has a loss of 0. Computed in float32,
whatever autocast says.
"""

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from catclip.gather import gather_with_gradient

CHUNK = 1024  # texts against which the pictures are set at once, where the loss allows it


def clip_loss(pictures: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Symmetric cross entropy (CLIP, arXiv 2103.00020, figure 3), the mean over this rank's pairs.

    Args:
        pictures: unit vectors [B, E] of this rank's pictures.
        texts: of their captions [B, E].
        scale: the inverse temperature.
    """
    with torch.autocast(pictures.device.type, enabled=False):
        pictures, texts = pictures.float(), texts.float()
        both, first = gather_with_gradient(torch.stack([pictures, texts], dim=1))
        all_pictures, all_texts = both.unbind(1)
        own = torch.arange(first, first + len(pictures), device=pictures.device)
        to_texts = F.cross_entropy(scale * pictures @ all_texts.T, own, reduction="sum")
        to_pictures = F.cross_entropy(scale * texts @ all_pictures.T, own, reduction="sum")
        return (to_texts + to_pictures) / (2 * max(len(pictures), 1))


def siglip_loss(
    pictures: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor, chunk: int = CHUNK
) -> torch.Tensor:
    """The sigmoid loss of all pairs (SigLIP, arXiv 2303.15343, section 3), summed, divided by this rank's pictures.

    No matrix larger than [B, chunk] is made or kept: in the backward pass each is computed again.

    Args:
        pictures: unit vectors [B, E] of this rank's pictures.
        texts: of their captions [B, E].
        scale: the inverse temperature.
        bias: of the logits.
        chunk: texts at a time.
    """
    with torch.autocast(pictures.device.type, enabled=False):
        pictures, texts = pictures.float(), texts.float()
        all_texts, first = gather_with_gradient(texts)
        total = pictures.new_zeros(())
        for start in range(0, len(all_texts), chunk):
            some, diagonal = all_texts[start : start + chunk], first - start
            total = total + checkpoint(_pair_sum, pictures, some, scale, bias, diagonal, use_reentrant=False)
        return total / max(len(pictures), 1)


def _pair_sum(
    pictures: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor, diagonal: int
) -> torch.Tensor:
    """The loss of pictures [B, E] against texts [C, E]; the text of picture i is i + diagonal, if it is one of them."""
    logits = scale * pictures @ texts.T + bias
    rows = torch.arange(len(pictures), device=logits.device)[:, None]
    matching = rows + diagonal == torch.arange(len(texts), device=logits.device)
    return F.softplus(torch.where(matching, -logits, logits)).sum()

"""The contrastive objective's text tower: open_clip's, in any size."""

from open_clip.transformer import TextTransformer
from torch import nn

VOCABULARY = 49_408  # CLIP's byte-pair tokens


def build_text_tower(length: int, width: int, layers: int, heads: int, embed: int) -> nn.Module:
    """CLIP's causal text transformer (arXiv 2103.00020, section 2.4): tokens int64 [B, length] → [B, embed]."""
    return TextTransformer(
        context_length=length, vocab_size=VOCABULARY, width=width, heads=heads, layers=layers, output_dim=embed
    )

"""Contrastive pretraining (CLIP, arXiv 2103.00020, section 2.3): which caption belongs to which picture?"""

import math

import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss
from torch import nn

from catclip.data.loader import Batch
from catclip.data.pairs import Pairs
from catclip.data.targets import TokenTargets
from catclip.models.backbone import Backbone
from catclip.models.text import build_text_tower
from catclip.objectives.base import Objective, Outputs


class Contrastive(Objective):
    """CLIP: two towers, linear projections, symmetric cross entropy over the batch. Tower and loss are open_clip's.

    Args:
        backbone: from pictures to features.
        pairs: not needed.
        embed: the size of the joint embedding.
        text_length: tokens.
        text_width, text_layers, text_heads: the text transformer.
    """

    evaluator = "retrieval"
    coupled = True

    def __init__(
        self,
        backbone: Backbone,
        pairs: Pairs | None,
        *,
        embed: int = 512,
        text_length: int = 77,
        text_width: int = 512,
        text_layers: int = 12,
        text_heads: int = 8,
    ):
        super().__init__()
        self.backbone = backbone
        self.targets = TokenTargets(text_length)
        self.projection = nn.Linear(backbone.width, embed, bias=False)
        nn.init.normal_(self.projection.weight, std=backbone.width**-0.5)
        self.text = build_text_tower(text_length, text_width, text_layers, text_heads, embed)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.clip_loss = ClipLoss()

    def outputs(self, batch: Batch) -> Outputs:
        return {"pictures": self.embed_pictures(batch["images"]), "texts": self.embed_texts(batch["tokens"])}

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, torch.Tensor]:
        # exp(t) <= 100, as published. Clamping the parameter, not its value, leaves it a gradient to come back by.
        with torch.no_grad():
            self.log_scale.clamp_(max=math.log(100))
        scale = self.log_scale.exp()
        loss = self.clip_loss(outputs["pictures"].float(), outputs["texts"].float(), scale)
        return {"loss": loss, "scale": scale.detach()}

    def embed_pictures(self, images: torch.Tensor) -> torch.Tensor:
        """Unit vectors [B, E] of uint8 images [B, 3, H, W]."""
        return F.normalize(self.projection(self.backbone(images)), dim=-1)

    def embed_texts(self, tokens: torch.Tensor) -> torch.Tensor:
        """Unit vectors [B, E] of tokens int64 [B, L]."""
        return F.normalize(self.text(tokens), dim=-1)

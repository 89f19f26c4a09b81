"""Contrastive pretraining (CLIP, arXiv 2103.00020, section 2.3): which caption belongs to which picture?"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from catclip.data.loader import Batch
from catclip.data.pairs import Pairs
from catclip.data.targets import TokenTargets
from catclip.errors import check_choice
from catclip.models.backbone import Backbone
from catclip.models.text import build_text_tower, build_tokenizer, text_settings
from catclip.objectives.base import Objective, Outputs
from catclip.objectives.pair_losses import clip_loss, siglip_loss

LARGEST_SCALE = 100  # of the logits, as CLIP published it


class Contrastive(Objective):
    """Two towers, linear projections, unit vectors. The text tower is open_clip's.

    Args:
        backbone: from pictures to features.
        pairs: not needed.
        loss: `clip`, symmetric cross entropy over the batch, or `siglip`, a sigmoid for each pair (arXiv 2303.15343).
        text: one of open_clip's models, whose text tower, tokenizer and joint embedding these are; its sizes are those
            below where they are given.
        embed: the size of the joint embedding.
        text_length: tokens.
        text_width, text_layers, text_heads: the text transformer.

    Raises:
        UserError: open_clip has no such model, or its tokenizer is not here.
    """

    evaluators = ("retrieval",)
    coupled = True

    def __init__(
        self,
        backbone: Backbone,
        pairs: Pairs | None,
        *,
        loss: str = "clip",
        text: str = "ViT-B-16",
        embed: int | None = None,
        text_length: int | None = None,
        text_width: int | None = None,
        text_layers: int | None = None,
        text_heads: int | None = None,
    ):
        super().__init__()
        check_choice("objective.loss", loss, ["clip", "siglip"])
        settings, embed, quick_gelu = text_settings(
            text,
            embed_dim=embed,
            context_length=text_length,
            width=text_width,
            layers=text_layers,
            heads=text_heads,
        )
        self.backbone = backbone
        self.text_settings, self.quick_gelu = settings, quick_gelu  # what open_clip must know to build the tower again
        length = settings["context_length"]
        self.targets = TokenTargets(length, build_tokenizer(text, length))
        self.projection = nn.Linear(backbone.width, embed, bias=False)
        nn.init.normal_(self.projection.weight, std=backbone.width**-0.5)
        self.text = build_text_tower(settings, embed, quick_gelu)
        # Where the papers start: logits of cosine / 0.07, and of 10 · cosine − 10.
        self.log_scale = nn.Parameter(torch.tensor(math.log(10 if loss == "siglip" else 1 / 0.07)))
        self.bias = nn.Parameter(torch.tensor(-10.0)) if loss == "siglip" else None

    def outputs(self, batch: Batch) -> Outputs:
        return self.outputs_of(self.backbone(batch["images"]), batch)

    def outputs_of(self, features: torch.Tensor, batch: Batch) -> Outputs:
        """`outputs` from features [B, D]."""
        return {"pictures": self.project(features), "texts": self.embed_texts(batch["tokens"])}

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, torch.Tensor]:
        # Clamping the parameter, not its value, leaves it a gradient to come back by.
        with torch.no_grad():
            self.log_scale.clamp_(max=math.log(LARGEST_SCALE))
        pictures, texts, scale = outputs["pictures"], outputs["texts"], self.log_scale.exp()
        if self.bias is None:
            return {"loss": clip_loss(pictures, texts, scale), "scale": scale.detach()}
        loss = siglip_loss(pictures, texts, scale, self.bias)
        return {"loss": loss, "scale": scale.detach(), "bias": self.bias.detach().clone()}

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """Unit vectors [B, E] of features [B, D]."""
        return F.normalize(self.projection(features), dim=-1)

    def embed_pictures(self, images: torch.Tensor) -> torch.Tensor:
        """Unit vectors [B, E] of uint8 images [B, 3, H, W]."""
        return self.project(self.backbone(images))

    def embed_texts(self, tokens: torch.Tensor) -> torch.Tensor:
        """Unit vectors [B, E] of tokens int64 [B, L]."""
        return F.normalize(self.text(tokens), dim=-1)

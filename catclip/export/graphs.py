"""The towers as graphs: modules with tensors in and tensors out, and torch's export of them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.export import Dim, ExportedProgram

from catclip.export.card import Section
from catclip.export.release import Release


@dataclass
class Graph:
    """A tower to export.

    Attributes:
        name: of its file, without ending.
        module: takes one tensor, whose first dimension is the batch, and returns a tuple.
        takes, gives: the names of what goes in and comes out.
        example: a batch of two.
    """

    name: str
    module: nn.Module
    takes: str
    gives: list[str]
    example: torch.Tensor

    def program(self) -> ExportedProgram:
        """torch's graph, for batches of any size."""
        dynamic = {self.takes: {0: Dim("batch")}}
        with torch.no_grad():
            return torch.export.export(self.module, (self.example,), dynamic_shapes=dynamic)


def graphs(release: Release) -> list[Graph]:
    """`pictures`, and `texts` where the run has a text tower."""
    size, pair = release.image_size, release.pair
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=draw)
    pictures = _Pictures(release).eval()
    found = [Graph("pictures", pictures, "images", pictures.gives, images)]
    if pair is not None:
        length = pair.text_settings["context_length"]
        words = torch.randint(1, pair.text.vocab_size, (2, length), generator=draw)
        found.append(Graph("texts", _Texts(pair.text).eval(), "tokens", ["text_embeddings"], words))
    return found


def describe(release: Release) -> Section:
    """What goes into the graphs and comes out, for the card."""
    size, width = release.image_size, release.objective.backbone.width
    lines = [
        f"`pictures`: `images` uint8 [B, 3, {size}, {size}], from 0 to 255, any B. **They are normalised inside** "
        f"(mean {release.mean}, standard deviation {release.std}). The largest central square, resized, bicubic. Out:",
        f"- `features` float32 [B, {width}]",
    ]
    if release.head is not None:
        part = getattr(release.objective, "categorical", release.objective)
        softmax = getattr(part, "loss_name", "bce") == "softmax" or not getattr(part, "multilabel", True)
        lines.append(
            f"- `logits` float32 [B, {release.head.out_features}], in the order of `labels.tsv`; "
            f"{'their softmax' if softmax else 'the sigmoid of each'} is a probability"
        )
    if release.pair is not None:
        embed, length = release.pair.projection.out_features, release.pair.text_settings["context_length"]
        lines += [
            f"- `image_embeddings` float32 [B, {embed}], of length 1",
            f"\n`texts`: `tokens` int64 [B, {length}], by open_clip's tokenizer. Out:",
            f"- `text_embeddings` float32 [B, {embed}], of length 1",
        ]
    return Section("What goes in and comes out", "\n".join(lines))


class _Pictures(nn.Module):
    """uint8 images [B, 3, H, W] → features, and what the run's heads make of them."""

    def __init__(self, release: Release):
        super().__init__()
        self.backbone, self.head = release.objective.backbone, release.head
        self.projection = None if release.pair is None else release.pair.projection
        self.gives = ["features"]
        self.gives += ["logits"] if self.head is not None else []
        self.gives += ["image_embeddings"] if self.projection is not None else []

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = self.backbone(images)
        out = [features]
        if self.head is not None:
            out.append(self.head(features))
        if self.projection is not None:
            out.append(F.normalize(self.projection(features), dim=-1))
        return tuple(out)


class _Texts(nn.Module):
    """Tokens int64 [B, L] → unit vectors [B, E]."""

    def __init__(self, tower: nn.Module):
        super().__init__()
        self.tower = tower

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor]:
        return (F.normalize(self.tower(tokens), dim=-1),)

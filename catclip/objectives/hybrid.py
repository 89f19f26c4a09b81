"""Contrastive and categorical at once, on the same features (SuperCLIP, NeurIPS 2025)."""

from collections.abc import Mapping
from typing import Any

import torch

from catclip.data.loader import Batch
from catclip.data.pairs import Pairs
from catclip.data.targets import JointTargets
from catclip.errors import UserError
from catclip.models.backbone import Backbone
from catclip.models.heads import LabelHead
from catclip.objectives.base import Objective, Outputs
from catclip.objectives.categorical import Categorical
from catclip.objectives.contrastive import Contrastive
from catclip.objectives.options import check_options, options_under


class Hybrid(Objective):
    """The weighted sum of the contrastive and the categorical loss.

    Args:
        backbone: from pictures to features.
        pairs: as `Categorical` takes them.
        vocabulary: as `Categorical` takes it.
        categorical: other options of `Categorical`.
        contrastive: options of `Contrastive`.
        categorical_weight, contrastive_weight: of their losses in the sum.

    Raises:
        UserError: what the two raise; a negative weight; no vocabulary for labels that are no subwords.
    """

    evaluators = ("multilabel", "retrieval")
    coupled = True

    def __init__(
        self,
        backbone: Backbone,
        pairs: Pairs | None,
        *,
        vocabulary: str | None,
        categorical: Mapping[str, Any] | None = None,
        contrastive: Mapping[str, Any] | None = None,
        categorical_weight: float = 1.0,
        contrastive_weight: float = 1.0,
    ):
        super().__init__()
        for key, value in [("categorical_weight", categorical_weight), ("contrastive_weight", contrastive_weight)]:
            if value < 0:
                raise UserError(f"objective.{key}={value} must be at least 0.")
        own = {"vocabulary": vocabulary, **(categorical or {})}
        check_options(Categorical, own, "objective.categorical")
        check_options(Contrastive, contrastive or {}, "objective.contrastive")
        self.backbone = backbone
        if vocabulary is None and own.get("labels", "synset") != "subword":
            raise UserError("objective.vocabulary is null: give a file of `catclip vocab`, or subwords as labels.")
        with options_under("objective.categorical"):
            self.categorical = Categorical(backbone, pairs, **own)
        with options_under("objective.contrastive"):
            self.contrastive = Contrastive(backbone, None, **(contrastive or {}))
        # The backbone is this objective's; theirs too, its weights would be saved three times.
        del self.categorical.backbone, self.contrastive.backbone
        self.categorical_weight, self.contrastive_weight = categorical_weight, contrastive_weight
        self.targets = JointTargets(self.categorical.targets, self.contrastive.targets)

    @property
    def vocabulary(self) -> Any:
        return self.categorical.vocabulary

    @property
    def head(self) -> LabelHead:
        return self.categorical.head

    def outputs(self, batch: Batch) -> Outputs:
        features = self.backbone(batch["images"])
        return self.categorical.outputs_of(features) | self.contrastive.outputs_of(features, batch)

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, torch.Tensor]:
        contrastive, categorical = self.contrastive.loss(outputs, batch), self.categorical.loss(outputs, batch)
        parts = {"contrastive": contrastive.pop("loss"), "categorical": categorical.pop("loss")}
        weighted = self.contrastive_weight * parts["contrastive"] + self.categorical_weight * parts["categorical"]
        logged = {f"{name}_loss": part.detach() for name, part in parts.items()}
        return {"loss": weighted, **logged, **contrastive, **categorical}

    def observe(self, batch: Batch) -> None:
        self.categorical.observe(batch)

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [B, V] of uint8 images [B, 3, H, W]."""
        return self.head(self.backbone(images))

    def embed_pictures(self, images: torch.Tensor) -> torch.Tensor:
        """Unit vectors [B, E] of uint8 images [B, 3, H, W]."""
        return self.contrastive.project(self.backbone(images))

    def embed_texts(self, tokens: torch.Tensor) -> torch.Tensor:
        """Unit vectors [B, E] of tokens int64 [B, L]."""
        return self.contrastive.embed_texts(tokens)

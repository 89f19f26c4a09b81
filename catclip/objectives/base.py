"""The seam between the trainer and what is trained."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import nn

from catclip.data.loader import Batch
from catclip.data.targets import Targets
from catclip.models.backbone import Backbone


class Objective(nn.Module, ABC):
    """A model with its loss: owns the backbone, a head or tower of its own, and says what it needs of the data.

    A new objective is a file with a subclass and a YAML in `conf/objective/` whose `_target_` names it; the other keys
    there are the constructor's options. The constructor is called as `Subclass(backbone, pairs, **options)`; `pairs`
    are the training pairs, or None when weights are about to be loaded.
    """

    evaluator: ClassVar[str]  # the module of catclip.evaluate that measures it

    backbone: Backbone
    targets: Targets  # what the loader makes of a sample's captions

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """`{"loss": scalar}` of a batch, and further scalars to log."""

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Features [B, D] of uint8 images [B, 3, H, W]: what a probe sees."""
        return self.backbone(images)

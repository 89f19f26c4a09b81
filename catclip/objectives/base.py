"""The seam between the trainer and what is trained."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import nn

from catclip.data.loader import Batch
from catclip.data.targets import Targets
from catclip.models.backbone import Backbone

Outputs = dict[str, torch.Tensor]


class Objective(nn.Module, ABC):
    """A model with its loss: owns the backbone, a head or tower of its own, and says what it needs of the data.

    A new objective is a file with a subclass and a YAML in `conf/objective/` whose `_target_` names it; the other keys
    there are the constructor's options. The constructor is called as `Subclass(backbone, pairs, **options)`; `pairs`
    are the training pairs, or None when weights are about to be loaded.

    The loss comes in two parts, so that the trainer can accumulate gradients over parts of a batch exactly: `outputs`,
    which takes each picture by itself, and `loss`, which may set the pictures of a batch against each other.
    """

    evaluators: ClassVar[tuple[str, ...]]  # the modules of catclip.evaluate that measure it
    # Whether a picture's loss depends on the others of its batch. If so the trainer gives `loss` the outputs of the
    # whole batch; if not the loss must be a mean over pictures.
    coupled: ClassVar[bool] = False

    backbone: Backbone
    targets: Targets  # what the loader makes of a sample's captions

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """`{"loss": scalar}` of a batch, and further scalars to log."""
        return self.loss(self.outputs(batch), batch)

    @abstractmethod
    def outputs(self, batch: Batch) -> Outputs:
        """What each picture, with its text or labels, gives by itself: tensors [B, …]."""

    @abstractmethod
    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, torch.Tensor]:
        """`{"loss": scalar}` of the outputs of a batch, and further scalars to log."""

    def observe(self, batch: Batch) -> None:
        """See all of a rank's batch, once a step, before anything is computed of it: for statistics of the stream."""

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Features [B, D] of uint8 images [B, 3, H, W]: what a probe sees."""
        return self.backbone(images)

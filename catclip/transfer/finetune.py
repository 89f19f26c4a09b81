"""Fine-tuning: a backbone learns the classes of labelled pictures, from a head that may know them already."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from catclip.data.labelled import LabelledImages
from catclip.data.labelled.fraction import take
from catclip.data.loader import Batch
from catclip.data.pairs import Pairs
from catclip.errors import UserError
from catclip.models.backbone import Backbone
from catclip.models.heads import LabelHead
from catclip.objectives.base import Objective, Outputs
from catclip.transfer.init import transfer_init
from catclip.transfer.mapping import Mapping
from catclip.transfer.probe import extract_features

_PICTURES = 2048  # training pictures at most by whose features a head is balanced …
_FEW = 32  # … and at least: the spread of fewer is noise


class Classification(Objective):
    """Classes that were labelled: one a picture (softmax), or any number (a sigmoid each).

    Args:
        backbone: from pictures to features.
        pairs: none.
        classes: C names, in the order of their indices.
        multilabel: whether a picture may show any number of them.
        smoothing: the targets y become y · (1 − smoothing) + smoothing / C.

    Raises:
        UserError: fewer than two classes of which a picture shows one; a smoothing that is none.
    """

    evaluators = ()

    def __init__(
        self,
        backbone: Backbone,
        pairs: Pairs | None,
        *,
        classes: Sequence[str],
        multilabel: bool,
        smoothing: float = 0.0,
    ):
        super().__init__()
        if not 0 <= smoothing < 1:
            raise UserError(f"objective.smoothing={smoothing} must be from 0 to below 1.")
        if len(classes) < 2 and not multilabel:
            raise UserError("There is one class only: nothing to tell apart.")
        self.backbone, self.classes, self.multilabel, self.smoothing = backbone, list(classes), multilabel, smoothing
        self.head = LabelHead(backbone.width, len(classes))

    def outputs(self, batch: Batch) -> Outputs:
        return {"logits": self.predict(batch["images"])}

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, torch.Tensor]:
        """Cross entropy; with `multilabel` binary cross entropy summed over classes, as in pretraining."""
        logits = outputs["logits"].float()
        targets = batch["targets"] * (1 - self.smoothing) + self.smoothing / len(self.classes)
        if self.multilabel:
            return {"loss": F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(logits)}
        return {"loss": F.cross_entropy(logits, targets)}

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [B, C] of uint8 images [B, 3, H, W]."""
        return self.head(self.backbone(images))

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """Of each class, float32 [B, C]."""
        logits = self.predict(images).float()
        return logits.sigmoid() if self.multilabel else logits.softmax(dim=1)


def start_head(
    objective: Classification,
    source: Objective,
    strategy_or_file: str,
    images: LabelledImages,
    device: torch.device,
    workers: int,
    seed: int,
) -> Mapping:
    """Start the head at the rows of the classes in a run's head (`transfer_init`), and say which those are.

    Args:
        objective: has the weights of the source's backbone.
        source: the run.
        strategy_or_file: as for `transfer_init`.
        images: training pictures; of those that show one class each some balance the head, unlabelled.
        device: where the features of these are made; the objective is there afterwards.
        workers: processes that read pictures.
        seed: of what is random.

    Raises:
        UserError: the run has no labels; what `transfer_init` raises.
    """
    features = None
    if not images.multilabel and len(images) >= _FEW:
        some = np.random.default_rng(seed).permutation(len(images))[:_PICTURES]
        objective.eval().to(device)
        size = objective.backbone.image_size
        # What cannot be decoded is for the training to count and to judge.
        found = extract_features(objective.embed, take(images, some), size, device, workers, skip_unreadable=True)
        features = torch.from_numpy(found) if len(found) >= _FEW else None
    head, mapping = transfer_init(
        source, images.classes, strategy_or_file, multilabel=images.multilabel, features=features, seed=seed
    )
    objective.head.load_state_dict(head.state_dict())
    return mapping

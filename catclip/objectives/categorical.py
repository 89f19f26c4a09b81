"""Categorical pretraining (CatLIP, arXiv 2404.15653, section 3): which synsets does the caption name?"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F

from catclip.captions import Vocabulary
from catclip.data.loader import Batch
from catclip.data.pairs import Annotation, Pairs
from catclip.data.targets import LabelTargets
from catclip.errors import UserError, check_choice
from catclip.models.backbone import Backbone
from catclip.models.heads import LabelHead
from catclip.objectives.base import Objective, Outputs

PRIOR_SAMPLES = 10_000  # training captions from which the label prior is estimated


class Categorical(Objective):
    """Multi-label classification of the caption's synsets with binary cross entropy.

    Args:
        backbone: from pictures to features.
        pairs: the training pairs, from which the label prior is estimated; None when weights are about to be loaded.
        vocabulary: path of a vocabulary file.
        bias: where the head's biases start: `prior`, the log-odds of each label, or `zero`, as published.

    Raises:
        UserError: no vocabulary, no training caption has a label in it, or the stored labels are another's.
    """

    evaluator = "multilabel"

    def __init__(self, backbone: Backbone, pairs: Pairs | None, *, vocabulary: str | None, bias: str = "prior"):
        super().__init__()
        check_choice("objective.bias", bias, ["prior", "zero"])
        if vocabulary is None:
            raise UserError(
                "The categorical objective needs a vocabulary: make one with `catclip vocab data.sources=… tau=…` "
                "and give it as data.vocabulary=FILE."
            )
        self.vocabulary = Vocabulary.load(vocabulary)
        self.backbone = backbone
        self.targets = LabelTargets(self.vocabulary)
        prior = None
        if pairs is not None:
            _check_stored(self.vocabulary, vocabulary, pairs)
            counts, samples = count_labels(self.targets, pairs.annotations(limit=PRIOR_SAMPLES))
            _check_coverage(counts, vocabulary, pairs)
            # Half a count more on either side keeps the log-odds of labels not met finite.
            prior = (counts + 0.5) / (samples + 1) if bias == "prior" else None
        self.head = LabelHead(backbone.width, len(self.vocabulary), prior)

    def outputs(self, batch: Batch) -> Outputs:
        return {"logits": self.head(self.backbone(batch["images"]))}

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, torch.Tensor]:
        return {"loss": ragged_bce(outputs["logits"], batch["label_ids"], batch["label_offsets"])}

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [B, V] of uint8 images [B, 3, H, W]."""
        return self.head(self.backbone(images))


def ragged_bce(logits: torch.Tensor, label_ids: torch.Tensor, label_offsets: torch.Tensor) -> torch.Tensor:
    """Binary cross entropy with logits, summed over all elements and divided by the batch size (CatLIP's code).

    BCE(x, y) = softplus(x) − x·y, so the targets enter only where they are 1: no dense multi-hot is made.

    Args:
        logits: [B, V].
        label_ids: int64 [N], without repeats within a picture.
        label_offsets: int64 [B + 1].

    Returns:
        A float32 scalar.
    """
    rows = torch.repeat_interleave(label_offsets.diff(), output_size=len(label_ids))
    logits = logits.float()
    return (F.softplus(logits).sum() - logits[rows, label_ids].sum()) / len(logits)


def count_labels(targets: LabelTargets, annotations: Iterable[Annotation]) -> tuple[torch.Tensor, int]:
    """How many of the samples carry each label, float [V], and how many samples there are."""
    counts, samples = torch.zeros(len(targets.vocabulary)), 0
    for annotation in annotations:
        counts[targets.labels(annotation)] += 1
        samples += 1
    return counts, samples


def _check_stored(vocabulary: Vocabulary, path: str, pairs: Pairs) -> None:
    if pairs.labels is not None and pairs.labels.vocabulary != vocabulary.digest:
        raise UserError(
            f"objective.vocabulary={path} is another vocabulary than data.vocabulary, of whose labels the indices are "
            "stored (data.labels)."
        )


def _check_coverage(counts: torch.Tensor, path: str, pairs: Pairs) -> None:
    if counts.sum() > 0:
        return
    example = next(pairs.captions(), [""])[0]
    raise UserError(
        f"No training caption has a label of {path}: is it the vocabulary of these captions, and the caption key right "
        f"(data.caption_key={pairs.caption_key})? A caption read: {example[:100]!r}."
    )

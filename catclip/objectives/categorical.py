"""Categorical pretraining (CatLIP, arXiv 2404.15653, section 3): which synsets, words or subwords has the caption?"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from catclip.captions import Vocabulary
from catclip.captions.words import WordVocabulary
from catclip.data.loader import Batch
from catclip.data.pairs import Annotation, Pairs
from catclip.data.targets import Labels, LabelTargets, SubwordLabels, hypernyms_of
from catclip.errors import UserError, check_choice
from catclip.models.backbone import Backbone
from catclip.models.heads import LabelHead
from catclip.objectives.base import Objective, Outputs
from catclip.objectives.label_frequency import LabelFrequency
from catclip.objectives.label_losses import ragged_asymmetric, ragged_bce, ragged_softmax

PRIOR_SAMPLES = 10_000  # training captions from which the label prior is estimated …
COVERAGE_SAMPLES = 1_000  # … and those that are looked at where only one label must be found


class Categorical(Objective):
    """Multi-label classification of the caption's labels.

    Args:
        backbone: from pictures to features.
        pairs: the training pairs, from which the label prior is estimated; None when weights are about to be loaded.
        vocabulary: path of a vocabulary file; None for subwords, which are CLIP's.
        labels: `synset`; `word`, the bag of words; or `subword`, CLIP's byte-pair tokens.
        loss: `bce`, binary cross entropy as CatLIP; `softmax` with inverse document frequencies as SuperClass (NeurIPS
            2024); or `asymmetric` (Ridnik et al., ICCV 2021).
        bias: where the head's biases start: `prior`, the log-odds of each label, or `zero`, as published.
        smoothing: the targets y become y · (1 − smoothing) + smoothing / V.
        hypernyms: as many of a synset's nearest hypernyms that are in the vocabulary are labels too.
        hypernym_weight: their target.
        gamma_positive, gamma_negative, clip: of the asymmetric loss.

    Raises:
        UserError: no vocabulary, no training caption has a label in it, or the stored labels are another's; an option
            that makes no sense.
    """

    evaluators = ("multilabel",)

    def __init__(
        self,
        backbone: Backbone,
        pairs: Pairs | None,
        *,
        vocabulary: str | None,
        labels: str = "synset",
        loss: str = "bce",
        bias: str = "prior",
        smoothing: float = 0.0,
        hypernyms: int = 0,
        hypernym_weight: float = 0.5,
        gamma_positive: float = 0.0,
        gamma_negative: float = 4.0,
        clip: float = 0.05,
    ):
        super().__init__()
        check_choice("objective.labels", labels, ["synset", "word", "subword"])
        check_choice("objective.loss", loss, ["bce", "softmax", "asymmetric"])
        check_choice("objective.bias", bias, ["prior", "zero"])
        for key, value, fine, wanted in [
            ("smoothing", smoothing, 0 <= smoothing < 1, "from 0 to below 1"),
            ("hypernyms", hypernyms, hypernyms >= 0, "at least 0"),
            ("hypernym_weight", hypernym_weight, 0 < hypernym_weight <= 1, "above 0 and at most 1"),
            ("gamma_positive", gamma_positive, gamma_positive == 0 or gamma_positive >= 1, "0 or at least 1"),
            ("gamma_negative", gamma_negative, gamma_negative == 0 or gamma_negative >= 1, "0 or at least 1"),
            ("clip", clip, 0 <= clip < 1, "from 0 to below 1"),
        ]:
            if not fine:
                raise UserError(f"objective.{key}={value} must be {wanted}.")
        if hypernyms and labels != "synset":
            raise UserError(f"objective.hypernyms={hypernyms} is for synsets: a {labels} has no hypernyms.")
        self.vocabulary = open_vocabulary(labels, vocabulary)
        self.backbone = backbone
        above = hypernyms_of(self.vocabulary, hypernyms) if hypernyms else None
        self.targets = LabelTargets(self.vocabulary, above, hypernym_weight)
        self.loss_name, self.smoothing = loss, smoothing
        self.gamma_positive, self.gamma_negative, self.clip = gamma_positive, gamma_negative, clip
        self.frequency = LabelFrequency(len(self.vocabulary)) if loss == "softmax" else None
        prior = None
        if pairs is not None:
            _check_stored(self.vocabulary, vocabulary, pairs)
            limit = PRIOR_SAMPLES if bias == "prior" else COVERAGE_SAMPLES
            counts, samples = count_labels(self.targets, pairs.annotations(limit=limit))
            _check_coverage(counts, vocabulary or "CLIP's tokens", pairs)
            if bias == "prior":
                # Half a count more on either side keeps the log-odds of labels not met finite.
                prior = (counts + 0.5) / (samples + 1) * (1 - smoothing) + smoothing / len(counts)
        self.head = LabelHead(backbone.width, len(self.vocabulary), prior)

    def outputs(self, batch: Batch) -> Outputs:
        return self.outputs_of(self.backbone(batch["images"]))

    def outputs_of(self, features: torch.Tensor) -> Outputs:
        """`outputs` from features [B, D]."""
        return {"logits": self.head(features)}

    def loss(self, outputs: Outputs, batch: Batch) -> dict[str, torch.Tensor]:
        labels = batch["label_ids"], batch["label_offsets"]
        weights, logits = batch.get("label_weights"), outputs["logits"]
        if self.frequency is not None:
            rarity = self.frequency.inverse(batch["label_ids"])
            weights = rarity if weights is None else rarity * weights
            return {"loss": ragged_softmax(logits, *labels, weights, self.smoothing)}
        if self.loss_name == "asymmetric":
            gammas = self.gamma_positive, self.gamma_negative
            return {"loss": ragged_asymmetric(logits, *labels, weights, self.smoothing, *gammas, self.clip)}
        return {"loss": ragged_bce(logits, *labels, weights, self.smoothing)}

    def observe(self, batch: Batch) -> None:
        if self.frequency is not None:
            self.frequency.count(batch["label_ids"], len(batch["label_offsets"]) - 1)

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [B, V] of uint8 images [B, 3, H, W]."""
        return self.head(self.backbone(images))


def open_vocabulary(labels: str, file: str | None) -> Any:
    """The vocabulary of `objective.labels`: a `Vocabulary`, a `WordVocabulary` or `SubwordLabels`.

    Raises:
        UserError: the file is missing, malformed, or not needed.
    """
    if labels == "subword":
        if file is not None:
            raise UserError(
                f"objective.labels=subword takes CLIP's tokens, and no objective.vocabulary={file}: give "
                "objective.vocabulary=null."
            )
        return SubwordLabels()
    if file is None:
        rule = "rule=words " if labels == "word" else ""
        raise UserError(
            f"The categorical objective needs a vocabulary: make one with `catclip vocab data.sources=… {rule}tau=…` "
            "and give it as data.vocabulary=FILE."
        )
    return WordVocabulary.load(file) if labels == "word" else Vocabulary.load(file)


def count_labels(targets: LabelTargets, annotations: Iterable[Annotation]) -> tuple[torch.Tensor, int]:
    """How many of the samples carry each label, float [V], and how many samples there are.

    What is added to the labels at reduced weight counts with that weight: the result over the number of samples is the
    mean target.
    """
    counts, samples = torch.zeros(len(targets.vocabulary)), 0
    for annotation in annotations:
        labels = targets.labels(annotation)
        counts[labels] += 1
        counts[_indices(targets.added(labels))] += targets.above_weight
        samples += 1
    return counts, samples


def _indices(labels: Sequence[int]) -> torch.Tensor:
    return torch.tensor(labels, dtype=torch.int64)


def _check_stored(vocabulary: Labels, path: str | None, pairs: Pairs) -> None:
    if pairs.labels is not None and pairs.labels.vocabulary != vocabulary.digest:
        raise UserError(
            f"objective.vocabulary={path} is another vocabulary than data.vocabulary, of whose labels the indices are "
            "stored (data.labels)."
        )


def _check_coverage(counts: torch.Tensor, name: str, pairs: Pairs) -> None:
    if counts.sum() > 0:
        return
    example = next(pairs.captions(), [""])[0]
    raise UserError(
        f"No training caption has a label of {name}: is it the vocabulary of these captions, and the caption key right "
        f"(data.caption_key={pairs.caption_key})? A caption read: {example[:100]!r}."
    )

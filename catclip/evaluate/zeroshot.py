"""Zero-shot classification: which of some classes, that it was never told about, does a picture show?"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import open_clip
import torch

from catclip.data.labelled import LabelledImages
from catclip.evaluate.multilabel import multilabel_figures
from catclip.models.finite import check_finite
from catclip.objectives.base import Objective

# uint8 pictures [B, 3, H, W] → scores [B, C].
Classifier = Callable[[torch.Tensor], torch.Tensor]


class Scores(NamedTuple):
    """What a classifier said of P pictures, and what they show.

    Attributes:
        scores: float32 [P, C].
        truth: bool [P, C].
    """

    scores: np.ndarray
    truth: np.ndarray


class TextObjective(Protocol):
    """An objective with a text tower: `Contrastive`, or another of both towers."""

    def embed_pictures(self, images: torch.Tensor) -> torch.Tensor: ...

    def embed_texts(self, tokens: torch.Tensor) -> torch.Tensor: ...


class _AsOpenClip:
    """An objective as open_clip's functions call a model."""

    def __init__(self, objective: TextObjective):
        self._objective = objective

    def encode_text(self, tokens: torch.Tensor, normalize: bool) -> torch.Tensor:
        assert normalize, "an objective's embeddings are unit vectors"
        return self._objective.embed_texts(tokens)


def text_classifier(
    objective: TextObjective,
    tokenizer: Callable[[list[str]], torch.Tensor],
    names: Sequence[str],
    templates: Sequence[Callable[[str], str]],
    device: torch.device,
) -> Classifier:
    """A classifier by the embeddings of class names in sentences, averaged (CLIP, arXiv 2103.00020, section 3.1.4).

    open_clip's `build_zero_shot_classifier` on our towers.

    Args:
        objective: in evaluation mode.
        tokenizer: texts → int64 [N, L].
        names: of the C classes, as a sentence has them.
        templates: each makes a sentence of a name.
        device: where the objective is.

    Returns:
        Cosines [B, C].
    """
    with torch.autocast(device.type, enabled=False):
        weights: Any = open_clip.build_zero_shot_classifier(
            _AsOpenClip(objective), tokenizer, list(names), list(templates), device=device
        ).float()
    return lambda images: objective.embed_pictures(images).float() @ weights


@torch.no_grad()
def score(classify: Classifier, images: LabelledImages, size: int, device: torch.device, workers: int = 0) -> Scores:
    """Scores of all pictures, made in full precision, also where a run evaluates under autocast.

    Raises:
        UserError: a picture cannot be read or decoded; scores that are not finite.
    """
    batches = images.batches(size, workers=workers)
    with torch.autocast(device.type, enabled=False):
        made = [classify(batch["images"].to(device)).float().cpu() for batch in batches]
    check_finite(*made)
    return Scores(torch.cat(made).numpy(), images.multi_hot())


def figures(found: Scores, multilabel: bool) -> Iterator[tuple[str, float]]:
    """What there is to say of scores.

    Yields:
        `top_1`, `top_5` (with more than five classes): the share of pictures whose class is among the k with the
        highest scores; `top_1_mean_class`: the mean over classes of theirs. With `multilabel` what
        `multilabel_figures` gives: `map`, `map_prior` …
    """
    if multilabel:
        yield from multilabel_figures(found.scores, found.truth)
        return
    yield "top_1", float(hits(found, 1).mean())
    if found.truth.shape[1] > 5:
        yield "top_5", float(hits(found, 5).mean())
    yield "top_1_mean_class", float(np.mean(list(class_accuracies(found).values())))


def hits(found: Scores, k: int) -> np.ndarray:
    """Whether the class of each picture, which shows one, is among the k with the highest scores, float [P].

    Of classes that tie, as those do that share a label, each is as likely to come first: a hit is then a fraction.
    """
    own = found.scores[np.arange(len(found.scores)), found.truth.argmax(axis=1)][:, None]
    better, tied = (found.scores > own).sum(axis=1), (found.scores == own).sum(axis=1)
    return np.clip((k - better) / tied, 0, 1)


def class_accuracies(found: Scores) -> dict[int, float]:
    """Class → the share of its pictures that are right at the first guess; of classes that there are pictures of."""
    right, labels = hits(found, 1), found.truth.argmax(axis=1)
    return {int(label): float(right[labels == label].mean()) for label in np.unique(labels)}


def zero_shot_evaluator(
    make_classifier: Callable[[Objective], Classifier], images: LabelledImages, device: torch.device, workers: int
) -> Callable[[Objective], Iterator[tuple[str, float]]]:
    """Zero-shot classification as an evaluator of a training run: yields the `figures`, as `zeroshot_top_1` ….

    Args:
        make_classifier: of the objective as it is now; names are embedded anew each time.
        images: labelled pictures.
        device: where the objective is.
        workers: processes that read pictures.
    """

    def evaluate(objective: Objective) -> Iterator[tuple[str, float]]:
        found = score(make_classifier(objective), images, objective.backbone.image_size, device, workers)
        for name, value in figures(found, images.multilabel):
            yield f"zeroshot_{name}", value

    return evaluate

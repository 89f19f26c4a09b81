"""Retrieval while training: what `evaluators.retrieval` names."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from catclip.config import PretrainConfig
from catclip.data.loader import HeldOutBatches, Loader
from catclip.data.pairs import Pairs
from catclip.errors import UserError
from catclip.evaluate.ranking import KS, CaptionTexts, retrieve_by_labels, retrieve_by_text
from catclip.objectives.base import Objective
from catclip.verbs.classifying import choose_way


def retrieval(
    config: PretrainConfig, device: torch.device, *, data: Any
) -> Callable[[Objective], Iterator[tuple[str, float]]]:
    """Recall of pictures by captions as an evaluator: the one retrieval that every objective can do, as `catclip
    retrieve` does it, by text where there is a text tower and by labels otherwise.

    It yields `retrieval_recall_at_1`, `_5` and `_10`: the share of the captions, all that `data.captions` selects,
    whose picture is among the so many that fit best.

    Args:
        config: of the run.
        device: not needed: an objective is evaluated where it is.
        data: shards, as `DataConfig.sources`.

    Raises:
        UserError: when called, more than `data.max_bad` of the pairs cannot be read; the objective has neither.
    """
    # Stored labels are of no use: captions are searched with, and may be any text.
    pairs = Pairs(data, replace(config.data, labels=None))
    batches = HeldOutBatches(pairs, [CaptionTexts()], config.backbone.image_size, config.run.batch)

    def evaluate(objective: Objective) -> Iterator[tuple[str, float]]:
        loader = Loader(batches, 0, len(batches), workers=config.data.workers, max_bad=config.data.max_bad)
        try:
            by = retrieve_by_text if choose_way(objective, None) == "text" else retrieve_by_labels
            found = dict(by(objective, loader))
        except UserError as error:
            raise UserError(f"evaluators.retrieval: {error} evaluators.retrieval=null leaves it out.") from error
        for k in KS:
            yield f"retrieval_recall_at_{k}", found[f"text_to_image_recall_at_{k}"]

    return evaluate

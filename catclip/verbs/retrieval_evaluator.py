"""Retrieval while training: what `evaluators.retrieval` names."""

from collections.abc import Iterator
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


class Retrieval:
    """Recall of pictures by captions as an evaluator: the one retrieval that every objective can do, as `catclip
    retrieve` does it, by text where there is a text tower and by labels otherwise.

    It yields `retrieval_recall_at_1`, `_5` and `_10`: the share of the captions, all that `data.captions` selects,
    whose picture is among the so many that fit best. They are made in full precision, also where a run evaluates under
    autocast: bfloat16 has 1/256 steps, pictures would tie, and ties count against a caption.

    Args:
        config: of the run.
        device: where the objective is.
        data: shards, as `DataConfig.sources`.

    Attributes:
        what: its shards are, in messages.
        report: what the latest evaluation could not read, in one line; empty when it could read all.

    Raises:
        UserError: when called, more than `data.max_bad` of the pairs cannot be read; the objective has neither.
    """

    what = "evaluators.retrieval"

    def __init__(self, config: PretrainConfig, device: torch.device, *, data: Any) -> None:
        self._data, self._device, self.report = config.data, device, ""
        # Stored labels are of no use: captions are searched with, and may be any text.
        self.pairs = Pairs(data, replace(config.data, labels=None))
        self._batches = HeldOutBatches(self.pairs, [CaptionTexts()], config.backbone.image_size, config.run.batch)

    def __call__(self, objective: Objective) -> Iterator[tuple[str, float]]:
        count, data = len(self._batches), self._data
        loader = Loader(self._batches, 0, count, workers=data.workers, max_bad=data.max_bad)
        try:
            by = retrieve_by_text if choose_way(objective, None) == "text" else retrieve_by_labels
            with torch.autocast(self._device.type, enabled=False):
                found = dict(by(objective, loader))
        except UserError as error:
            raise UserError(f"{self.what}: {error} evaluators.retrieval=null leaves it out.") from error
        self.report = loader.report()
        for k in KS:
            yield f"retrieval_recall_at_{k}", found[f"text_to_image_recall_at_{k}"]

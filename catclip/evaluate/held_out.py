"""An objective's own evaluators on held-out shards."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import torch

from catclip.config import PretrainConfig
from catclip.data.loader import HeldOutBatches, Loader
from catclip.data.pairs import Pairs
from catclip.errors import UserError
from catclip.objectives.base import Objective


class HeldOut:
    """Evaluates on held-out pairs as the objective's modules in `catclip.evaluate` do.

    Args:
        config: of the run.
        device: not needed: an objective is evaluated where it is.
        data: shards, as `DataConfig.sources`.

    Attributes:
        what: its shards are, in messages.
        report: what the latest evaluation could not read, in one line; empty when it could read all.

    Raises:
        UserError: when called, more than `data.max_bad` of the pairs cannot be read.
    """

    what = "Held-out shards (data.val)"

    def __init__(self, config: PretrainConfig, device: torch.device, *, data: Any) -> None:
        self._config = config
        self.pairs, self.report = Pairs(data, config.data), ""

    def __call__(self, objective: Objective) -> Iterator[tuple[str, float]]:
        config = self._config
        batches = HeldOutBatches(self.pairs, [objective.targets], config.backbone.image_size, config.run.batch)
        for name in objective.evaluators:
            loader = Loader(batches, 0, len(batches), workers=config.data.workers, max_bad=config.data.max_bad)
            try:
                yield from import_module(f"catclip.evaluate.{name}").evaluate(objective, loader)
            except UserError as error:
                raise UserError(f"{self.what}: {error}") from error
            self.report = loader.report()

"""An objective's own evaluators on the held-out shards, `data.val`."""

from collections.abc import Iterator
from importlib import import_module

from catclip.config import PretrainConfig
from catclip.data.loader import HeldOutBatches, Loader
from catclip.data.pairs import Pairs
from catclip.errors import UserError
from catclip.objectives.base import Objective


class HeldOut:
    """Evaluates on held-out pairs as the objective's modules in `catclip.evaluate` do, one after the other.

    Args:
        pairs: to evaluate on.
        objective: what will be evaluated.
        config: of the run.

    Attributes:
        report: what the latest evaluation could not read, in one line; empty when it could read all.

    Raises:
        UserError: when called, more than `data.max_bad` of the pairs cannot be read.
    """

    def __init__(self, pairs: Pairs, objective: Objective, config: PretrainConfig):
        self._evaluators = [import_module(f"catclip.evaluate.{name}").evaluate for name in objective.evaluators]
        self._batches = HeldOutBatches(pairs, [objective.targets], config.backbone.image_size, config.run.batch)
        self._config = config
        self.pairs, self.report = pairs, ""

    def __call__(self, objective: Objective) -> Iterator[tuple[str, float]]:
        data = self._config.data
        for evaluate in self._evaluators:
            loader = Loader(self._batches, 0, len(self._batches), workers=data.workers, max_bad=data.max_bad)
            try:
                yield from evaluate(objective, loader)
            except UserError as error:
                raise UserError(f"Held-out shards (data.val): {error}") from error
            self.report = loader.report()

"""`Stream`: which samples make batch t of a rank, and how a run goes on where a checkpoint was written."""

from collections.abc import Mapping
from typing import Any

from catclip.data.batch_sizes import BatchSizes
from catclip.data.order import Order, Resharding
from catclip.errors import UserError


class Stream:
    """The batches that one rank reads of an order.

    Args:
        order: of all ranks.
        batch: samples of a rank's batch.
        rank: this one, from 0.
        step: the first batch that this stream is asked for, and `position`, where in the order it begins.
        sizes: of the batches, where not all have `batch` samples a rank; divided among as many ranks as the order.

    Attributes:
        note: what could not be kept as it was when the run was resumed; None where everything is exact.
    """

    def __init__(
        self,
        order: Order,
        batch: int,
        rank: int = 0,
        step: int = 0,
        position: int = 0,
        sizes: BatchSizes | None = None,
    ) -> None:
        assert sizes is None or sizes.ranks == order.ranks
        self.order, self.batch, self.rank, self.sizes = order, batch, rank, sizes
        self._step, self._position = step, position
        self.note: str | None = None

    def positions(self, t: int) -> range:
        """Return the positions in the order that make batch t of this rank."""
        return range(self._start(t) + self.rank, self._start(t + 1), self.order.ranks)

    def _start(self, t: int) -> int:
        return self._position + self._before(t) - self._before(self._step)

    def _before(self, t: int) -> int:
        return t * self.batch * self.order.ranks if self.sizes is None else self.sizes.before(t)

    def state(self, t: int) -> dict[str, Any]:
        """Return as JSON what is needed to go on with batch t."""
        resharding = self.order.resharding
        return {
            "position": self._start(t),
            "batch": self.batch,
            "ranks": self.order.ranks,
            "epoch_length": self.order.epoch_length,
            "resharding": None if resharding is None else [resharding.epoch, [list(turn) for turn in resharding.turns]],
        }

    @classmethod
    def resume(
        cls,
        order: Order,
        batch: int,
        rank: int,
        step: int,
        state: Mapping[str, Any],
        sizes: BatchSizes | None = None,
    ) -> "Stream":
        """Return the stream that goes on with batch `step`, where the checkpoint that holds `state` was written.

        With as many ranks as before, batch for batch as if the run had never stopped. With another number what is left
        of the epoch is divided among them anew, and each of its samples comes once.

        Raises:
            UserError: the data set is another one than it was.
        """
        if state["epoch_length"] != order.epoch_length:
            raise UserError(
                f"This run read {state['epoch_length']:,} samples an epoch when its checkpoint was written, and "
                f"data.sources gives {order.epoch_length:,} now. Give the shards it began with, or another run.out."
            )
        position, ranks = state["position"], order.ranks
        saved = state["resharding"]
        resharding = Resharding(saved[0], tuple((turn[0], turn[1]) for turn in saved[1])) if saved else None
        order = order.with_ranks(state["ranks"], resharding)
        changed = ranks != state["ranks"]
        stream = cls(order.resumed_at(position, ranks) if changed else order, batch, rank, step, position, sizes)
        if changed:
            stream.note = (
                f"Resumed with {ranks} rank(s) instead of {state['ranks']}: what is left of epoch "
                f"{position // order.epoch_length} is divided anew. Each of its samples still comes once, but the "
                "batches are other ones than those of an uninterrupted run."
            )
        elif batch != state["batch"]:
            stream.note = f"Resumed with batches of {batch} instead of {state['batch']}: the samples' order stays."
        return stream

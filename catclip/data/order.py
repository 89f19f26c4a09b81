"""The seeded order in which training reads samples: arithmetic, not state.

Sample number p of the endless stream is a pure function of the seed, the shards and how many ranks read: so a batch can
be made by any worker, and a run resumed at p reads what the uninterrupted run would have read.

An epoch's shards are permuted and laid end to end; each rank has one stretch of that row, so that it touches few
shards. Within a stretch the samples of windows are permuted. Ranks take turns in the stream: of W ranks, rank r reads
the positions r, r + W, r + 2W … An epoch holds each sample once, or as often as its weight says, whatever W is.
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np


class Place(NamedTuple):
    """Where a sample lies."""

    epoch: int
    shard: int
    row: int


class Resharding(NamedTuple):
    """How an epoch has been divided among ranks: anew wherever a run was resumed with another number of them.

    Attributes:
        epoch: the epoch that this is about; later ones are divided among the present ranks from their start.
        turns: (ranks, first position in the epoch that they read), in the order of their coming; the first is at 0.
    """

    epoch: int
    turns: tuple[tuple[int, int], ...]


class Order:
    """The endless stream of samples, epoch after epoch.

    Args:
        counts: int64 [S], samples of each shard.
        seed: of all that is mixed.
        window: samples among which the order is mixed; 1 reads the shards one after the other.
        weights: how often an epoch holds a sample of each shard; None for once. With a fraction, say 1/3, an epoch
            holds a third of the samples, and three epochs in turn hold all.
        ranks: W, how many processes share the stream.
        resharding: of the epoch in which the run was resumed, if the number of ranks has changed in it.
    """

    def __init__(
        self,
        counts: np.ndarray,
        seed: int,
        window: int,
        *,
        weights: Sequence[Fraction] | None = None,
        ranks: int = 1,
        resharding: Resharding | None = None,
    ) -> None:
        self.counts, self.seed, self.window = counts, seed, max(1, window)
        self.weights, self.ranks, self.resharding = weights, ranks, resharding
        by_weight: dict[Fraction, list[int]] = {}
        for shard, weight in enumerate(weights or [Fraction(1)] * len(counts)):
            by_weight.setdefault(Fraction(weight), []).append(shard)
        self._groups = [(weight, np.array(shards)) for weight, shards in sorted(by_weight.items())]
        self.epoch_length = sum(_share(weight, int(counts[shards].sum())) for weight, shards in self._groups)
        # Neighbouring positions share an epoch and a window: a few remembered permutations serve all of a batch.
        self._pieces = lru_cache(maxsize=2)(self._make_pieces)
        self._rows = lru_cache(maxsize=2 + 2 * ranks)(self._permute_window)
        self._rests = lru_cache(maxsize=8)(_rests)

    def __getstate__(self) -> dict[str, object]:
        names = ("counts", "seed", "window", "weights", "ranks", "resharding")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict) -> None:
        Order.__init__(self, **state)

    def locate(self, position: int) -> Place:
        """Return where the sample at a position of the stream lies."""
        epoch, place = divmod(position, self.epoch_length)
        turns = self._turns(epoch)
        place = self._place(epoch, place, turns, len(turns) - 1)
        shards, rows, starts = self._pieces(epoch)
        nth = int(np.searchsorted(starts, place, side="right")) - 1
        return Place(epoch, int(shards[nth]), int(rows[nth] + place - starts[nth]))

    def shards_ahead(self, position: int) -> list[int]:
        """Return the shards that the rank of a position reads in its window and in the next, in their order.

        None in the rest of an epoch that was divided anew: that is read here and there.
        """
        epoch, place = divmod(position, self.epoch_length)
        if len(self._turns(epoch)) > 1:
            return []
        nth, rank = divmod(place, self.ranks)
        begin, end = _begin(rank, self.ranks, self.epoch_length), _begin(rank + 1, self.ranks, self.epoch_length)
        first = begin + nth // self.window * self.window
        last = min(first + 2 * self.window, end) - 1
        shards, _, starts = self._pieces(epoch)
        pieces = np.searchsorted(starts, [first, last], side="right")
        return list(dict.fromkeys(shards[pieces[0] - 1 : pieces[1]].tolist()))

    def resumed_at(self, position: int, ranks: int) -> "Order":
        """Return the order of a run that goes on from a position with another number of ranks.

        What is left of the epoch is divided among them: each sample of it comes once, though in other batches.
        """
        epoch, place = divmod(position, self.epoch_length)
        turns = [(before, first) for before, first in self._turns(epoch) if first < place]
        return self.with_ranks(ranks, Resharding(epoch, (*turns, (ranks, place))))

    def with_ranks(self, ranks: int, resharding: Resharding | None = None) -> "Order":
        """Return the same order for another number of ranks."""
        weights = self.weights
        return Order(self.counts, self.seed, self.window, weights=weights, ranks=ranks, resharding=resharding)

    def _turns(self, epoch: int) -> tuple[tuple[int, int], ...]:
        if self.resharding and self.resharding.epoch == epoch:
            return self.resharding.turns
        return ((self.ranks, 0),)

    def _place(self, epoch: int, place: int, turns: tuple[tuple[int, int], ...], turn: int) -> int:
        """Return where in the row of shards the sample at a place of an epoch lies."""
        ranks, first = turns[turn]
        left = self.epoch_length - first  # what these ranks divide among them
        nth, rank = divmod(place - first, ranks)
        begin = _begin(rank, ranks, left)
        mixed = begin + self._mix(epoch, turn, rank, nth, _begin(rank + 1, ranks, left) - begin)
        if not turn:
            return mixed
        # The row that they divide is what the ranks before them had left, one rank's rest after the other.
        ranks_before, first_before = turns[turn - 1]
        rests, ends = self._rests(ranks_before, self.epoch_length - first_before, first - first_before)
        rank = int(np.searchsorted(ends, mixed, side="right"))
        nth = _read(rank, ranks_before, first - first_before) + mixed - int(ends[rank] - rests[rank])
        return self._place(epoch, first_before + nth * ranks_before + rank, turns, turn - 1)

    def _mix(self, epoch: int, turn: int, rank: int, nth: int, length: int) -> int:
        """Return which sample of a rank's stretch of `length` comes at its `nth` turn."""
        window, place = divmod(nth, self.window)
        start = window * self.window
        return start + int(self._rows(epoch, turn, rank, window, min(self.window, length - start))[place])

    def _permute_window(self, epoch: int, turn: int, rank: int, window: int, length: int) -> np.ndarray:
        return np.random.default_rng((self.seed, 3, epoch, turn, rank, window)).permutation(length)

    # ---- the row of shards --------------------------------------------------------------------------------------

    def _make_pieces(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the shards of an epoch in their order: which, from which row on, and where in the epoch they begin.

        A shard comes whole, or in part at the ends of what a weight gives to an epoch.
        """
        pieces = np.concatenate([self._group_pieces(epoch, *group) for group in self._groups])
        shards, rows, lengths = np.random.default_rng((self.seed, 1, epoch)).permutation(pieces).T
        return shards, rows, np.cumsum(lengths) - lengths

    def _group_pieces(self, epoch: int, weight: Fraction, shards: np.ndarray) -> np.ndarray:
        """Return [P, 3] shard, first row and length of what an epoch holds of the shards of one weight.

        These have an endless stream of their own, pass after pass, of which each epoch takes the next part.
        """
        whole = int(self.counts[shards].sum())
        start = epoch * _share(weight, whole)
        stop = start + _share(weight, whole)
        found = []
        for number in range(start // whole, -(-stop // whole)) if whole else ():
            order = np.random.default_rng((self.seed, 2, number)).permutation(shards)
            ends = number * whole + np.cumsum(self.counts[order])
            begins = ends - self.counts[order]
            first, last = np.maximum(begins, start), np.minimum(ends, stop)
            some = first < last
            found.append(np.stack([order, first - begins, last - first], axis=1)[some])
        return np.concatenate(found) if found else np.zeros((0, 3), np.int64)


def _share(weight: Fraction, samples: int) -> int:
    return round(weight * samples)


def _begin(rank: int, ranks: int, length: int) -> int:
    """Return where a rank's stretch of a row begins: the first ones are longer by one where it does not divide."""
    return rank * (length // ranks) + min(rank, length % ranks)


def _rests(ranks: int, length: int, read: int) -> tuple[np.ndarray, np.ndarray]:
    """Return int64 [ranks], how much of its stretch each has left when `read` positions are read, and the sums."""
    rests = [_begin(r + 1, ranks, length) - _begin(r, ranks, length) - _read(r, ranks, read) for r in range(ranks)]
    return np.array(rests), np.cumsum(rests)


def _read(rank: int, ranks: int, read: int) -> int:
    """Return how many of the first `read` positions are a rank's."""
    return max(0, -(-(read - rank) // ranks))

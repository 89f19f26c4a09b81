"""Which synsets of a corpus become labels: the frequent ones. The rare ones vanish, or pass their counts upwards."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np

from catclip.captions.hierarchy import depth, find_synset, path
from catclip.errors import UserError, check_choice

# `min_depth` where none is given. Dropping is as published; a roll-up would fill object, measure, abstraction …
MIN_DEPTH = {"drop": 0, "rollup": 3}


def check_options(how: str, tau: int, top_k: int | None, min_depth: int | None, exclude: Iterable[str]) -> None:
    """Raise `UserError` unless these say how to prune: the arguments of `Vocabulary.prune`."""
    check_choice("prune", how, MIN_DEPTH)
    if tau < 1:
        raise UserError(f"tau={tau}: a label must occur at least once.")
    if top_k is not None and top_k < 1:
        raise UserError(f"top_k={top_k}: a vocabulary has at least one label.")
    if min_depth is not None and min_depth < 0:
        raise UserError(f"min_depth={min_depth}: the least is 0, the depth of entity.n.01.")
    for each in exclude:
        find_synset(each)


class Rolled(NamedTuple):
    """What became of a synset too rare to be a label: the label that stands for it, and how often it occurs itself."""

    into: str
    own: int


class Pruned(NamedTuple):
    """What is left of a corpus's counts.

    Attributes:
        counts: kept synset → its count, with what was passed to it; most frequent first.
        rollup: the rare synsets that kept ones stand for; none of those that vanished.
    """

    counts: dict[str, int]
    rollup: dict[str, Rolled]


class Pruner:
    """Prunes the counts of one corpus.

    Synsets too general to learn are taken out first, however it is pruned then.

    Args:
        counts: synset → occurrences.
        min_depth: synsets fewer steps below entity.n.01 are too general.
        exclude: WNIDs or names (``thing.n.12``) of others that are.

    Raises:
        UserError: `counts` or `exclude` has what is no noun synset of WordNet 3.0.
    """

    def __init__(self, counts: Mapping[str, int], min_depth: int = 0, exclude: Iterable[str] = ()) -> None:
        self._min_depth = min_depth
        self._exclude = frozenset(map(find_synset, exclude))
        found = {find_synset(wnid): count for wnid, count in counts.items()}
        self.counts = {wnid: count for wnid, count in found.items() if not self.is_too_general(wnid)}

    def is_too_general(self, wnid: str) -> bool:
        """Whether `min_depth` or `exclude` takes a synset out."""
        return wnid in self._exclude or (self._min_depth > 0 and depth(wnid) < self._min_depth)

    # ---- drop ---------------------------------------------------------------------------------------------------

    def drop(self, tau: int, top_k: int | None = None) -> Pruned:
        """Keep what occurs `tau` times (CatLIP, arXiv 2404.15653), and of that the `top_k` most frequent.

        Ties as `counts` has them.
        """
        kept = [wnid for wnid, count in self.counts.items() if count >= tau]
        kept.sort(key=lambda wnid: -self.counts[wnid])
        return Pruned({wnid: self.counts[wnid] for wnid in kept[:top_k]}, {})

    # ---- rollup -------------------------------------------------------------------------------------------------

    def rollup(self, tau: int, top_k: int | None = None) -> Pruned:
        """Pass what is rare upwards until it is frequent. Ties by WNID.

        Synsets are gone through from the leaves of the hierarchy (`hierarchy.path`) to its root. A synset's total is
        its own count and what was passed to it. One whose total reaches `tau` is kept, even if no caption names it; any
        other passes its total to the synset above. So a rare synset ends at the nearest kept one above it. What is too
        general takes nothing and passes nothing on: counts that get there vanish, since all above is more general yet.

        Args:
            tau: the least total of a label.
            top_k: the most labels. `tau` is raised until no more are left, so that there may be a few fewer.
        """
        tree = self._tree
        if top_k is not None:
            tau = self._least_tau(tau, top_k)
        totals = tree.totals(tau)
        targets = tree.targets(totals >= tau)
        kept = sorted(np.flatnonzero(totals >= tau), key=lambda i: (-totals[i], tree.wnids[i]))
        moved = [i for i in np.flatnonzero(tree.own) if 0 <= targets[i] != i]
        return Pruned(
            {tree.wnids[i]: int(totals[i]) for i in kept},
            {tree.wnids[i]: Rolled(tree.wnids[targets[i]], int(tree.own[i])) for i in moved},
        )

    def _least_tau(self, tau: int, top_k: int) -> int:
        """Return the least threshold from `tau` on that leaves at most `top_k` labels: their number never grows."""
        low, high = tau, max(tau, self.most_rolled_up() + 1)
        while low < high:
            middle = (low + high) // 2
            if (self._tree.totals(middle) >= middle).sum() <= top_k:
                high = middle
            else:
                low = middle + 1
        return low

    def most_rolled_up(self) -> int:
        """Return the largest threshold at which a roll-up leaves a label, 0 if none does."""
        return int(self._tree.totals(np.iinfo(np.int64).max).max(initial=0))

    @cached_property
    def _tree(self) -> "_Tree":
        paths = []
        for wnid in self.counts:
            whole = path(wnid)
            general = [place for place, each in enumerate(whole) if self.is_too_general(each)]
            paths.append(whole[general[-1] + 1 :] if general else whole)
        return _Tree(self.counts, paths)


class _Tree:
    """Synsets and their counts in arrays, from the top of the hierarchy down.

    Args:
        counts: synset → its own count.
        paths: of each of them, from the highest synset above it that may be a label down to itself.
    """

    def __init__(self, counts: Mapping[str, int], paths: Iterable[list[str]]) -> None:
        above: dict[str, str | None] = {}
        for each in paths:
            above.update(zip(each, [None, *each], strict=False))
        depths = {wnid: len(path(wnid)) for wnid in above}
        self.wnids = sorted(above, key=lambda wnid: (depths[wnid], wnid))
        places: dict[str | None, int] = {wnid: place for place, wnid in enumerate(self.wnids)}
        self.own = np.array([counts.get(wnid, 0) for wnid in self.wnids], np.int64)
        self._above = np.array([places.get(above[wnid], -1) for wnid in self.wnids], np.int64)
        changes = np.flatnonzero(np.diff([depths[wnid] for wnid in self.wnids]))
        self._levels = np.split(np.arange(len(self.wnids)), changes + 1)

    def totals(self, tau: int) -> np.ndarray:
        """Return int64 [S]: each synset's own count and what those below it passed on."""
        totals = self.own.copy()
        for level in reversed(self._levels):
            passing = level[(totals[level] < tau) & (self._above[level] >= 0)]
            np.add.at(totals, self._above[passing], totals[passing])
        return totals

    def targets(self, kept: np.ndarray) -> np.ndarray:
        """Return int64 [S]: the place of the nearest kept (bool [S]) synset from each one upwards, -1 for none."""
        targets = np.full(len(kept), -1)
        for level in self._levels:
            above = self._above[level]
            targets[level] = np.where(kept[level], level, np.where(above >= 0, targets[above], -1))
        return targets

"""How near two synsets are in WordNet's noun hierarchy, and which of many is the nearest to one."""

from functools import cache
from typing import NamedTuple

import numpy as np

from catclip.captions.lexicon import load_lexicon


@cache
def steps_above(wnid: str) -> dict[str, int]:
    """Every synset above one, and itself, by the fewest steps up to it. KeyError for an unknown synset."""
    lexicon = load_lexicon()
    steps, level = {wnid: 0}, [wnid]
    while level:
        above = dict.fromkeys(hypernym for each in level for hypernym in lexicon.hypernyms(each))
        level = [hypernym for hypernym in above if hypernym not in steps]
        distance = max(steps.values()) + 1
        steps.update(dict.fromkeys(level, distance))
    return steps


def path_similarity(one: str, other: str) -> float:
    """1 / (1 + steps of the shortest way from one synset up to a common hypernym and down to the other).

    NLTK's `path_similarity`; all noun synsets have a hypernym in common. KeyError for an unknown synset.
    """
    up, down = steps_above(one), steps_above(other)
    return 1 / (1 + min(up[common] + down[common] for common in up.keys() & down.keys()))


class Near(NamedTuple):
    """A place among some synsets, and the path similarity of what is there."""

    row: int
    similarity: float


class Neighbourhood:
    """V synsets, and which of them are near to any one.

    Args:
        wnids: the synsets, in the order in which ties are settled: a vocabulary's, the most frequent first.
    """

    def __init__(self, wnids: list[str]) -> None:
        self._count = len(wnids)
        below: dict[str, list[tuple[int, int]]] = {}
        for row, wnid in enumerate(wnids):
            for above, steps in steps_above(wnid).items():
                below.setdefault(above, []).append((row, steps))
        # hypernym → the rows at or below it, and how many steps.
        self._below = {above: np.array(pairs, np.int64).T for above, pairs in below.items()}
        self._row = {wnid: row for row, wnid in enumerate(wnids)}

    def similarities(self, wnid: str) -> np.ndarray:
        """Path similarity to each of them, float64 [V]. KeyError for an unknown synset."""
        steps = np.full(self._count, np.iinfo(np.int64).max - 1)
        for above, up in steps_above(wnid).items():
            if above in self._below:
                rows, down = self._below[above]
                steps[rows] = np.minimum(steps[rows], up + down)
        return 1 / (1 + steps)

    def nearest(self, wnid: str) -> Near:
        """The one with the largest path similarity: of equals one below `wnid`, else above it, else the first."""
        similarities = self.similarities(wnid)
        best = np.flatnonzero(similarities == similarities.max())
        above = [self._row[each] for each in steps_above(wnid) if each in self._row]
        for some in (self.below(wnid), above):
            if (among := np.intersect1d(best, some)).size:
                best = among
                break
        return Near(int(best[0]), float(similarities.max()))

    def nearest_above(self, wnid: str, *, strictly: bool = False) -> Near | None:
        """The nearest hypernym, of equals the first, or the synset itself, unless `strictly`; None if none is there."""
        least = 1 if strictly else 0
        rows = ((steps, self._row.get(above)) for above, steps in steps_above(wnid).items() if steps >= least)
        found = [(steps, row) for steps, row in rows if row is not None]
        if not found:
            return None
        steps, row = min(found)
        return Near(row, 1 / (1 + steps))

    def below(self, wnid: str) -> list[int]:
        """The rows of a synset and of all that is below it, rising."""
        return sorted(self._below[wnid][0].tolist()) if wnid in self._below else []

"""The side of the pictures of each batch, and how many it has: multi-scale batches, and sides that rise over a run.

Both are pure functions of the seed and the batch's number, so that every rank and every worker knows them.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from catclip.config import DataConfig
from catclip.errors import UserError, check_choice

STEP = 16  # pixels between one side and the next, as CatLIP has it
_BLOCK = 4096  # batches whose sides are drawn at once


class BatchSizes:
    """Sides and numbers of pictures of a run's batches.

    A batch has as many pixels as `batch` pictures of `image_size` have (CatLIP, arXiv 2404.15653), rounded down to what
    the ranks can share, and at least one picture for each of them.

    Args:
        sides: pixels, rising.
        image_size: pixels.
        batch: pictures of all ranks at `image_size`.
        ranks: among which a batch is divided.
        rising: all batches of the lowest side come first, then as many of the next; or each batch's side is drawn.
        seed: of what is drawn.
        steps: the run's, among which rising sides have equal shares.
    """

    def __init__(
        self,
        sides: Sequence[int],
        image_size: int,
        batch: int,
        *,
        ranks: int = 1,
        rising: bool = False,
        seed: int = 0,
        steps: int = 1,
    ) -> None:
        self.sides, self.ranks, self.rising, self.seed, self.steps = list(sides), ranks, rising, seed, steps
        self._pictures = np.array([max(1, batch * image_size**2 // side**2 // ranks) * ranks for side in sides])
        self._begins = np.array([-(-nth * steps // len(sides)) for nth in range(len(sides))])  # rising: from which step
        self._totals = [0]  # drawn: pictures before each block of batches, as far as they were asked for
        self._block = lru_cache(maxsize=4)(self._draw)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_block"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._block = lru_cache(maxsize=4)(self._draw)

    def side(self, t: int) -> int:
        """The side of batch t's pictures, in pixels."""
        if self.rising:
            return self.sides[int(np.searchsorted(self._begins, t, side="right")) - 1]
        block, place = divmod(t, _BLOCK)
        return self.sides[int(self._block(block)[0][place])]

    def before(self, t: int) -> int:
        """How many pictures the batches 0 to t − 1 have, those of all ranks together."""
        if self.rising:
            reached = np.minimum([*self._begins, t], t)
            return int(self._pictures @ np.diff(reached))
        block, place = divmod(t, _BLOCK)
        while len(self._totals) <= block:
            self._totals.append(self._totals[-1] + int(self._block(len(self._totals) - 1)[1][-1]))
        return self._totals[block] + int(self._block(block)[1][place])

    def _draw(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """The sides of a block of batches, as indices [_BLOCK], and the pictures before each, from 0, [_BLOCK + 1]."""
        indices = np.random.default_rng((self.seed, 5, block)).integers(len(self.sides), size=_BLOCK)
        return indices, np.concatenate([[0], np.cumsum(self._pictures[indices])])


def multi_scale_sides(config: DataConfig, patch: int | None) -> list[int]:
    """The sides that `data.sizes` asks for, in pixels, rising.

    Args:
        config: of the data, with `sizes`.
        patch: the backbone's, in pixels; None where it takes pictures of one side only.

    Raises:
        UserError: no such schedule; sides that are not two, or are no multiples of the patch.
    """
    check_choice("data.size_schedule", config.size_schedule, ["random", "rising"])
    if patch is None:
        raise UserError("This backbone takes pictures of one side only: give data.sizes=null.")
    if config.sizes is None or len(config.sizes) != 2 or not 0 < config.sizes[0] <= config.sizes[1]:
        raise UserError(f"data.sizes={config.sizes}: give the lowest side and the highest, say [128, 320].")
    low, high = config.sizes
    step = config.size_step if config.size_step is not None else (STEP if STEP % patch == 0 else patch)
    if step < 1 or step % patch:
        up = max(1, -(-step // patch)) * patch
        raise UserError(f"data.size_step={step} is no multiple of the backbone's patch of {patch} pixels: give {up}.")
    if low % patch or (high - low) % step:
        start = max(1, round(low / patch)) * patch
        below = start + max(0, high - start) // step * step
        raise UserError(
            f"data.sizes={config.sizes}: the sides must be multiples of the backbone's patch of {patch} pixels, and "
            f"lie {step} pixels apart (data.size_step): give [{start}, {below}] or [{start}, {below + step}]."
        )
    return list(range(low, high + 1, step))

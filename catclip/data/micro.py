"""A batch in parts: what accumulation over smaller batches needs."""

from collections.abc import Sequence
from itertools import pairwise

import torch

from catclip.data.loader import Batch

OFFSETS = "_offsets"


def split_batch(batch: Batch, parts: int) -> list[Batch]:
    """The batch in parts, in order, whose sizes differ by one picture at most.

    Args:
        batch: of B pictures: tensors and lists with an entry for each; and ragged ones, `<name>_offsets` int64 [B + 1]
            with `<name>_<anything>` [N, …], of which picture b has the entries from `offsets[b]` to `offsets[b + 1]`.
        parts: 1 to B.
    """
    count = len(batch["keys"])
    bounds = [count * index // parts for index in range(parts + 1)]
    return [_part(batch, start, stop) for start, stop in pairwise(bounds)]


def take(batch: Batch, rows: Sequence[int]) -> Batch:
    """Return the batch of some of the pictures, in that order; entries are those of `split_batch`."""
    parts = [_part(batch, row, row + 1) for row in rows]
    taken: Batch = {}
    for name, value in batch.items():
        own = [part[name] for part in parts]
        if name.endswith(OFFSETS):
            taken[name] = torch.tensor([0, *(int(each[1]) for each in own)], dtype=torch.int64).cumsum(0)
        elif isinstance(value, torch.Tensor):
            taken[name] = torch.cat([value[:0], *own])
        else:
            taken[name] = [entry for each in own for entry in each]
    return taken


def _part(batch: Batch, start: int, stop: int) -> Batch:
    ragged = tuple(name.removesuffix(OFFSETS) + "_" for name in batch if name.endswith(OFFSETS))
    part: Batch = {}
    for name, value in batch.items():
        if name.endswith(OFFSETS):
            part[name] = value[start : stop + 1] - value[start]
        elif ragged and name.startswith(ragged):
            (prefix,) = (each for each in ragged if name.startswith(each))
            offsets: torch.Tensor = batch[prefix[:-1] + OFFSETS]
            part[name] = value[int(offsets[start]) : int(offsets[stop])]
        else:
            part[name] = value[start:stop]
    return part

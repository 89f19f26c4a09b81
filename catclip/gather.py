"""Tensors of all ranks, with gradients: for losses that set pictures of a global batch against each other."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F


def gather_with_gradient(tensor: torch.Tensor) -> tuple[torch.Tensor, int]:
    """The rows of all ranks, rank 0's first, and the index of this rank's first row among them.

    The gradient of a row is the sum of what all ranks' losses ask of it, so every rank must run backward through what
    it got. Without a process group, or on the meta device (where operations are only counted), the tensor comes back as
    it is. What is gathered together takes one exchange of each kind: stack it along a dimension after the first.

    Args:
        tensor: [B_r, …]; B_r may differ between ranks, the other dimensions and the dtype may not.

    Returns:
        [Σ B_r, …], the same values on every rank, and the index.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1 or tensor.is_meta:
        return tensor, 0
    counts = torch.zeros(dist.get_world_size(), dtype=torch.int64)  # by the CPUs: nobody waits for a GPU
    counts[dist.get_rank()] = len(tensor)
    dist.all_reduce(counts)
    rows = counts.tolist()
    gathered = _Gather.apply(tensor, rows)
    assert isinstance(gathered, torch.Tensor)
    return gathered, sum(rows[: dist.get_rank()])


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, tensor: torch.Tensor, rows: list[int]) -> torch.Tensor:
        context.rows = rows
        most = max(rows)
        padded = F.pad(tensor, [0, 0] * (tensor.ndim - 1) + [0, most - len(tensor)]).contiguous()
        parts = [torch.empty_like(padded) for _ in rows]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, rows, strict=True)])

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        total = _own_sum if gradients[0].is_cuda else _own_part_of_the_sum
        return total(gradients[0], context.rows), None


def _own_sum(gradient: torch.Tensor, rows: list[int]) -> torch.Tensor:
    """This rank's rows [B_r, …] of the ranks' gradients [Σ B_r, …], summed; nccl sends each rank its own alone."""
    most = max(rows)
    parts = [F.pad(part, [0, 0] * (part.ndim - 1) + [0, most - len(part)]) for part in gradient.split(rows)]
    own = torch.empty_like(parts[0])
    dist.reduce_scatter_tensor(own, torch.cat(parts))
    return own[: rows[dist.get_rank()]]


def _own_part_of_the_sum(gradient: torch.Tensor, rows: list[int]) -> torch.Tensor:
    """The same by what all versions of gloo have, which sends each rank the rows of all."""
    total = gradient.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total.split(rows)[dist.get_rank()]

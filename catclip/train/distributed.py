"""Several ranks, started by torchrun: their process group, what they tell each other, and how they share a model.

Alone everything here is the identity: one process needs no group.
"""

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from functools import cache
from inspect import signature
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from catclip.errors import UserError

T = TypeVar("T")

# The others wait for rank 0 while it evaluates.
_PATIENCE = timedelta(hours=6)
_MOMENT = 2.0  # seconds in which a rank that has failed says so


def ranks() -> int:
    """How many there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This one, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


@contextmanager
def process_group() -> Iterator[None]:
    """Join the ranks that torchrun started with this one; without torchrun there is none to join.

    Small things go over the CPUs (gloo), so that nobody waits for a GPU; tensors on GPUs by nccl.

    Raises:
        UserError: another rank is gone. It is left time to say why, and for torchrun to end this one, first.
    """
    if "WORLD_SIZE" not in os.environ or dist.is_initialized():
        yield
        return
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=_PATIENCE)
    # Not left after an error: the others may hang in what they wait for, and torchrun ends them when this rank is gone.
    try:
        yield
    except RuntimeError as error:
        if not is_lost(error):
            raise
        time.sleep(_MOMENT)
        raise UserError(f"Another rank is gone, which should have said why ({str(error).splitlines()[0]}).") from error
    _mesh.cache_clear()
    gc.collect()  # what still holds the group of all: its threads end with it
    dist.destroy_process_group()


def is_lost(error: RuntimeError) -> bool:
    """Whether it says that another rank has left; gloo has no error of its own."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)


def on_first(work: Callable[[], T]) -> T:
    """Run `work` on rank 0 alone and return its result on all ranks. All must call this.

    Raises:
        UserError: on rank 0, what `work` raises; the others exit as the command line does then.
    """
    if ranks() == 1:
        return work()
    said: list[Any] = [None, False]
    try:
        if rank() == 0:
            said = [work(), True]
    finally:
        dist.broadcast_object_list(said, src=0, device=torch.device("cpu"))
    if not said[1]:
        time.sleep(_MOMENT)  # torchrun ends rank 0 as soon as this one is gone, and it is to say what failed
        raise SystemExit(2)
    return said[0]


def kept_on_first(work: Callable[[], T]) -> T | None:
    """As `on_first`, for a result that stays on rank 0; the others get None."""
    kept: list[T] = []
    on_first(lambda: kept.append(work()))
    return kept[0] if kept else None


def from_all(value: T) -> list[T]:
    """The values of all ranks, a small object each, in their order."""
    if ranks() == 1:
        return [value]
    values: list[Any] = [None] * ranks()
    dist.all_gather_object(values, value)
    return values


def any_rank(flag: bool) -> bool:
    """Whether it is so on at least one of the ranks."""
    if ranks() == 1:
        return flag
    flags = torch.tensor([flag], dtype=torch.int64)
    dist.all_reduce(flags)
    return bool(flags.item())


def counts_of_all(count: int) -> list[int]:
    """A number of each rank: the one small exchange that begins a step."""
    if ranks() == 1:
        return [count]
    counts = torch.zeros(ranks(), dtype=torch.int64)
    counts[rank()] = count
    dist.all_reduce(counts)
    return counts.tolist()


def weighted_mean(values: dict[str, torch.Tensor], weight: float) -> dict[str, torch.Tensor]:
    """The mean over ranks of scalars on the device, by weights that sum to 1."""
    if ranks() == 1:
        return values
    stacked = weight * torch.stack([value.detach().float() for value in values.values()])
    dist.all_reduce(stacked)
    return dict(zip(values, stacked.unbind(), strict=True))


# ---------------------------------------------------------------- a model on several ranks


class Shared(nn.Module):
    """A model whose gradients are those of all ranks: their mean.

    DDP keeps a whole copy on each rank. FSDP (`fully_shard`) divides every parameter, its gradient and its moments
    among the ranks, and gathers a block of layers while it computes; scalars, which it cannot divide, are copies.

    Args:
        model: whose parameters FSDP replaces, so that an optimiser must be built after this.
        sharding: `ddp` or `fsdp`; alone neither.
        gradients: whether it is trained. Only then may DDP watch it.
    """

    def __init__(self, model: nn.Module, sharding: str, gradients: bool = True):
        super().__init__()
        self._inside: nn.Module = _Inside(model)
        self._copies: list[nn.Parameter] = []
        self.sharded = ranks() > 1 and sharding == "fsdp"
        if self.sharded:
            self._copies = [parameter for parameter in model.parameters() if parameter.ndim == 0]
            copies: Any = set(self._copies)
            mesh = _mesh(next(model.parameters()).device.type)
            for block in _blocks(model):
                fully_shard(block, mesh=mesh, ignored_params=copies)
            fully_shard(self._inside, mesh=mesh, ignored_params=copies)
        elif ranks() > 1 and gradients:
            self._inside = DistributedDataParallel(self._inside, **_own_buffers(DistributedDataParallel))

    def forward(self, work: Callable[[], T]) -> T:
        """Run what computes with the model, as one forward pass of it."""
        return self._inside(work)

    @contextmanager
    def part(self, last: bool) -> Iterator[None]:
        """Around a forward and a backward pass: gradients add up on each rank until the last part's."""
        if isinstance(self._inside, FSDPModule):
            self._inside.set_requires_gradient_sync(last)
        alone = isinstance(self._inside, DistributedDataParallel) and not last
        with self._inside.no_sync() if alone else nullcontext():  # type: ignore[operator]
            yield
        if last:
            for parameter in self._copies:
                if parameter.grad is not None:
                    dist.all_reduce(parameter.grad)
                    parameter.grad /= ranks()


def _own_buffers(kind: type) -> dict[str, Any]:
    """The option by which DDP leaves every rank its buffers, under the name that this torch has for it."""
    known = signature(kind).parameters
    return {"forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False}


@cache
def _mesh(device: str) -> DeviceMesh:
    """The ranks as FSDP sees them: a group of their own.

    Torch keeps this group and its gloo threads to the end of the process. A thread that lets go of a tensor while
    Python ends aborts the process (pytorch#190489), so what ranks tell each other last must not go by it.
    """
    group = dist.new_group()
    assert isinstance(group, dist.ProcessGroup)
    return DeviceMesh.from_group(group, device)


class _Inside(nn.Module):
    """What DDP and FSDP wrap: its forward is whatever is computed with the model."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, work: Callable[[], T]) -> T:
        return work()


def _blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The layers that repeat: the children of lists and sequences of modules of one type."""
    for child in model.children():
        layers = list(child.children())
        repeats = len(layers) > 1 and len({type(layer) for layer in layers}) == 1
        if isinstance(child, nn.ModuleList | nn.Sequential) and repeats and any(True for _ in layers[0].parameters()):
            yield from layers
        else:
            yield from _blocks(child)


def clip_gradients(parameters: list[nn.Parameter], limit: float | None) -> torch.Tensor:
    """Scale gradients down to a norm of `limit` (None: of any), over all ranks; return what it was, on the device."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    kinds = [[g for g in gradients if isinstance(g, DTensor) is divided] for divided in (False, True)]
    norms = [_whole(torch.nn.utils.get_total_norm(each)) for each in kinds if each]
    norm = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
    if limit is None:
        return norm
    for divided in (False, True):
        alike = [each for each in parameters if isinstance(each.grad, DTensor) is divided]
        torch.nn.utils.clip_grads_with_norm_(alike, limit, norm)
    return norm


def gathered(tensors: Any) -> Any:
    """Dictionaries and lists of tensors, with those that are divided among ranks made whole, on the CPU.

    All ranks must call it. On ranks other than 0 what is made whole is let go again, and None stands in its place.
    """
    if isinstance(tensors, dict):
        return {key: gathered(value) for key, value in tensors.items()}
    if isinstance(tensors, list):
        return [gathered(value) for value in tensors]
    if isinstance(tensors, DTensor):
        whole = tensors.full_tensor()
        return whole.cpu() if rank() == 0 else None
    return tensors


def divided_like(whole: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A whole tensor, the same on all ranks, divided as `like` is, without talking to them."""
    if not isinstance(like, DTensor):
        return whole
    whole = whole.to(device=like.device)
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

"""torch.compile, and the count of how often it had to compile."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch._dynamo import lookup_backend, maybe_mark_dynamic
from torch._dynamo.exc import TorchDynamoException

from catclip.errors import UserError, check_choice
from catclip.objectives.base import Objective

# Graphs of one function, above which torch compiles no more. It counts those of all models whose class they share, and
# each side of multi-scale batches has its own.
_LIMIT = 256


def wants_compile(setting: object, device: torch.device) -> bool:
    """What `run.compile` comes to: `auto` is true where training runs on a GPU.

    Raises:
        UserError: it is none of auto, true and false.
    """
    name = str(setting).lower()
    check_choice("run.compile", name, ["auto", "true", "false"])
    return device.type == "cuda" if name == "auto" else name == "true"


class Compiler:
    """Compiles modules, and counts their graphs.

    Compiled is what is called in training; evaluation runs as it is, since its batches come in other sizes and its
    weights may be a copy. A graph serves any number of pictures above one, so that a batch that lost some needs no
    other. Each side of multi-scale batches has a graph of its own, compiled when it comes first.

    Args:
        backend: torch.compile's.

    Attributes:
        graphs: compiled so far.
        recompilations: those of them that came with a kind of call that had been seen before (a side, with gradients or
            without): such a call should find its graph.
    """

    def __init__(self, backend: str = "inductor") -> None:
        self.graphs = self.recompilations = 0
        self._lower = lookup_backend(backend)
        self._told = False

    def add(self, module: nn.Module) -> None:
        """Compile a module in place: whatever calls it calls the compiled one. It cannot be copied any more.

        Args:
            module: takes tensors [B, …].
        """
        plain = module.forward
        compiled = torch.compile(plain, backend=self._backend)
        seen: set[tuple[object, ...]] = set()

        def forward(*inputs: torch.Tensor) -> Any:
            if not module.training:
                return plain(*inputs)
            for tensor in inputs:
                if len(tensor) > 1:  # torch takes 1 for a constant, whatever it is told
                    maybe_mark_dynamic(tensor, 0)
            kind = (torch.is_grad_enabled(), *((min(len(each), 2), *each.shape[1:]) for each in inputs))
            before = self.graphs
            try:
                with torch._dynamo.config.patch(recompile_limit=_LIMIT):
                    result = compiled(*inputs)
            except TorchDynamoException as error:
                reason = str(getattr(error, "inner_exception", error)).strip().splitlines()[0]
                raise UserError(f"torch.compile failed ({reason}): give run.compile=false.") from error
            if kind in seen:
                self.recompilations += self.graphs - before
            seen.add(kind)
            return result

        module.forward = forward

    def _backend(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        self.graphs += 1
        return self._lower(graph, inputs)

    def news(self) -> str | None:
        """What to say, once, when something was compiled again."""
        if self._told or not self.recompilations:
            return None
        self._told = True
        return (
            f"torch.compile compiled again what it had compiled before ({self.recompilations} graphs so far), which "
            "takes seconds to minutes each time. TORCH_LOGS=recompiles says why; run.compile=false does without it."
        )


def compile_objective(objective: nn.Module, compiler: Compiler) -> None:
    """Compile the parts of an objective that are more than one layer: its backbone, a text tower."""
    for part in dict.fromkeys(_parts(objective)):  # each once, also where two of them share it
        compiler.add(part)


def _parts(objective: nn.Module) -> Iterator[nn.Module]:
    for child in objective.children():
        if isinstance(child, Objective):  # its own forward is not called, but its parts' are
            yield from _parts(child)
        elif any(True for _ in child.children()):
            yield child

"""Logistic regression with an L2 penalty, by L-BFGS, and how CLIP chooses the strength of that penalty."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F

from catclip.errors import UserError
from catclip.train.memory import is_out_of_memory

_FLOOR = 1e-7  # of the gradient: features that are all alike have none at all
_PER_DECADE = 8  # strengths, at the last
_LEAST, _MOST = -4, 4  # decades
_COARSE = 2 * _PER_DECADE  # the first steps, two decades each


class Head(NamedTuple):
    """Of D features and C classes: weights float64 [D, C] and biases float64 [C]."""

    weight: torch.Tensor
    bias: torch.Tensor

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Of features float64 [N, D], float64 [N, C]."""
        return x @ self.weight + self.bias


def fit_logistic(
    x: torch.Tensor, y: torch.Tensor, classes: int, strength: float, start: Head | None = None, tolerance: float = 1e-3
) -> Head:
    """Minimise `strength` × summed cross entropy + ½ ‖weights‖², where `x` is.

    Args:
        x: features float64 [N, D].
        y: classes int64 [N], for softmax over them; or which of them each shows, float64 [N, C], a sigmoid each.
        classes: C.
        strength: inverse regularisation, as scikit-learn's C; biases are not regularised.
        start: where to start from; None: zeros.
        tolerance: of the gradient, divided by N; less where that is more than a tenth of what it is at zero weights,
            or many classes, each of which has a small one, would stay there.
    """
    weight = x.new_zeros(x.shape[1], classes) if start is None else start.weight.clone()
    bias = x.new_zeros(classes) if start is None else start.bias.clone()
    parameters = [weight.requires_grad_(), bias.requires_grad_()]
    # Where the penalty is strong logits are small, and small errors of the biases would decide.
    tolerance = min(tolerance, max(_FLOOR, 0.1 * _gradient_at_zero(x, y, classes))) * min(1.0, strength * len(x))
    optimiser = torch.optim.LBFGS(
        parameters, max_iter=1000, tolerance_grad=tolerance, tolerance_change=1e-6 * tolerance,
        line_search_fn="strong_wolfe",
    )  # fmt: skip
    loss_of = F.binary_cross_entropy_with_logits if y.is_floating_point() else F.cross_entropy

    def closure() -> float:
        optimiser.zero_grad()
        penalty = weight.square().sum() / (2 * strength * len(x))
        loss = loss_of(x @ weight + bias, y, reduction="sum") / len(x) + penalty
        loss.backward()
        return float(loss.detach())

    optimiser.step(closure)
    return Head(weight.detach(), bias.detach())


def _gradient_at_zero(x: torch.Tensor, y: torch.Tensor, classes: int) -> float:
    """The largest entry of the loss's gradient for the weights of a class; the median over the classes that occur."""
    if y.is_floating_point():
        sums, counts, chance = y.T @ x, y.sum(0), 0.5
    else:
        sums = x.new_zeros(classes, x.shape[1]).index_add_(0, y, x)
        counts, chance = y.bincount(minlength=classes), 1 / classes
    columns = (chance * x.sum(0) - sums).abs().amax(1) / len(x)
    return float(columns[counts > 0].median())


@contextmanager
def room_for_fits() -> Iterator[None]:
    """Around fits: say what would take less, where memory runs out.

    Raises:
        UserError: in place of torch's error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            "Out of memory: a probe is fitted to all features at once, in float64. Give it fewer pictures, or "
            "device=cpu; data.probe=null leaves it out of a run."
        ) from error


class WarmFits:
    """Fits in a row, each from the last one's solution.

    Args:
        classes: as `fit_logistic` takes them.
    """

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._last: Head | None = None

    def __call__(self, x: torch.Tensor, y: torch.Tensor, strength: float) -> Head:
        self._last = fit_logistic(x, y, self._classes, strength, self._last)
        return self._last


def choose_strength(score: Callable[[float], float]) -> tuple[float, float]:
    """Search 10⁻⁴ … 10⁴, in the end eight to a decade, for the strength that does best on held-back pictures.

    Five, two decades apart, then between the best and its neighbours, halving the distance four times: CLIP's
    parametric binary search (arXiv 2103.00020, appendix A.3). CLIP goes to 10⁻⁶ and 10⁶, of features that are not
    standardised; of ours less than 10⁻⁴ is but the nearest mean. The weaker penalties, which take longest, are not
    tried once two in a row have done no better than what was tried before.

    Args:
        score: of a strength; more is better.

    Returns:
        The strength, of equals the more regularised, and its score.
    """
    scores: dict[int, float] = {}

    def best() -> int:
        return max(scores, key=lambda place: (scores[place], -place))

    def attempt(place: int) -> None:
        if _LEAST * _PER_DECADE <= place <= _MOST * _PER_DECADE and place not in scores:
            scores[place] = score(10 ** (place / _PER_DECADE))

    for place in range(_LEAST * _PER_DECADE, _MOST * _PER_DECADE + 1, _COARSE):
        attempt(place)
        if place - best() >= 2 * _COARSE:
            break
    step = _COARSE // 2
    while step:
        middle = best()
        attempt(middle - step)
        attempt(middle + step)
        step //= 2
    return 10 ** (best() / _PER_DECADE), scores[best()]

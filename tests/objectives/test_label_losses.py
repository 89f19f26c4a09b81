"""The ragged losses are the dense ones, values and gradients, and keep nothing dense but the logits."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.objectives.label_losses import ragged_asymmetric, ragged_bce, ragged_softmax


def ragged(labels: list[set[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    ids = [label for each in labels for label in sorted(each)]
    lengths = torch.tensor([0, *map(len, labels)])
    return torch.tensor(ids, dtype=torch.int64), lengths.cumsum(0)


def dense(labels: list[set[int]], weights: torch.Tensor, width: int) -> torch.Tensor:
    target = torch.zeros(len(labels), width, dtype=torch.float64)
    each = iter(weights.tolist())
    for row, some in enumerate(labels):
        for label in sorted(some):
            target[row, label] = next(each)
    return target


# ---- plain references, on dense targets in double precision ---------------------------------------------------------


def dense_bce(logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    targets = targets * (1 - smoothing) + smoothing / logits.shape[1]
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(logits)


def dense_softmax(logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    total = targets.sum(1, keepdim=True)
    shares = torch.where(total > 0, targets / total * (1 - smoothing) + smoothing / logits.shape[1], 0.0)
    return F.cross_entropy(logits, shares, reduction="sum") / len(logits)


def dense_asymmetric(logits: torch.Tensor, targets: torch.Tensor, smoothing: float, **options: float) -> torch.Tensor:
    """Ridnik et al., equations 4 to 7, written out."""
    targets = targets * (1 - smoothing) + smoothing / logits.shape[1]
    present = (1 - logits.sigmoid()) ** options["gamma_positive"] * F.logsigmoid(logits)
    shifted = torch.relu(logits.sigmoid() - options["clip"])
    absent_log = torch.log(1 - shifted) if options["clip"] else F.logsigmoid(-logits)
    absent = shifted ** options["gamma_negative"] * absent_log
    return -(targets * present + (1 - targets) * absent).sum() / len(logits)


# ---- equality -------------------------------------------------------------------------------------------------------


@st.composite
def problems(draw: Any) -> tuple[torch.Tensor, list[set[int]], torch.Tensor | None, float]:
    """Logits [B, V], from timid to absurd; the labels of each row, their weights, and the smoothing."""
    rows, width = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    labels = [draw(st.sets(st.integers(0, width - 1))) for _ in range(rows)]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    logits = torch.randn(rows, width, generator=generator) * draw(st.sampled_from([0, 1e-3, 1, 10, 200]))
    weights = torch.rand(sum(map(len, labels)), generator=generator) if draw(st.booleans()) else None
    return logits, labels, weights, draw(st.sampled_from([0.0, 0.1, 0.5]))


def assert_equal(problem: Any, ours: Any, theirs: Any, **options: float) -> None:
    logits, labels, weights, smoothing = problem
    single, double = logits.clone().requires_grad_(), logits.double().requires_grad_()
    ids, offsets = ragged(labels)
    loss = ours(single, ids, offsets, weights, smoothing, **options)
    target = dense(labels, torch.ones(len(ids)) if weights is None else weights, logits.shape[1])
    expected = theirs(double, target, smoothing, **options)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=1e-6)
    loss.backward()
    expected.backward()
    assert single.grad is not None
    torch.testing.assert_close(single.grad.double(), double.grad, rtol=1e-6, atol=1e-6)


@settings(max_examples=200, deadline=None)
@given(problems())
def test_bce_is_that_of_dense_targets(problem):
    assert_equal(problem, ragged_bce, dense_bce)


@settings(max_examples=200, deadline=None)
@given(problems())
def test_softmax_is_that_of_dense_shares(problem):
    assert_equal(problem, ragged_softmax, dense_softmax)


@settings(max_examples=200, deadline=None)
@given(
    problems(), st.sampled_from([0.0, 1.0, 2.5]), st.sampled_from([0.0, 1.0, 4.0]), st.sampled_from([0.0, 0.05, 0.2])
)
def test_asymmetric_is_that_of_dense_targets(problem, gamma_positive, gamma_negative, clip):
    options = {"gamma_positive": gamma_positive, "gamma_negative": gamma_negative, "clip": clip}
    assert_equal(problem, ragged_asymmetric, dense_asymmetric, **options)


def test_without_focus_and_clip_the_asymmetric_loss_is_bce():
    logits, labels = torch.randn(4, 9) * 5, ragged([{1, 3}, set(), {8}, {0}])
    made = ragged_asymmetric(logits, *labels, gamma_positive=0, gamma_negative=0, clip=0)
    torch.testing.assert_close(made, ragged_bce(logits, *labels))


@pytest.mark.parametrize("loss", [ragged_bce, ragged_softmax, ragged_asymmetric])
def test_the_mean_over_pictures_makes_parts_equal_the_whole(loss):
    logits, labels = torch.randn(5, 7), [{1, 3}, set(), {6}, set(), {0, 2}]
    whole = loss(logits, *ragged(labels))
    parts = [2 / 5 * loss(logits[:2], *ragged(labels[:2])), 3 / 5 * loss(logits[2:], *ragged(labels[2:]))]
    torch.testing.assert_close(sum(parts), whole)


@pytest.mark.parametrize("loss", [ragged_bce, ragged_softmax, ragged_asymmetric])
def test_no_label_in_the_whole_batch(loss):
    logits = torch.randn(4, 3, requires_grad=True)
    made = loss(logits, *ragged([set()] * 4))
    made.backward()
    assert logits.grad is not None
    assert made.isfinite()
    if loss is ragged_softmax:
        assert made == 0
        assert not logits.grad.any()
    else:
        assert (logits.grad >= 0).all()


def test_labels_without_weight_give_no_softmax_loss():
    logits = torch.randn(2, 3, requires_grad=True)
    made = ragged_softmax(logits, *ragged([{0}, {1, 2}]), torch.tensor([0.0, 0.3, 0.6]))
    made.backward()
    shares = torch.tensor([0.0, 1 / 3, 2 / 3])
    torch.testing.assert_close(made, -(shares * logits[1].log_softmax(0)).sum() / 2)
    assert logits.grad is not None
    assert not logits.grad[0].any()


# ---- precision and memory -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "theirs"), [(ragged_bce, dense_bce), (ragged_softmax, dense_softmax)])
def test_half_precision_logits_are_summed_in_full(loss, theirs):
    logits = (torch.randn(64, 5000, generator=torch.Generator().manual_seed(0)) - 6).bfloat16().requires_grad_()
    labels = [{row, row + 1} for row in range(64)]
    made = loss(logits, *ragged(labels))
    assert made.dtype == torch.float32
    double = logits.detach().double().requires_grad_()
    expected = theirs(double, dense(labels, torch.ones(128), 5000), 0.0)
    assert made.item() == pytest.approx(expected.item(), rel=1e-5)
    made.backward()
    expected.backward()
    assert logits.grad is not None
    assert logits.grad.dtype == torch.bfloat16
    torch.testing.assert_close(logits.grad, double.grad.bfloat16(), rtol=0.01, atol=1e-6)


@pytest.mark.parametrize(("loss", "kept"), [(ragged_bce, 1), (ragged_softmax, 1)])
def test_one_tensor_of_the_logits_size_is_kept_for_the_backward_pass(loss, kept):
    logits = torch.randn(8, 4096, requires_grad=True)
    sizes: dict[int, int] = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: sizes.setdefault(tensor.data_ptr(), tensor.numel()) and tensor, lambda tensor: tensor
    ):
        loss(logits, *ragged([{row} for row in range(8)]))
    assert sum(size >= logits.numel() for size in sizes.values()) == kept


def test_smoothing_is_the_mean_of_uniform_targets():
    logits = torch.randn(3, 10)
    labels = ragged([{1}, {2}, {3}])
    expected = 0.9 * F.cross_entropy(logits, torch.tensor([1, 2, 3])) - 0.1 * logits.log_softmax(1).mean()
    torch.testing.assert_close(ragged_softmax(logits, *labels, None, 0.1), expected)
    theirs = F.cross_entropy(logits, torch.tensor([1, 2, 3]), label_smoothing=0.1)
    torch.testing.assert_close(expected, theirs)
    assert math.isfinite(theirs)

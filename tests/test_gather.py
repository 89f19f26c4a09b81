import torch
import torch.distributed as dist

from catclip.gather import _own_part_of_the_sum, _own_sum, gather_with_gradient
from catclip.objectives.pair_losses import clip_loss
from tests.ranks import on_ranks

ROWS = [3, 1]  # of each rank


def everything() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(rows, 2, 5, generator=generator, dtype=torch.float64) for rows in ROWS]


def local_loss(rows: torch.Tensor, first: int, count: int) -> torch.Tensor:
    """A loss of some rows that depends on all of them, and differently."""
    own = rows[first : first + count]
    return torch.einsum("bij,nij->bn", own, rows.sin()).logsumexp(1).sum() * (first + 1)


def gathered() -> tuple[torch.Tensor, int, torch.Tensor]:
    tensor = everything()[dist.get_rank()].requires_grad_()
    rows, first = gather_with_gradient(tensor)
    local_loss(rows, first, len(tensor)).backward()
    assert tensor.grad is not None
    return rows.detach(), first, tensor.grad


def test_every_rank_has_all_rows_and_each_row_the_gradients_of_all_losses():
    rows = torch.cat(everything()).requires_grad_()
    loss = local_loss(rows, 0, ROWS[0]) + local_loss(rows, ROWS[0], ROWS[1])
    (expected,) = torch.autograd.grad(loss, rows)
    results = on_ranks(2, gathered)
    assert [first for _, first, _ in results] == [0, ROWS[0]]
    for found, _, _ in results:
        assert torch.equal(found, rows)
    torch.testing.assert_close(torch.cat([gradient for *_, gradient in results]), expected)


def summed() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(dist.get_rank())
    gradient = torch.randn(sum(ROWS), 2, 5, generator=generator, dtype=torch.float64)
    return [_own_sum(gradient, ROWS), _own_part_of_the_sum(gradient, ROWS), gradient]


def test_what_gpus_send_and_what_cpus_do_are_the_same_sum():
    """GPUs' way works on CPUs of today too."""
    results = on_ranks(2, summed)
    expected = (results[0][2] + results[1][2]).split(ROWS)
    for rank, found in enumerate(results):
        for each in found[:2]:
            torch.testing.assert_close(each, expected[rank])


def exchanges() -> list[str]:
    """What a step of CLIP's loss asks of the ranks."""
    said: list[str] = []
    reduce, gather = dist.all_reduce, dist.all_gather
    dist.all_reduce = lambda tensor: said.append(f"reduce {tensor.dtype}") or reduce(tensor)
    dist.all_gather = lambda parts, tensor: said.append("gather") or gather(parts, tensor)
    pictures, texts = (torch.randn(3, 4, requires_grad=True) for _ in range(2))
    clip_loss(pictures, texts, torch.tensor(1.0)).backward()
    return said


def test_pictures_and_texts_are_gathered_at_once():
    for said in on_ranks(2, exchanges):
        assert said == ["reduce torch.int64", "gather", "reduce torch.float32"]


def test_alone_nothing_is_copied():
    tensor = torch.randn(4, 3)
    assert gather_with_gradient(tensor) == (tensor, 0)

"""The losses of pairs are open_clip's, in one piece, in chunks and over ranks."""

import open_clip
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from open_clip.loss import SigLipLoss

from catclip.objectives.pair_losses import clip_loss, siglip_loss
from tests.ranks import on_ranks

ROWS = [5, 2]  # of each rank


def features(count: int, spread: float = 1.0) -> list[torch.Tensor]:
    """Pictures and texts [B, E], of which those that belong together are alike; scale and bias."""
    generator = torch.Generator().manual_seed(0)
    texts = torch.randn(count, 16, generator=generator)
    pictures = texts + spread * torch.randn(count, 16, generator=generator)
    values = [F.normalize(pictures, dim=1), F.normalize(texts, dim=1), torch.tensor(14.3), torch.tensor(-10.0)]
    return [value.requires_grad_() for value in values]


def gradients(loss: torch.Tensor, values: list[torch.Tensor]) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, values, allow_unused=True, materialize_grads=True))


def both_losses(values: list[torch.Tensor]) -> list[torch.Tensor]:
    pictures, texts, scale, bias = values
    return [clip_loss(pictures, texts, scale), siglip_loss(pictures, texts, scale, bias, chunk=3)]


@pytest.mark.parametrize("spread", [0.1, 1.0, 10.0])
def test_losses_and_gradients_are_open_clips(spread):
    values = features(23, spread)
    pictures, texts, scale, bias = values
    theirs = [open_clip.ClipLoss()(pictures, texts, scale), SigLipLoss()(pictures, texts, scale, bias)]
    for ours, other in zip(both_losses(values), theirs, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(gradients(ours, values), gradients(other, values), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chunk", [1, 4, 23, 100])
def test_chunks_change_nothing(chunk):
    values = features(23)
    whole, parts = siglip_loss(*values, chunk=23), siglip_loss(*values, chunk=chunk)
    torch.testing.assert_close(parts, whole, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradients(parts, values), gradients(whole, values), rtol=1e-5, atol=1e-6)


def test_no_matrix_of_all_pairs_is_made():
    values = features(200)
    largest = 0

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            made = function(*args, **(kwargs or {}))
            if isinstance(made, torch.Tensor):
                largest = max(largest, made.numel())
            return made

    with Watch():
        gradients(siglip_loss(*values, chunk=20), values)
    assert largest == 200 * 20


def test_half_precision_features_are_compared_in_full():
    values = [value.detach().bfloat16() if value.ndim else value for value in features(40)]
    full = [value.float() for value in values]
    with torch.autocast("cpu", torch.bfloat16):
        made = both_losses(values)
    torch.testing.assert_close(made, both_losses(full))
    assert {loss.dtype for loss in made} == {torch.float32}


def on_a_rank() -> list[tuple[torch.Tensor, list[torch.Tensor]]]:
    rank = dist.get_rank()
    own = slice(sum(ROWS[:rank]), sum(ROWS[: rank + 1]))
    share = ROWS[rank] / sum(ROWS)
    results = []
    for index in range(2):
        values = features(sum(ROWS))
        mine = [value.detach()[own].requires_grad_() if value.ndim else value for value in values]
        loss = share * both_losses(mine)[index]
        results.append((loss.detach(), gradients(loss, mine)))
    return results


def test_ranks_together_have_the_loss_and_the_gradients_of_one():
    ranks = on_ranks(2, on_a_rank)
    values = features(sum(ROWS))
    for index, loss in enumerate(both_losses(values)):
        parts = [rank[index] for rank in ranks]
        torch.testing.assert_close(sum(part for part, _ in parts), loss, rtol=1e-6, atol=1e-6)
        expected = gradients(loss, values)
        found = [made for _, made in parts]
        for place in (0, 1):
            torch.testing.assert_close(
                torch.cat([made[place] for made in found]), expected[place], rtol=1e-5, atol=1e-6
            )
        for place in (2, 3):
            torch.testing.assert_close(sum(made[place] for made in found), expected[place], rtol=1e-5, atol=1e-6)

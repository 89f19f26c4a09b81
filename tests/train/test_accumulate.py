"""Gradients of parts are those of the whole batch."""

from contextlib import nullcontext
from functools import cache
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.data.micro import split_batch
from catclip.train.accumulate import Accumulation
from catclip.train.distributed import Shared
from tests import tiny

SIDE = 32


@cache
def objective(name: str, glyphs, drop: float = 0.0):
    config = tiny.config(name, glyphs, options={"proj_drop_rate": drop, "drop_path_rate": drop, "depth": 2})
    return tiny.build(config).double().train()


def random_batch(count: int, labels: list[list[int]], seed: int) -> dict:
    generator = torch.Generator().manual_seed(seed)
    return {
        "keys": [str(row) for row in range(count)],
        "images": torch.randint(0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator),
        "tokens": torch.randint(1, 49_000, (count, tiny.TEXT["text_length"]), generator=generator),
        "label_ids": torch.tensor([label for each in labels for label in each], dtype=torch.int64),
        "label_offsets": torch.tensor([0, *map(len, labels)]).cumsum(0),
    }


def gradients(model) -> dict[str, torch.Tensor]:
    found = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def accumulated(model, batch: dict, parts: list[dict], weight: float = 1.0, autocast=nullcontext):
    accumulation = Accumulation(model, Shared(model, "ddp"), autocast, lambda loss: loss)
    logged = accumulation(batch, parts, weight, torch.manual_seed)
    return logged, gradients(model)


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """To 1e-6, in double precision: in single, the rounding of the two ways is that large itself."""
    assert found.keys() == expected.keys()
    for name in expected:
        difference = (found[name] - expected[name]).abs().max().item()
        assert difference <= 1e-6 * max(1.0, expected[name].norm().item()), f"{name}: {difference:.2g}"


def uneven(batch: dict, cuts: list[int]) -> list[dict]:
    """Parts between any bounds, made of parts of one picture."""
    single = split_batch(batch, len(batch["keys"]))
    return [tiny.joined(single[start:stop]) for start, stop in pairwise([0, *cuts, len(single)])]


@st.composite
def batches(draw):
    """A batch whose pictures have 0 to 3 labels, and where to cut it."""
    labels = draw(st.lists(st.lists(st.integers(0, 19), max_size=3, unique=True), min_size=2, max_size=6))
    cuts = draw(st.lists(st.integers(1, len(labels) - 1), max_size=3, unique=True).map(sorted))
    return labels, cuts, draw(st.integers(0, 2**31))


@pytest.mark.parametrize("name", tiny.EVERY_OBJECTIVE)
@settings(deadline=None, max_examples=10)
@given(batches())
def test_gradients_of_parts_are_those_of_the_batch(glyphs, name, drawn):
    labels, cuts, seed = drawn
    model, batch = objective(name, glyphs), random_batch(len(labels), labels, seed)
    model.observe(batch)
    values = model(batch)
    (0.75 * values["loss"]).backward()
    expected = gradients(model)
    logged, found = accumulated(model, batch, uneven(batch, cuts), 0.75)
    assert found.keys() == expected.keys() == {each for each, _ in model.named_parameters()}
    assert_equal(found, expected)
    for each in values:
        torch.testing.assert_close(logged[each], values[each].detach(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", tiny.EVERY_OBJECTIVE)
def test_a_part_without_labels(glyphs, name):
    model, batch = objective(name, glyphs), random_batch(4, [[], [], [1, 2], [0]], 0)
    model.observe(batch)
    model(batch)["loss"].backward()
    expected = gradients(model)
    _, found = accumulated(model, batch, split_batch(batch, 2))
    assert_equal(found, expected)


@pytest.mark.parametrize("name", tiny.EVERY_OBJECTIVE)
def test_both_passes_drop_the_same(glyphs, name):
    """Against one graph over all parts, each drawn after its own seed."""
    model, batch = objective(name, glyphs, drop=0.4), random_batch(5, [[0], [1], [2], [], [3, 4]], 0)
    model.observe(batch)
    parts, outputs = uneven(batch, [2, 3]), []
    for index, part in enumerate(parts):
        torch.manual_seed(index)
        outputs.append(model.outputs(part))
    whole = {each: torch.cat([part[each] for part in outputs]) for each in outputs[0]}
    model.loss(whole, batch)["loss"].backward()
    expected = gradients(model)
    _, found = accumulated(model, batch, parts)
    assert_equal(found, expected)
    _, undropped = accumulated(objective(name, glyphs), batch, parts)
    assert not torch.allclose(found["backbone.trunk.patch_embed.proj.weight"],
                              undropped["backbone.trunk.patch_embed.proj.weight"])  # fmt: skip


def test_weights_that_autocast_copied_without_gradients_have_them_in_the_second_pass(glyphs):
    model, batch = objective("contrastive", glyphs), random_batch(4, [[]] * 4, 0)

    def autocast():
        return torch.autocast("cpu", torch.bfloat16)

    with autocast():
        values = model(batch)
    values["loss"].backward()
    expected = gradients(model)
    _, found = accumulated(model, batch, split_batch(batch, 2), autocast=autocast)
    assert found.keys() == expected.keys()
    for each in expected:
        assert torch.nn.functional.cosine_similarity(found[each].flatten(), expected[each].flatten(), dim=0) > 0.99, (
            each
        )

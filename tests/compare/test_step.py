import copy

import pytest
import torch
from torch import nn

from catclip.compare.step import first_batches, flops_per_image, peak_memory_bytes
from catclip.errors import UserError
from tests import tiny
from tests.tiny import assert_same

CPU = torch.device("cpu")


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(48, 20), nn.Linear(20, 7)

    def forward(self, batch):
        return {"loss": self.second(self.first(batch["images"].flatten(1).float())).sum()}


def test_flops_of_linear_layers():
    """Forward 2·in·out a layer; backward the same for the weights, and for the inputs of all but the first."""
    batch = {"images": torch.zeros(5, 3, 4, 4, dtype=torch.uint8), "keys": ["x"] * 5}
    forward = 2 * 48 * 20 + 2 * 20 * 7
    assert flops_per_image(TwoLayers(), batch) == 2 * forward + 2 * 20 * 7


def test_flops_of_a_vit(glyphs):
    config = tiny.config("categorical", glyphs)
    objective = tiny.build(config)
    labels = objective.head.out_features
    tokens, width, hidden = 16, 32, 128  # 32 pixels in patches of 8; the blocks' MLP is 4 × as wide
    patches = 2 * tokens * (3 * 8 * 8) * width
    qkv_and_projection = 2 * tokens * width * (3 * width) + 2 * tokens * width * width
    attention = 2 * (2 * tokens * tokens * width)  # q·k, and attention · v, over all heads
    mlp = 2 * (2 * tokens * width * hidden)
    head = 2 * width * labels
    # Backward costs twice the forward pass, but nobody asks for the gradient of the pictures.
    expected = 3 * (patches + qkv_and_projection + attention + mlp + head) - patches
    assert flops_per_image(objective, tiny.batches(config, objective, 1)[0]) == expected


@pytest.mark.parametrize("objective", tiny.OBJECTIVES)
def test_flops_counted_on_shapes_are_those_of_the_real_step(glyphs, objective):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    config = tiny.config(objective, glyphs)
    model = tiny.build(config)
    batch = tiny.batches(config, model, 1)[0]
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        copy.deepcopy(model)(batch)["loss"].backward()
    assert flops_per_image(model, batch) == counter.get_total_flops() / config.run.batch > 0


def test_first_batches_are_those_that_training_sees(glyphs):
    config = tiny.config("contrastive", glyphs)
    objective, batches = first_batches(config, 2)
    expected = tiny.build(config)
    assert_same(dict(objective.state_dict()), dict(expected.state_dict()))
    assert_same(batches, tiny.batches(config, expected, 2))


def test_a_first_batch_that_cannot_be_read_is_the_users_error(tmp_path, glyphs):
    import io
    import tarfile

    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        for key in range(8):
            for name, data in ((f"{key}.jpg", b"no picture"), (f"{key}.json", b'{"captions": ["a cat and a dog"]}')):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    config = tiny.config("contrastive", glyphs, data={"sources": str(tmp_path / "bad.tar")})
    with pytest.raises(UserError, match="batch could not be read"):
        first_batches(config, 1)


@pytest.mark.slow
def test_peak_memory_grows_with_the_batch_and_not_with_the_process_that_asks(glyphs):
    """The ballast of this process is larger than what is measured: it must not show."""
    options = {"embed_dim": 192, "num_heads": 3, "depth": 4, "patch_size": 4}
    small, large = (tiny.config("categorical", glyphs, options=options, batch=batch) for batch in (8, 64))
    alone = peak_memory_bytes(small, CPU)
    ballast = bytearray(b"x" * 1_500_000_000)
    beside, big = peak_memory_bytes(small, CPU), peak_memory_bytes(large, CPU)
    del ballast
    parameters = sum(parameter.numel() for parameter in tiny.build(small).parameters())
    # At the least: weights, averaged weights, gradients and two moments, in float32.
    assert alone > 5 * 4 * parameters
    assert alone < 400_000_000
    assert beside == pytest.approx(alone, rel=0.25)
    assert big > 1.5 * alone


@pytest.mark.slow
def test_an_error_in_the_measuring_process_is_the_users(glyphs):
    config = tiny.config("categorical", glyphs, data={"sources": "nowhere/*.tar"})
    with pytest.raises(UserError, match="nowhere"):
        peak_memory_bytes(config, CPU)

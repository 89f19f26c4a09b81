import math

import pytest
import torch
import torch.distributed as dist

from catclip.compare import scaling
from catclip.compare.scaling import GPUS, Traffic, counted, measure_here, rank_trainer, scaling_figures, silenced
from catclip.config import MeasureConfig
from tests import tiny
from tests.ranks import on_ranks

BATCH = 4


@pytest.mark.parametrize("name", tiny.OBJECTIVES)
def test_what_two_ranks_give_by_hand(glyphs, name):
    config = tiny.config(name, glyphs, batch=BATCH)
    parameters = sum(each.numel() for each in tiny.build(config).parameters() if each.requires_grad)
    for traffic in on_ranks(2, measure_here, config, "cpu", 1):
        assert traffic.gradients == 4 * parameters
        if name == "categorical":  # nothing is gathered; what is left are a few numbers
            assert traffic.gathered == 0
            assert traffic.reduced < 200
        else:  # both towers' features, and the gradients of those of both ranks
            features = 2 * BATCH * tiny.TEXT["embed"] * 4
            assert traffic.gathered == features
            assert 2 * features <= traffic.reduced < 2 * features + 200
        assert traffic.seconds > 0


def _clocked(config):
    """What a rank makes of known times: of its steps that tell the others, and of those that do not."""
    told, silent, reduce = iter([9.0, 5.0, 6.0]), iter([4.0, 4.5, 3.0]), dist.all_reduce
    scaling._timed = lambda *_: next(told if dist.all_reduce is reduce else silent)
    return measure_here(config, "cpu", 3)


def test_communication_is_the_median_of_what_steps_take_longer(glyphs):
    for traffic in on_ranks(2, _clocked, tiny.config("categorical", glyphs, batch=BATCH)):
        assert traffic.seconds == 6
        assert traffic.communication == 3  # of 5, 0.5 and 3


def _told_in_silence(config, steps):
    """What reaches the process group in steps that tell the others nothing, and the loss of the last."""
    trainer, batch = rank_trainer(config, torch.device("cpu"), steps + 1)
    reduce, gather = dist.all_reduce, dist.all_gather
    told = []

    def all_reduce(tensor, *arguments, **options):
        told.append(tensor.dtype)
        return reduce(tensor, *arguments, **options)

    def all_gather(parts, tensor, *arguments, **options):
        told.append(tensor.dtype)
        return gather(parts, tensor, *arguments, **options)

    dist.all_reduce, dist.all_gather = all_reduce, all_gather
    with silenced(trainer):
        for _ in range(steps):
            loss = trainer.step(batch)["loss"]
    gradients = sum(each.numel() for each in trainer.objective.parameters())
    with silenced(trainer), counted(trainer) as traffic:
        trainer.step(batch)
    return told, float(loss), traffic.gradients, gradients


def _scattered(config):
    """What nccl does with the gradients of gathered features: counted, and in silence."""
    trainer, _ = rank_trainer(config, torch.device("cpu"), 1)
    parts, own = torch.arange(8.0), torch.zeros(4)
    with counted(trainer) as traffic:
        dist.reduce_scatter_tensor(own, parts)
    alone = torch.zeros(4)
    with silenced(trainer):
        dist.reduce_scatter_tensor(alone, parts)
    return traffic.reduced, own.tolist(), alone.tolist()


def test_scattered_sums_are_counted_as_a_ring_sends_them(glyphs):
    config = tiny.config("categorical", glyphs, batch=BATCH)
    for rank, (reduced, own, alone) in enumerate(on_ranks(2, _scattered, config)):
        assert reduced == 8 * 4 // 2
        assert own == [2.0 * (4 * rank + i) for i in range(4)]
        assert alone == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("name", tiny.OBJECTIVES)
def test_silenced_steps_send_counts_alone(glyphs, name):
    config = tiny.config(name, glyphs, batch=BATCH)
    for told, loss, sent, gradients in on_ranks(2, _told_in_silence, config, 2):
        assert set(told) == {torch.int64}
        assert math.isfinite(loss)
        assert sent == 0 < gradients


def test_the_model_by_hand(glyphs, monkeypatch):
    """1 MB of gradients, 0.2 MB gathered by each rank, whose gradients are 0.2 MB a rank."""
    times = {1: (0.5, 0.0), 2: (0.9, 0.2), 4: (1.6, 0.5)}  # of a step, and of it communication

    def fake(count, config, device, steps):
        return Traffic(10**6, 2 * 10**5 * count, 2 * 10**5 if count > 1 else 0, *times[count])

    monkeypatch.setattr(scaling, "measure_on", fake)

    config = tiny.config("contrastive", glyphs, batch=32)
    measure = MeasureConfig(ranks=[1, 2, 4], bandwidth=1e7)
    figures = scaling_figures({"x": config, "y": config}, torch.device("cpu"), measure)
    assert figures["scaling.ratio.y_to_x.seconds_at_2.verdict"] == "equal"
    assert figures["scaling.x.bytes_per_step_at_1"] == 0
    assert figures["scaling.x.bytes_per_step_at_2"] == pytest.approx(1.4e6 + 0.2e6)
    assert figures["scaling.x.bytes_error_at_4"] == pytest.approx(0)
    assert figures["scaling.x.communication_seconds_at_2"] == pytest.approx(0.2)
    assert figures["scaling.x.communication_seconds_at_4"] == pytest.approx(0.5)
    assert figures["scaling.x.fitted_bandwidth"] == pytest.approx(8e6)
    # On 4: 1.5 × 1.8 MB + .6 MB = 3.3 MB, at the 8 MB a second that 2 ranks had.
    assert figures["scaling.x.communication_error_at_4"] == pytest.approx(3.3 / 8 / 0.5 - 1)
    for count in GPUS:
        sent = 2 * (count - 1) / count * (1e6 + 2e5 * count) + (count - 1) * 2e5
        rate = count * 32 / (0.5 + sent / 1e7)
        assert figures[f"scaling.x.predicted_images_per_second_at_{count}"] == pytest.approx(rate)
        hours = figures[f"scaling.x.predicted_gpu_hours_per_billion_at_{count}"]
        assert hours * 3600 / count * rate == pytest.approx(1e9)

"""Several ranks train what one does."""

import json
import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch import nn

from catclip.data.micro import split_batch
from catclip.errors import UserError
from catclip.train.checkpoint import load_checkpoint, save_checkpoint
from catclip.train.distributed import (
    Shared,
    _own_buffers,
    any_rank,
    counts_of_all,
    from_all,
    is_lost,
    on_first,
    process_group,
    rank,
    ranks,
)
from catclip.train.finite import FiniteWatch
from catclip.train.trainer import Trainer
from tests import tiny
from tests.ranks import on_ranks

CPU = torch.device("cpu")
STEPS = 5
OPTIM = {"lr": 3e-3, "warmup": 2, "clip": 0.5, "ema": 0.1}


def config_of(objective: str, glyphs: Path):
    return tiny.config(objective, glyphs, options={"depth": 2}, optim=OPTIM, steps=STEPS, batch=16)


def trainer_of(objective: str, glyphs: Path, sharding: str = "ddp", micro: int | None = None) -> Trainer:
    config = config_of(objective, glyphs)
    return Trainer(tiny.build(config), config.optim, STEPS, CPU, "fp32", micro_batch=micro, sharding=sharding)


def train(trainer: Trainer, objective: str, glyphs: Path, start: int, stop: int, uneven: bool = False) -> list:
    """The loss and gradient norm of each step. A rank has its share of each batch, uneven ranks another one."""
    config = config_of(objective, glyphs)
    logged = []
    for batch in tiny.batches(config, trainer.objective, stop)[start:]:
        parts = split_batch(batch, len(batch["keys"]))
        first = len(parts) * rank() // ranks() + (uneven and rank() > 0)
        last = len(parts) * (rank() + 1) // ranks() + (uneven and rank() < ranks() - 1)
        values = trainer.step(tiny.joined(parts[first:last]))
        assert trainer.pictures == len(parts)
        logged.append([values[name].item() for name in ("loss", "grad_norm")])
    return logged


def curve(objective: str, glyphs: Path, sharding: str = "ddp", micro: int | None = None, uneven: bool = False):
    trainer = trainer_of(objective, glyphs, sharding, micro)
    logged = train(trainer, objective, glyphs, 0, STEPS, uneven)
    weights, released = trainer.weights(), trainer.evaluated()
    if rank() == 0:
        tiny.assert_same(dict(released.state_dict()), weights["ema"])
        return logged, weights
    return logged, None


def assert_same_curve(found: list, expected: tuple, norms: float = 2e-5) -> None:
    (logged, weights), (expected_logged, expected_weights) = found[0], expected
    for other, _ in found:
        assert other == logged
    for values, others, rtol in zip(
        zip(*logged, strict=True), zip(*expected_logged, strict=True), (2e-5, norms), strict=True
    ):
        torch.testing.assert_close(torch.tensor(values), torch.tensor(others), rtol=rtol, atol=1e-6)
    for kind in expected_weights:
        differences = [(weights[kind][name] - value).abs().flatten() for name, value in expected_weights[kind].items()]
        # AdamW moves a weight by the learning rate however small its gradient is, and rounding may turn that one.
        assert (torch.cat(differences) < 1e-5).float().mean() > 0.99, kind


def curves(glyphs: Path, sharding: str, micro: int | None = None, uneven: bool = False) -> list:
    return [curve(objective, glyphs, sharding, micro, uneven) for objective in tiny.EVERY_OBJECTIVE]


def assert_same_curves(found: list, expected: list) -> None:
    for index, (name, each) in enumerate(zip(tiny.EVERY_OBJECTIVE, expected, strict=True)):
        # torch sums the squares of a head of 49,406 subwords in float32, and in pieces it does so more exactly.
        norms = 1e-3 if name in ("superclass", "hybrid") else 2e-5
        assert_same_curve([curves[index] for curves in found], each, norms)


@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_two_ranks_train_as_one_does(glyphs, sharding):
    tiny.vocabulary_file(glyphs)
    tiny.words_file(glyphs)
    assert_same_curves(on_ranks(2, curves, glyphs, sharding), curves(glyphs, sharding))


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_four_uneven_ranks_in_parts_train_as_one_does(glyphs, sharding):
    tiny.vocabulary_file(glyphs)
    tiny.words_file(glyphs)
    assert_same_curves(on_ranks(4, curves, glyphs, sharding, 2, True), curves(glyphs, sharding))


def test_uneven_ranks_in_parts_train_as_one_does(glyphs):
    tiny.vocabulary_file(glyphs)
    assert_same_curve(on_ranks(2, curve, "categorical", glyphs, "fsdp", 2, True), curve("categorical", glyphs))


def test_buffers_are_left_alone_by_the_name_that_torch_has_for_it():
    class Before:
        def __init__(self, module, broadcast_buffers=True): ...

    class Since:
        def __init__(self, module, broadcast_buffers=None, forward_sync_buffers=None): ...

    assert _own_buffers(Before) == {"broadcast_buffers": False}
    assert _own_buffers(Since) == {"forward_sync_buffers": False}


def go_on(glyphs: Path, folder: Path, sharding: str, start: int, stop: int) -> list:
    trainer = trainer_of("categorical", glyphs, sharding)
    if start:
        load_checkpoint(folder / f"step-{start}", trainer)
    logged = train(trainer, "categorical", glyphs, start, stop)
    save_checkpoint(folder, trainer, {})
    return logged


def test_checkpoints_go_from_one_layout_to_another(glyphs, tmp_path):
    """DDP on 2 ranks, 1 process, FSDP on 2 ranks, 1 process: as one that never stopped."""
    expected = curve("categorical", glyphs)
    logged = on_ranks(2, go_on, glyphs, tmp_path, "ddp", 0, 1)[0]
    logged += go_on(glyphs, tmp_path, "ddp", 1, 2)
    logged += on_ranks(2, go_on, glyphs, tmp_path, "fsdp", 2, 4)[0]
    logged += go_on(glyphs, tmp_path, "ddp", 4, 5)
    last = trainer_of("categorical", glyphs)
    load_checkpoint(tmp_path / "step-5", last)
    assert_same_curve([(logged, last.weights())], expected)
    for step in range(1, 3):
        torch.load(tmp_path / f"step-{step}" / "training.pt", weights_only=True)


def drops(glyphs: Path) -> float:
    config = tiny.config("categorical", glyphs, options={"proj_drop_rate": 0.5}, steps=STEPS)
    trainer = Trainer(tiny.build(config), config.optim, STEPS, CPU, "fp32")
    trainer._seed(0)
    return torch.rand(1).item()


def test_ranks_draw_different_random_numbers(glyphs):
    tiny.vocabulary_file(glyphs)
    first, second = on_ranks(2, drops, glyphs)
    assert first != second
    assert first == drops(glyphs)


def told() -> tuple:
    mine = rank()
    return (
        on_first(lambda: f"from {rank()}"),
        from_all(mine),
        any_rank(mine == 1),
        any_rank(False),
        counts_of_all(mine + 3),
    )


def test_ranks_tell_each_other():
    expected = ("from 0", [0, 1], True, False, [3, 4])
    assert on_ranks(2, told) == [expected, expected]
    assert told() == ("from 0", [0], False, False, [3])


def not_finite(folder: Path) -> int:
    watch = FiniteWatch("run", SimpleNamespace(path=folder), allowed=1)
    watch.add(3, [f"picture {rank()}"], {"loss": torch.tensor(torch.nan), "grad_norm": torch.tensor(1.0)})
    watch.check()
    return watch.count


def test_the_pictures_of_a_step_that_is_not_finite_are_those_of_all_ranks(tmp_path):
    assert on_ranks(2, not_finite, tmp_path) == [1, 1]
    (told,) = tmp_path.iterdir()
    assert json.loads(told.read_text())["keys"] == ["picture 0", "picture 1"]


def left_alone() -> str:
    if rank() == 1:
        return "left"
    try:
        counts_of_all(1)
    except RuntimeError as error:
        return "lost" if is_lost(error) else repr(error)
    return "nothing"


def test_that_another_rank_is_gone_is_known(tmp_path):
    assert on_ranks(2, left_alone) == ["lost", "left"]


def gloo_threads() -> set[str]:
    tasks = Path("/proc/self/task")
    return {task.name for task in tasks.iterdir() if (task / "comm").read_text() == "pt_gloo_runloop\n"}


def left_behind() -> tuple[bool, set[str]]:
    """What there was, and what is left, of the threads by which ranks tell each other, after a step of FSDP."""
    rendezvous = {"WORLD_SIZE": ranks(), "RANK": rank(), "MASTER_ADDR": "localhost", "MASTER_PORT": free_port()}
    dist.destroy_process_group()
    os.environ |= {key: str(value) for key, value in rendezvous.items()}
    with process_group():
        on_first(dict)
        threads = gloo_threads()
        model = nn.Linear(4, 4)
        shared = Shared(model, "fsdp")
        shared(lambda: model(torch.ones(2, 4))).sum().backward()
    return bool(threads), threads & gloo_threads()


def free_port() -> int:
    """One that all ranks agree on."""

    def choose() -> int:
        with socket.socket() as found:
            found.bind(("localhost", 0))
            return found.getsockname()[1]

    return on_first(choose)


def test_no_thread_that_ranks_talked_by_is_left_when_python_ends():
    """One that lets go of a tensor then aborts the process; torch keeps what FSDP was given."""
    assert on_ranks(2, left_behind) == [(True, set())] * 2


def failing() -> str:
    def work() -> None:
        raise UserError("the disk is full")

    try:
        on_first(work)
    except (UserError, SystemExit) as error:
        return repr(error)
    return "nothing"


def test_what_fails_on_the_first_rank_ends_the_others_quietly():
    assert on_ranks(2, failing) == ["UserError('the disk is full')", "SystemExit(2)"]
    assert failing() == "UserError('the disk is full')"


def unreadable(glyphs: Path) -> str:
    trainer = trainer_of("categorical", glyphs, "fsdp", micro=2)
    batch = tiny.batches(config_of("categorical", glyphs), trainer.objective, 1)[0]
    parts = split_batch(batch, len(batch["keys"]))
    try:
        trainer.step(tiny.joined(parts[1:] if dist.get_rank() == 0 else parts[:1]))
    except UserError as error:
        return str(error)
    return ""


def test_a_rank_with_too_few_pictures_is_said_on_all(glyphs):
    tiny.vocabulary_file(glyphs)
    for said in on_ranks(2, unreadable, glyphs):
        assert "only 1 pictures could be read, too few for 8 parts" in said

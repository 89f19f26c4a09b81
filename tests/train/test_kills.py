"""Killed by the system wherever it writes, or at any other time, a run must end as if nothing had happened."""

import multiprocessing
import os
import random
import signal
import sys
import time
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest

from catclip.config import PretrainConfig
from catclip.verbs.training import train
from tests import tiny
from tests.tiny import assert_same
from tests.train.test_fit import final

# A process of it starts at once: what takes seconds to import is there.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["catclip.verbs.training", "catclip.objectives.categorical", "tests.tiny"])
_WRITES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}


def attempt(config: PretrainConfig, out: Path, kill_at: int, counted: str) -> None:
    """Train, and be killed at the nth time that something is opened, made, moved or removed in the run folder."""
    memory, inside = SharedMemory(counted), f"{out}{os.sep}"

    def count(event: str, arguments: tuple[object, ...]) -> None:
        if event in _WRITES and str(arguments[0]).startswith(inside):
            number = int.from_bytes(memory.buf[:4], "little") + 1
            memory.buf[:4] = number.to_bytes(4, "little")
            if number == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    train({"run": config}, {"run": out}, "training")


def run(config: PretrainConfig, out: Path, kill_at: int = 0, kill_after: float | None = None) -> tuple[int | None, int]:
    """Its exit code, and how often it wrote."""
    memory = SharedMemory(create=True, size=4)
    try:
        process = SERVER.Process(target=attempt, args=(config, out, kill_at, memory.name))
        process.start()
        if kill_after is not None:
            time.sleep(kill_after)
            process.kill()
        process.join(300)
        return process.exitcode, int.from_bytes(memory.buf[:4], "little")
    finally:
        memory.close()
        memory.unlink()


def config_for(glyphs: Path) -> PretrainConfig:
    return tiny.config("categorical", glyphs, data={"val": str(glyphs / "val-*.tar")}, optim={"ema": 0.1}, steps=6,
                       options={"proj_drop_rate": 0.2}, checkpoint_every=2, keep=1, evaluate_every="50%")  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(glyphs, tmp_path_factory):
    """Configuration, result, and how often it wrote."""
    out, config = tmp_path_factory.mktemp("whole") / "run", config_for(glyphs)
    code, writes = run(config, out)
    assert code == 0
    return config, final(out), writes


def goes_on_until_done(config: PretrainConfig, out: Path, kills: list[dict]) -> None:
    for kill in kills:
        code, _ = run(config, out, **kill)
        assert code in (0, -signal.SIGKILL)
        if code == 0:
            return
    assert run(config, out)[0] == 0


def test_killed_where_it_writes_it_ends_the_same(uninterrupted, tmp_path):
    config, expected, writes = uninterrupted
    assert writes > 40  # or they are not counted
    points = random.Random(1).sample(range(1, writes), 3)
    goes_on_until_done(config, tmp_path / "run", [{"kill_at": point} for point in points])
    assert_same(final(tmp_path / "run"), expected)


@pytest.mark.slow
def test_killed_once_at_every_third_write_it_ends_the_same(uninterrupted, tmp_path):
    config, expected, writes = uninterrupted
    for point in range(1, writes + 1, 3):
        goes_on_until_done(config, tmp_path / str(point), [{"kill_at": point}])
        assert_same(final(tmp_path / str(point)), expected)


@pytest.mark.slow
def test_killed_again_and_again_at_any_time_it_ends_the_same(uninterrupted, tmp_path):
    config, expected, _ = uninterrupted
    chance = random.Random(2)
    for attempt_number in range(5):
        out = tmp_path / str(attempt_number)
        goes_on_until_done(config, out, [{"kill_after": chance.uniform(0, 3)} for _ in range(6)])
        assert_same(final(out), expected)

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from catclip.compare.step import first_batches, peak_memory_bytes
from catclip.errors import UserError
from tests import tiny
from tests.tiny import assert_same

CPU = torch.device("cpu")


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


def test_a_measuring_process_ends_with_one_that_is_killed(tmp_path):
    written = tmp_path / "pid"
    script = f"""
import os, time
from pathlib import Path
from catclip.compare.step import in_fresh_process

def measure():
    Path({str(written)!r}).write_text(f"{{os.getpid()}} ")
    time.sleep(600)

if __name__ == "__main__":
    in_fresh_process(measure)
"""
    (tmp_path / "main.py").write_text(script)
    parent = subprocess.Popen([sys.executable, str(tmp_path / "main.py")])
    assert soon(lambda: written.exists() and written.read_text().endswith(" "))
    parent.kill()
    parent.wait()
    pid = int(written.read_text())
    try:
        assert soon(lambda: not Path(f"/proc/{pid}").exists())
    finally:
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)


def soon(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 120
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


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

"""`catclip pretrain` under torchrun."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from catclip.train.checkpoint import list_checkpoints
from catclip.train.folder import load_objective
from catclip.train.track import read_metrics
from tests import tiny

ROOT = Path(__file__).resolve().parents[2]


ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def arguments(glyphs: Path, **changes: object) -> list[str]:
    """Of a tiny run; keyword arguments are keys of `run`."""
    settings = {"batch": 8, "device": "cpu", "precision": "fp32", "evaluate_every": "null"} | changes
    given = [
        "pretrain", f"data.sources={glyphs}/train-*.tar", "data.caption_key=json.captions", "data.captions=all",
        f"data.val={glyphs}/val-*.tar", f"data.vocabulary={tiny.vocabulary_file(glyphs)}", "data.workers=0",
        *tiny.BACKBONE_ARGUMENTS, "++backbone.options.depth=2", "track.log_every=1", "optim.warmup=0",
        *(f"run.{key}={value}" for key, value in settings.items()),
    ]  # fmt: skip
    return list({each.partition("=")[0]: each for each in given}.values())


def torchrun(glyphs: Path, cwd: Path, **changes: object) -> subprocess.Popen:
    """Start two ranks; keyword arguments are keys of `run`."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "catclip"]
    return subprocess.Popen(
        launcher + arguments(glyphs, **changes), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=ENVIRONMENT,
    )  # fmt: skip


def test_two_ranks_leave_one_run_folder(glyphs, tmp_path):
    """Named after the time by one of them; with figures of the global batch, said once."""
    process = torchrun(glyphs, tmp_path, steps=3, evaluate_every=3, sharding="fsdp")
    said, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert said.count("Run folder:") == said.count("Done: 24 pictures") == 1, said
    assert "2 ranks (fsdp)" in " ".join(said.split())
    (folder,) = (tmp_path / "runs" / "pretrain").iterdir()
    rows = read_metrics(folder / "metrics.jsonl")
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3]
    assert [row["samples"] for row in rows if "loss" in row] == [8, 16, 24]
    assert [row["step"] for row in rows if "map" in row] == [0, 3]
    assert json.loads((folder / "summary.json").read_text())["samples"] == 24
    load_objective(folder)


@pytest.mark.slow
def test_a_signal_to_one_rank_stops_all_after_the_same_step_and_they_resume(glyphs, tmp_path):
    out = tmp_path / "run"
    process = torchrun(glyphs, tmp_path, out=out, steps=100000)
    deadline = time.monotonic() + 200
    while not read_metrics(out / "metrics.jsonl") and time.monotonic() < deadline:
        time.sleep(0.2)
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    os.kill(int(children.stdout.split()[-1]), signal.SIGUSR1)
    said, errors = process.communicate(timeout=200)
    assert "Stopped by" in said, errors
    (checkpoint,) = list_checkpoints(out / "checkpoints")
    assert len(read_metrics(out / "metrics.jsonl")) == int(checkpoint.name.removeprefix("step-"))


@pytest.mark.slow
def test_ranks_that_slurm_starts_exit_as_one_process_does(glyphs, tmp_path):
    """As docs/pretraining.md has it: without torchrun, by the variables that it would set."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    out, common = tmp_path / "run", {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    tasks = [
        subprocess.Popen(
            [sys.executable, "-m", "catclip", *arguments(glyphs, out=out, steps=100000)], cwd=tmp_path,
            env=ENVIRONMENT | common | {"RANK": str(number), "LOCAL_RANK": str(number)},
        )
        for number in range(2)
    ]  # fmt: skip
    deadline = time.monotonic() + 200
    while not read_metrics(out / "metrics.jsonl") and time.monotonic() < deadline:
        time.sleep(0.2)
    for task in tasks:
        task.send_signal(signal.SIGUSR1)
    assert [task.wait(200) for task in tasks] == [75, 75]
    assert len(list_checkpoints(out / "checkpoints")) == 1


def test_a_batch_that_the_ranks_cannot_share_is_refused(glyphs, tmp_path):
    process = torchrun(glyphs, tmp_path, out=tmp_path / "run", steps=3, batch=7)
    _, errors = process.communicate(timeout=240)
    assert process.returncode != 0
    assert errors.count("run.batch=7 must be a multiple of the ranks, of which there are 2") == 1
    assert not (tmp_path / "run").exists()

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from catclip.errors import UserError
from catclip.train.checkpoint import list_checkpoints
from catclip.train.track import read_metrics
from catclip.verbs import pretrain
from tests import tiny
from tests.tiny import assert_same


def config_for(glyphs: Path, out: Path, **changes):
    return tiny.config("categorical", glyphs, out=str(out), **changes)


def test_a_run_of_a_few_steps_ends_with_its_figures(glyphs, tmp_path, capsys):
    """It has no throughput to speak of: the first steps are left out."""
    data = {"val": str(glyphs / "val-*.tar")}
    pretrain.run(config_for(glyphs, tmp_path / "run", data=data, steps=2, evaluate_every="100%"))
    said = capsys.readouterr().out
    assert "Done: 16 pictures" in said
    assert "images/s" not in said
    assert "mAP 0." in said
    assert (tmp_path / "run" / "summary.json").exists()


def test_a_longer_run_says_how_fast_it_was(glyphs, tmp_path, capsys):
    pretrain.run(config_for(glyphs, tmp_path / "run", steps=12))
    said = " ".join(capsys.readouterr().out.split())
    assert " images/s, " in said
    assert "% of it waiting for data" in said


def test_a_batch_of_more_than_an_epoch_is_said(glyphs, tmp_path, capsys):
    pretrain.run(config_for(glyphs, tmp_path / "run", steps=1, batch=50))
    said = " ".join(capsys.readouterr().out.split())
    assert "A batch of 50 is more than an epoch's 48 samples" in said
    assert "1 step on 48 pairs" in said


def test_a_damaged_shard_is_named_as_it_is(glyphs, tmp_path, capsys):
    shards = tmp_path / "web [red]"
    shards.mkdir()
    shutil.copy(glyphs / "train-00000.tar", shards)
    (shards / "page.tar").write_bytes(b"<html>404</html>")
    pretrain.run(config_for(glyphs, tmp_path / "run", data={"sources": str(shards)}, steps=1))
    said = "".join(capsys.readouterr().out.split())
    assert "web[red]/page.tar:notar:itbeginslikeawebpage;itgives0samples." in said


def test_a_done_run_is_left_as_it_is(glyphs, tmp_path, capsys):
    config = config_for(glyphs, tmp_path / "run", steps=2)
    pretrain.run(config)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    capsys.readouterr()
    pretrain.run(config)
    assert "is done already: see its summary.json" in " ".join(capsys.readouterr().out.split())
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before
    with pytest.raises(UserError, match=r"run\.batch was 8, is now 4"):
        pretrain.run(config_for(glyphs, tmp_path / "run", steps=2, batch=4))


def test_a_folder_in_which_another_process_trains_is_refused(glyphs, tmp_path):
    config = config_for(glyphs, tmp_path / "run")
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys; from pathlib import Path; from catclip.files import locked\n"
         "with locked(Path(sys.argv[1]), 'trains in'): print(1, flush=True); sys.stdin.read()", tmp_path / "run"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(UserError, match=r"Another process trains in .*run\. Wait for it"):
        pretrain.run(config)
    assert list((tmp_path / "run").iterdir()) == []
    holder.kill()  # the lock is gone with the process that held it
    holder.communicate()
    pretrain.run(config)
    assert (tmp_path / "run" / "summary.json").exists()


def test_a_folder_name_with_brackets_is_shown_as_it_is(glyphs, tmp_path, capsys):
    pretrain.run(config_for(glyphs, tmp_path / "a[red]b[/x]", steps=1))
    said = capsys.readouterr().out
    assert said.replace("\n", "").count("a[red]b[/x]") == 2
    assert re.search(r"^Done: 8 pictures in \d+ s\.$", said, re.MULTILINE)


def test_a_refused_run_names_no_folder(glyphs, tmp_path, capsys):
    with pytest.raises(UserError, match="nowhere"):
        pretrain.run(config_for(glyphs, tmp_path / "run", data={"sources": str(tmp_path / "nowhere-*.tar")}))
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------- as a process that is stopped


def command(glyphs: Path, out: Path, steps: int, *more: str) -> list[str]:
    script = Path(sys.executable).parent / "catclip"
    if not script.exists():
        pytest.skip("catclip is not installed as a script")
    return [
        str(script), "pretrain", "data=glyphs", f"data.sources={glyphs}/train-*.tar", "data.probe=null",
        f"data.val={glyphs}/val-*.tar", f"data.vocabulary={tiny.vocabulary_file(glyphs)}", "data.workers=1",
        *tiny.BACKBONE_ARGUMENTS, "++backbone.options.drop_path_rate=0.2", "run.batch=8", f"run.steps={steps}",
        "run.precision=bf16", "run.device=cpu", "run.evaluate_every=33.4%", "run.checkpoint_every=7",
        "track.log_every=1", f"run.out={out}", *more,
    ]  # fmt: skip


def wait_until(condition, process: subprocess.Popen, seconds: float = 120) -> None:
    """Poll until a condition holds or the process has ended."""
    deadline = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def rows(out: Path) -> int:
    return len(read_metrics(out / "metrics.jsonl"))


@pytest.mark.parametrize(
    ("number", "to_the_group"),
    [
        (signal.SIGTERM, False),
        pytest.param(signal.SIGINT, True, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, True, marks=pytest.mark.slow),
        pytest.param(signal.SIGUSR1, False, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_a_run_with_75_and_a_checkpoint(glyphs, tmp_path, number, to_the_group):
    """To the whole group, as a terminal's Ctrl-C and a cluster's scheduler send it: the loader's workers get it too."""
    out = tmp_path / "run"
    process = subprocess.Popen(
        command(glyphs, out, 100_000), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        wait_until(lambda: rows(out) > 5, process)
        os.killpg(process.pid, number) if to_the_group else process.send_signal(number)
        said, complained = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
    assert process.returncode == 75, complained
    assert complained == ""
    last = list_checkpoints(out / "checkpoints")[-1]
    step = int(last.name.removeprefix("step-"))
    assert f"Stopped by {signal.Signals(number).name} after step {step}. " in said
    assert f"run.out={out}" in said.replace("\n", "")
    assert read_metrics(out / "metrics.jsonl")[-1]["step"] == step
    assert json.loads((last / "state.json").read_text())["total"]["samples"] == 8 * step
    assert not (out / "summary.json").exists()


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_if_nothing_had_happened(glyphs, tmp_path):
    """SIGKILL at random moments: at the start, between steps, while a checkpoint is written, while it evaluates."""
    steps, rng = 45, random.Random(0)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(glyphs, whole, steps), check=True, capture_output=True)
    kills = 0
    while not (broken / "summary.json").exists():
        process = subprocess.Popen(command(glyphs, broken, steps), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if kills < 4:
            have, more = rows(broken), rng.randrange(0, 16)
            wait_until(lambda: rows(broken) > have + more or rows(broken) < have, process)  # noqa: B023
            time.sleep(rng.random() * 0.05)
            kills += process.poll() is None
            process.kill()
            process.communicate()
        else:
            _, complained = process.communicate()
            assert process.returncode == 0, complained.decode()
    assert kills >= 3
    for weights in ("last", "ema"):
        file = f"checkpoints/step-{steps}/{weights}.safetensors"
        assert_same(load_file(broken / file), load_file(whole / file))
    seen = [
        [(row["step"], row.get("loss"), row.get("map")) for row in read_metrics(out / "metrics.jsonl")]
        for out in (whole, broken)
    ]
    assert seen[0] == seen[1]
    assert len([row for row in seen[0] if row[1] is not None]) == steps

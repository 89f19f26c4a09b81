"""`catclip data pack` on the command line: what it says, and that it may be stopped and killed."""

import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from catclip.captions import Vocabulary
from catclip.config import PackConfig
from catclip.data.packing import pack
from catclip.verbs import data_pack
from tests.data.making import encode, picture

PICTURES, SHARD_SIZE = 36, 3
# The command line, slow enough to be caught at work.
DRIVER = """
import time

import catclip.data.packing.shard as shard
from catclip.cli import main

prepare = shard.prepare

def prepare_slowly(data, size):
    time.sleep(0.02)
    with open("prepared", "ab") as file:
        file.write(b"x")
    return prepare(data, size)

shard.prepare = prepare_slowly
if __name__ == "__main__":
    main()
"""
OPTIONS = ["captions=captions.tsv", f"shard_size={SHARD_SIZE}"]


@pytest.fixture
def place(tmp_path):
    """A folder of pictures, a table of captions, and the driver."""
    lines = ["image\tcaption"]
    (tmp_path / "in").mkdir()
    for number in range(PICTURES):
        (tmp_path / "in" / f"{number}.jpg").write_bytes(encode(picture(number)))
        lines += [f"{number}.jpg\ta dog", f"{number}.jpg\ta cat on a couch"]
    (tmp_path / "captions.tsv").write_text("\n".join(lines))
    (tmp_path / "driver.py").write_text(DRIVER)
    return tmp_path


def packing(place: Path, **options) -> PackConfig:
    files = {"data": str(place / "in"), "captions": str(place / "captions.tsv")}
    return PackConfig(**files | {"shard_size": SHARD_SIZE, "workers": 1} | options)


def start(place: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "driver.py", "data", "pack", "data=in", *OPTIONS, *more]
    return subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_shards(process: subprocess.Popen, folder: Path, more: int) -> None:
    """Wait until `more` shards are done than now."""
    goal = done(folder) + more
    while done(folder) < goal and process.poll() is None:
        time.sleep(0.002)


def done(folder: Path) -> int:
    journal = folder / "pack.jsonl"
    return journal.read_bytes().count(b'"shard"') if journal.exists() else 0


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("workers", "kills"), [(1, 2), pytest.param(2, 4, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_ends_with_the_same_files(place, workers, kills):
    pack(packing(place, out=str(place / "whole")))
    chance = random.Random(0)
    for _ in range(kills):
        process = start(place, "out=killed", f"workers={workers}")
        wait_for_shards(process, place / "killed", chance.randrange(1, 3))
        time.sleep(chance.random() * 0.1)
        process.kill()
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
    packed = pack(packing(place, out=str(place / "killed")))
    assert packed.kept >= kills
    assert contents(place / "killed") == contents(place / "whole")
    # Only what was under way was done again.
    assert (place / "prepared").stat().st_size <= (packed.kept + 2 * kills * workers) * SHARD_SIZE


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGTERM, 1), pytest.param(signal.SIGINT, 2, marks=pytest.mark.slow)]
)
def test_a_signal_ends_it_cleanly(place, number, workers):
    process = start(place, "out=out", f"workers={workers}")
    wait_for_shards(process, place / "out", 2)
    os.kill(process.pid, number)
    said, complained = process.communicate(timeout=60)
    assert process.returncode == 75
    assert said == ""
    assert (
        complained
        == f"Stopped by {signal.Signals(number).name}. The same command goes on after the last whole shard.\n"
    )
    assert all(name.endswith((".tar", ".parquet", ".jsonl")) and name[0] != "." for name in contents(place / "out"))
    assert pack(packing(place, out=str(place / "out"))).kept >= 2


def test_it_sums_up_and_says_how_to_go_on(place, capsys, monkeypatch):
    monkeypatch.chdir(place)
    (place / "in" / "silent.jpg").write_bytes(b"")
    config = PackConfig(data="in", captions="captions.tsv", out="my shards", shard_size=10, max_bad=0.1, workers=1)
    data_pack.run(config)
    said = capsys.readouterr().out
    skipped = "Skipped 1 of 37 pictures (2.70%): no caption: 1. They are listed in my shards/skipped.tsv."
    assert skipped in said
    assert "s: 36 samples in 4 shards (" in said
    assert "2.00 captions a sample: my shards/00000.tar …\n" in said
    *_, vocab, pretrain = said.splitlines()
    several = "data.caption_key=json.captions data.captions=all"
    assert vocab == f"  catclip vocab data.sources='my shards/{{00000..00002}}.tar' {several} out=vocab.tsv"
    assert shlex.split(pretrain)[-1] == "data.val=my shards/00003.tar"
    program = [sys.executable, "-c", "from catclip.cli import main; main()"]
    subprocess.run([*program, *shlex.split(vocab)[1:], "tau=1"], check=True, capture_output=True)
    assert Vocabulary.load("vocab.tsv").counts == [27, 27, 27]  # dog, cat, couch, but for the shard held out
    data_pack.run(config)
    again = capsys.readouterr().out
    assert again.startswith(f"{skipped}\n4 shards had been packed so before.\nThere are 36 samples in 4 shards")


@pytest.mark.parametrize(
    ("options", "sources"),
    [({"shard_size": 1000}, "out/00000.tar"), ({"shard_size": 12, "shuffle": False}, "'out/{00000..00002}.tar'")],
)
def test_nothing_is_held_out_where_it_would_be_no_fair_sample(place, capsys, monkeypatch, options, sources):
    monkeypatch.chdir(place)
    data_pack.run(packing(place, out="out", **options))
    said = capsys.readouterr().out
    assert f"catclip pretrain data.sources={sources} " in said
    assert "data.val" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "data is required: give it as data=…"),
        (["data=in", "captions=nowhere.csv"], "captions=nowhere.csv is no file"),
        (["caption=x"], "There is no key 'caption'."),
    ],
)
def test_wrong_input_is_said_in_a_line(place, arguments, message):
    program = [sys.executable, "-c", "from catclip.cli import main; main()"]
    done = subprocess.run([*program, "data", "pack", *arguments], cwd=place, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"catclip: {message}")
    assert done.stderr.count("\n") == 1
    assert not (place / "shards").exists()

"""`catclip vocab` killed, stopped, started twice, and bereft of its processes."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# The command line, with small parts, and slow enough to be caught at work.
DRIVER = """
import time
import catclip.captions.counting.counter
from catclip.captions.extract import SynsetExtractor
from catclip.cli import main

catclip.captions.counting.counter.PART_SIZE = 400
label_column = SynsetExtractor.label_column

def label_slowly(self, captions):
    time.sleep(0.01)
    with open("labelled", "ab") as file:
        file.write(b"x" * len(captions))
    return label_column(self, captions)

SynsetExtractor.label_column = label_slowly
if __name__ == "__main__":
    main()
"""
CAPTIONS = [f"a {color} {noun} and {n} cats" for n in range(2, 9) for noun in ("dog", "couch", "zebra")
            for color in ("red", "blue", "old")] * 20  # fmt: skip
PART_CAPTIONS = 20  # no more are in a part


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "driver.py").write_text(DRIVER)
    (tmp_path / "captions.txt").write_text("".join(f"{caption}\n" for caption in CAPTIONS))
    return tmp_path


def start(corpus: Path, *more: str) -> subprocess.Popen:
    sources = [] if any(each.startswith("data.sources=") for each in more) else ["data.sources=captions.txt"]
    command = [sys.executable, "driver.py", "vocab", *sources, "tau=1", *more]
    return subprocess.Popen(command, cwd=corpus, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> tuple[int, str]:
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def wait_for_parts(process: subprocess.Popen, folder: Path, more: int) -> None:
    """Wait until `more` parts than now are kept."""
    goal = kept(folder) + more
    while kept(folder) < goal and process.poll() is None:
        time.sleep(0.002)


def kept(folder: Path) -> int:
    return len(list(folder.glob("part-*.npz")))


def wait(until, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    """Counting processes; multiprocessing's resource tracker is none."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            tracker = b"resource_tracker" in path.with_name("cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid and not tracker:
            found.append(int(path.parent.name))
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(("workers", "kills"), [(1, 2), pytest.param(2, 6, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_ends_with_the_same_vocabulary(corpus, workers, kills):
    assert finish(start(corpus, f"workers={workers}", "out=whole.tsv")) == (0, "")
    (corpus / "labelled").unlink()
    folder = corpus / "killed.tsv.parts"
    chance = random.Random(0)
    for _ in range(kills):
        process = start(corpus, f"workers={workers}", "out=killed.tsv")
        wait_for_parts(process, folder, chance.randrange(1, 8))
        time.sleep(chance.random() * 0.02)
        process.kill()
        assert finish(process)[0] == -signal.SIGKILL
    assert kept(folder) >= kills
    assert finish(start(corpus, f"workers={workers}", "out=killed.tsv")) == (0, "")
    assert (corpus / "killed.tsv").read_bytes() == (corpus / "whole.tsv").read_bytes()
    assert not folder.exists()
    # Only what was under way was done again: a part of each process, and one that was done but not kept yet.
    again = (corpus / "labelled").stat().st_size - len(CAPTIONS)
    assert again <= kills * 2 * workers * PART_CAPTIONS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(corpus, number):
    process = start(corpus, "workers=2", "out=vocab.tsv")
    wait_for_parts(process, corpus / "vocab.tsv.parts", 2)
    team = children(process.pid)
    assert len(team) == 2
    # A terminal sends it to all.
    for pid in (*team, process.pid):
        os.kill(pid, number)
    code, said = finish(process)
    assert code == 75
    assert said.startswith(f"Stopped by {signal.Signals(number).name}. What was counted is kept in vocab.tsv.parts: ")
    assert said.count("\n") == 1
    wait(lambda: not any(map(is_alive, team)))
    assert not (corpus / "vocab.tsv").exists()


def test_processes_end_with_their_parent(corpus):
    process = start(corpus, "workers=2", "out=vocab.tsv")
    wait_for_parts(process, corpus / "vocab.tsv.parts", 1)
    team = children(process.pid)
    assert len(team) == 2
    process.kill()
    finish(process)
    wait(lambda: not any(map(is_alive, team)))


def test_a_process_that_is_killed_is_told(corpus):
    process = start(corpus, "workers=2", "out=vocab.tsv")
    wait_for_parts(process, corpus / "vocab.tsv.parts", 1)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    code, said = finish(process)
    assert code == 2
    assert "memory ran out. Give fewer workers" in said
    assert "What was counted is kept in vocab.tsv.parts" in said
    assert said.count("\n") == 1


def test_two_at_once_do_not_count_into_the_same_file(corpus):
    first = start(corpus, "workers=1", "out=vocab.tsv")
    wait_for_parts(first, corpus / "vocab.tsv.parts", 1)
    code, said = finish(start(corpus, "workers=1", "out=vocab.tsv"))
    assert code == 2
    assert "Another process counts into vocab.tsv.parts" in said
    assert finish(first) == (0, "")
    assert (corpus / "vocab.tsv").exists()


def test_what_is_wrong_with_a_file_comes_out_of_the_processes(corpus):
    (corpus / "more.csv").write_text("a,b\n1,2\n")
    code, said = finish(start(corpus, "data.sources=[captions.txt,more.csv]", "workers=2"))
    assert code == 2
    assert "more.csv has no column" in said
    assert "Traceback" not in said

"""`catclip label` on the command line: what it says, without torch, stopped and killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from catclip.captions import SynsetExtractor, Vocabulary
from catclip.config import DataConfig, LabelConfig, VocabularysCaptionsConfig
from catclip.errors import UserError
from catclip.verbs import label
from tests import tiny
from tests.data.making import sample, write_shard

SHARDS = 12
# The command line, without torch, and slow enough to be caught at work.
DRIVER = """
import sys
import time

sys.modules["torch"] = None

from catclip.captions.extract import SynsetExtractor
from catclip.cli import main

label_column = SynsetExtractor.label_column

def label_slowly(self, captions):
    time.sleep(0.05)
    with open("labelled", "ab") as file:
        file.write(b"x")
    return label_column(self, captions)

SynsetExtractor.label_column = label_slowly
if __name__ == "__main__":
    main()
"""


@pytest.fixture
def corpus(tmp_path):
    """Shards of two samples each, and their vocabulary."""
    nouns = ["dog", "cat", "zebra", "couch"]
    extractor = SynsetExtractor()
    made = {"rule": "default", "tagger": "lexicon", "sense": "visual"}
    Vocabulary.from_counts({extractor(f"a {noun}")[0]: 5 for noun in nouns}, made).save(tmp_path / "vocab.tsv")
    chance = random.Random(0)
    for shard in range(SHARDS):
        captions = [f"a {chance.choice(nouns)} and a {chance.choice(nouns)}" for _ in range(2)]
        write_shard(tmp_path / f"{shard:02}.tar", *(sample(f"{shard}-{i}", text) for i, text in enumerate(captions)))
    (tmp_path / "driver.py").write_text(DRIVER)
    return tmp_path


def start(corpus: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "driver.py", "label", "data.sources=*.tar", "data.vocabulary=vocab.tsv", *more]
    return subprocess.Popen(command, cwd=corpus, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    said, complained = process.communicate(timeout=120)
    return process.returncode, said, complained


def wait_for_files(process: subprocess.Popen, folder: Path, more: int) -> None:
    """Wait until there are `more` label files than now."""
    goal = len(list(folder.glob("*.labels.parquet"))) + more
    while len(list(folder.glob("*.labels.parquet"))) < goal and process.poll() is None:
        time.sleep(0.002)


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("workers", "kills"), [(1, 2), pytest.param(2, 4, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_ends_with_the_same_files(corpus, workers, kills):
    code, _, complained = finish(start(corpus, "workers=1", "out=whole"))
    assert (code, complained) == (0, "")
    (corpus / "labelled").unlink()
    (corpus / "killed").mkdir()
    chance = random.Random(0)
    for _ in range(kills):
        process = start(corpus, f"workers={workers}", "out=killed")
        wait_for_files(process, corpus / "killed", chance.randrange(1, 3))
        time.sleep(chance.random() * 0.05)
        process.kill()
        assert finish(process)[0] == -signal.SIGKILL
    code, said, complained = finish(start(corpus, f"workers={workers}", "out=killed"))
    assert (code, complained) == (0, "")
    assert "had been labelled so before" in said
    assert contents(corpus / "killed") == contents(corpus / "whole")
    # Only what was under way was done again.
    assert (corpus / "labelled").stat().st_size <= SHARDS + kills * workers


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGINT, 1), pytest.param(signal.SIGTERM, 2, marks=pytest.mark.slow)]
)
def test_a_signal_ends_it_cleanly(corpus, number, workers):
    (corpus / "out").mkdir()
    process = start(corpus, f"workers={workers}", "out=out")
    wait_for_files(process, corpus / "out", 2)
    os.kill(process.pid, number)
    code, _, complained = finish(process)
    assert code == 75
    name = signal.Signals(number).name
    assert complained == f"Stopped by {name}. The same command goes on after the last whole label file.\n"
    left = contents(corpus / "out")
    assert 2 <= len(left) < SHARDS
    assert all(file.endswith(".labels.parquet") and not file.startswith(".") for file in left)


# ---- what it says ---------------------------------------------------------------------------------------------------


@pytest.fixture
def say(corpus, capsys, monkeypatch):
    monkeypatch.chdir(corpus)

    def labelled(**changes):
        data = {"sources": "*.tar", "vocabulary": "vocab.tsv"} | changes.pop("data", {})
        label.run(LabelConfig(data=DataConfig(**data), workers=1, **changes))
        return capsys.readouterr().out

    return labelled


def test_it_sums_up(say, corpus):
    write_shard(corpus / "99.tar", sample("x", ""), sample("y", "the weather"))
    said = say(data={"max_bad": 0.5})
    assert "1 of 26 samples have no caption (3.85%): empty caption: 1." in said
    assert "Labelled 26 samples in " in said
    assert "4.0% of them have none" in said
    assert "Wrote 13 label files: 00.labels.parquet …" in said
    assert say(data={"max_bad": 0.5}) == "13 label files had been labelled so before.\n"


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("rule=reference", {"rule": "reference"}),
        ("captions.tagger=nltk", {"captions": VocabularysCaptionsConfig(tagger="nltk")}),
        ("captions.sense=first", {"captions": VocabularysCaptionsConfig(sense="first")}),
    ],
)
def test_another_extraction_than_the_vocabularys_is_refused(say, key, changes):
    with pytest.raises(UserError, match=f"^{key}, but vocab.tsv was made with .* build a vocabulary: .* {key}$"):
        say(**changes)


def test_the_vocabularys_extraction_may_be_named(say):
    assert "Wrote 12" in say(rule="default", captions=VocabularysCaptionsConfig("lexicon", "visual"))


def test_labels_need_a_vocabulary(say):
    with pytest.raises(UserError, match=r"give data\.vocabulary=FILE"):
        say(data={"vocabulary": None})


def test_an_explanation_is_by_default_the_vocabularys(say, corpus):
    vocabulary = Vocabulary.load(corpus / "vocab.tsv")
    made = vocabulary.metadata | {"tagger": "none", "sense": "first"}
    Vocabulary(vocabulary.wnids, vocabulary.names, vocabulary.counts, made).save(corpus / "other.tsv")
    said = say(explain="a dog", data={"sources": None, "vocabulary": "other.tsv"})
    assert "captions.tagger=none, captions.sense=first" in said
    assert "made otherwise" not in said


@pytest.mark.slow
def test_pretraining_uses_the_labels(glyphs, tmp_path):
    """The command line end to end: label, train, and the refusal where the labels do not fit."""
    sources = f"data.sources={glyphs}/train-*.tar"
    data = [sources, f"data.vocabulary={tiny.vocabulary_file(glyphs)}", "data.caption_key=json.captions"]
    program = [sys.executable, "-c", "from catclip.cli import main; main()"]
    labelling = [*program, "label", *data, "data.captions=all", f"out={tmp_path / 'labels'}", "workers=1"]
    subprocess.run(labelling, check=True, capture_output=True)
    run = [
        "run.steps=2",
        "run.batch=4",
        "run.precision=fp32",
        "run.device=cpu",
        "run.evaluate_every=null",
        "data.workers=0",
    ]
    training = [*program, "pretrain", *data, *tiny.BACKBONE_ARGUMENTS, *run, f"data.labels={tmp_path / 'labels'}"]
    done = subprocess.run(
        [*training, "data.captions=all", f"run.out={tmp_path / 'run'}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    refused = subprocess.run(
        [*training, "data.captions=first", f"run.out={tmp_path / 'no'}"], capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert "data.captions was all, is first" in refused.stderr
    assert refused.stderr.count("\n") == 1

"""The verbs that need no run: doctor, data glyphs, vocab; and the whole road through the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from catclip.captions import Vocabulary
from catclip.config import CaptionsConfig, DataConfig, DoctorConfig, GlyphsConfig, VocabConfig
from catclip.errors import UserError
from catclip.verbs import data_glyphs, doctor, vocab
from tests import tiny


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_doctor_says_what_is_here(capsys):
    import torch

    doctor.run(DoctorConfig())
    said = capsys.readouterr().out
    assert f"torch {torch.__version__.split('+')[0]}" in " ".join(said.split())
    for row in ("versions", "cpu", "gpu", "tagger lexicon", "tagger nltk", "tagger spacy", "configuration"):
        assert row in said
    assert "works" in next(line for line in said.splitlines() if line.startswith("tagger lexicon"))
    assert "noun lexicon found" in " ".join(said.split())
    assert max(map(len, said.splitlines())) <= 80


def glyphs_config(out: Path, **changes) -> GlyphsConfig:
    return GlyphsConfig(
        **({"out": str(out), "train": 20, "val": 5, "size": 32, "shard_size": 10, "workers": 1} | changes)
    )


def test_glyphs_are_drawn_once(tmp_path, capsys, monkeypatch):
    from catclip.data.glyphs import make_glyphs

    # The labelled pictures are two thousand by default; here the shards are of interest.
    def few(*arguments):
        make_glyphs(*arguments, probe_train=1, probe_test=1)

    monkeypatch.setattr(data_glyphs, "make_glyphs", few)
    out = tmp_path / "glyphs"
    data_glyphs.run(glyphs_config(out))
    said = capsys.readouterr().out
    assert "Wrote 20 training and 5 held-out pictures of 32×32" in " ".join(said.split())
    assert sorted(path.name for path in out.glob("*.tar")) == ["train-00000.tar", "train-00001.tar", "val-00000.tar"]
    assert {path.name for path in (out / "probe").iterdir()} == {"train", "test"}


def test_glyphs_that_are_there_are_left_alone(tmp_path, capsys, glyphs, monkeypatch):
    monkeypatch.setattr(data_glyphs, "is_made", lambda *_: True)
    monkeypatch.setattr(data_glyphs, "make_glyphs", lambda *_: pytest.fail("they are there"))
    data_glyphs.run(glyphs_config(glyphs))
    assert "is there already" in capsys.readouterr().out


def vocab_config(glyphs: Path, out: Path, **changes) -> VocabConfig:
    data = DataConfig(sources=str(glyphs / "train-*.tar"), caption_key="json.captions", captions="all")
    return VocabConfig(
        **({"data": data, "captions": CaptionsConfig(), "tau": 2, "out": str(out), "workers": 1} | changes)
    )


def test_vocabulary_of_shards(glyphs, tmp_path, capsys):
    vocab.run(vocab_config(glyphs, tmp_path / "deep" / "vocab.tsv"))
    made = Vocabulary.load(tmp_path / "deep" / "vocab.tsv")
    expected = Vocabulary.load(tiny.vocabulary_file(glyphs)).prune(2)
    assert list(made) == list(expected)
    assert made.counts == expected.counts
    assert made.metadata["tau"] == "2"
    said = capsys.readouterr().out
    assert f"Wrote {len(made)} labels" in said
    assert made.names[0] in said
    table = [line for line in said.splitlines() if "vocab.tsv" not in line]
    assert max(map(len, table)) <= 80


def test_a_vocabulary_is_not_overwritten(glyphs, tmp_path):
    (tmp_path / "vocab.tsv").write_text("precious")
    with pytest.raises(UserError, match="exists already"):
        vocab.run(vocab_config(glyphs, tmp_path / "vocab.tsv"))
    assert (tmp_path / "vocab.tsv").read_text() == "precious"


def test_vocabulary_with_wrong_input(glyphs, tmp_path):
    with pytest.raises(UserError, match="tau=0"):
        vocab.run(vocab_config(glyphs, tmp_path / "v.tsv", tau=0))
    with pytest.raises(UserError, match="tau"):  # says the tau that would leave labels
        vocab.run(vocab_config(glyphs, tmp_path / "v.tsv", tau=100_000))
    with pytest.raises(UserError, match="nowhere"):
        vocab.run(
            vocab_config(glyphs, tmp_path / "v.tsv", data=DataConfig(sources=str(tmp_path / "nowhere" / "*.tar")))
        )
    assert not (tmp_path / "v.tsv").exists()


@pytest.mark.slow
def test_the_whole_road_by_the_documented_commands(glyphs, tmp_path):
    script = Path(sys.executable).parent / "catclip"
    if not script.exists():
        pytest.skip("catclip is not installed as a script")
    folder = tmp_path / "glyphs"
    folder.symlink_to(glyphs)

    def call(*arguments: str) -> str:
        ended = subprocess.run([script, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    data = ["data=glyphs", "data.sources=glyphs/train-*.tar", "data.val=glyphs/val-*.tar", "data.vocabulary=vocab.tsv",
            "data.probe=glyphs/probe"]  # fmt: skip
    small = [*tiny.BACKBONE_ARGUMENTS, "run.batch=8", "run.steps=12", "run.device=cpu", "run.evaluate_every=50%"]
    text = [f"objectives.contrastive.{option}" for option in tiny.TEXT_OPTIONS]
    call("vocab", "data.sources=glyphs/train-*.tar", "data.caption_key=json.captions", "data.captions=all", "tau=2")
    call("pretrain", *data, *small, "run.out=alone", "track=wandb", "track.wandb=disabled")
    said = call("compare", *data, *small, *text, "run.out=both")
    assert "probe accuracy" in said
    results = json.loads((tmp_path / "both" / "compare.json").read_text())
    assert results["contrastive.peak_memory_bytes"] > 0
    assert results["contrastive.flops_per_image"] > results["categorical.flops_per_image"]
    losses = [
        [json.loads(line).get("loss") for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("alone", "both/categorical")
    ]
    assert losses[0] == losses[1]
    call("probe", "model=alone", "data=glyphs/probe")
    assert 0 <= json.loads((tmp_path / "alone" / "probe.json").read_text())["accuracy"] <= 1
    assert "works" in call("doctor")
    again = call("compare", *data, *small, *text, "run.out=both")
    assert "is done already" in again

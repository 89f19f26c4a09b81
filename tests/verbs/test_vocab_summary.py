"""What `catclip vocab` leaves and says besides the counts."""

import json
import re

import pytest
from rich.console import Console

from catclip.captions import Vocabulary
from catclip.captions.counting.corpus import CorpusCounts
from catclip.captions.lexicon import load_lexicon
from catclip.config import DataConfig, VocabConfig
from catclip.errors import UserError
from catclip.verbs import vocab
from catclip.verbs.vocab_summary import summary

CAPTIONS = ["a dog on a sofa"] * 20 + ["two corgis", "a dalmatian"] * 3 + ["a group of people"] * 12 + ["up there"]


@pytest.fixture
def captions(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    path = tmp_path / "captions.txt"
    path.write_text("\n".join(CAPTIONS))
    return path


def build(captions, **options):
    out = captions.parent / "made" / "vocab.tsv"
    vocab.run(VocabConfig(data=DataConfig(sources=str(captions)), out=str(out), workers=1, **options))
    return Vocabulary.load(out), out


def test_drawings_and_page_stand_beside(captions, capsys):
    vocabulary, out = build(captions, tau=10, prune="rollup")
    said = capsys.readouterr().out
    assert {path.name for path in out.parent.iterdir()} == {"vocab.tsv", "vocab.png", "vocab.html"}
    for ending in ("png", "html"):
        assert str(out.with_suffix(f".{ending}")) in said.replace("\n", "")  # long paths are folded
    page = json.loads(re.search(r'id="data">(.*)</script>', (out.parent / "vocab.html").read_text())[1])
    assert page["about"]["labels"] == len(vocabulary)
    assert ["a dog on a sofa"] in page["captions"]
    assert max(map(len, said.replace(str(out.parent), "OUT").splitlines())) <= 80


def test_summary_compares_both_ways_of_pruning(captions, capsys):
    vocabulary, _ = build(captions, tau=10, prune="rollup")
    said = capsys.readouterr().out
    assert vocabulary.names == ["dog.n.01", "sofa.n.01", "people.n.01"]
    assert vocabulary.counts == [26, 20, 12]
    assert vocabulary.metadata["prune"] == "rollup"
    # 38 of 39 captions have a noun; without the rare breeds 32. group.n.01 is too general to be rolled up into.
    rows = [line.split() for line in said.splitlines() if line.strip().startswith("10 ")]
    assert rows == [["10", "4", "82.05%", "91.4%", "3", "97.44%", "82.9%"]]
    assert "39 captions read; 97.44% have a label, 1.8 labels a caption.\n6 different synsets.\n" in said
    assert re.search(r"corgi.n.01 +dog.n.01 +3", said)
    assert re.search(r"group.n.01 +12", said)


def test_labels_may_be_chosen(captions):
    vocabulary, out = build(captions, tau=2, top_k=2, exclude=["dog.n.01"])
    assert vocabulary.names == ["sofa.n.01", "group.n.01"]
    assert {key: vocabulary.metadata[key] for key in ("tau", "top_k", "exclude")} == {
        "tau": "2", "top_k": "2", "exclude": "dog.n.01"
    }  # fmt: skip
    out.unlink()
    vocabulary, _ = build(captions, tau=2, min_depth=7)
    assert vocabulary.names == ["dog.n.01", "sofa.n.01", "dalmatian.n.02", "corgi.n.01"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prune": "rolup"}, r"prune=rolup is not one of drop, rollup\. Did you mean 'rollup'"),
        ({"top_k": 0}, "top_k=0"),
        ({"min_depth": -2}, "min_depth=-2"),
        ({"exclude": ["thing.n.99"]}, r"thing\.n\.99: WordNet 3\.0 has thing\.n\.01 to"),
    ],
)
def test_options_are_checked_before_anything_is_read(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        build(tmp_path / "none.txt", **options)


def test_the_file_is_not_taken_for_what_stands_beside_it(captions):
    with pytest.raises(UserError, match=r"out=vocab\.html: that ending"):
        vocab.run(VocabConfig(data=DataConfig(sources=str(captions)), out="vocab.html"))


@pytest.mark.parametrize("ending", ["png", "html"])
def test_what_others_have_drawn_is_left_alone(captions, ending):
    _, out = build(captions, tau=10)
    before = {path.name: path.read_bytes() for path in out.parent.iterdir()}
    out.unlink()
    build(captions, tau=10)  # over its own drawings
    assert {path.name: path.read_bytes() for path in out.parent.iterdir()} == before
    out.unlink()
    theirs = out.with_suffix(f".{ending}")
    theirs.write_bytes(b"precious")
    with pytest.raises(UserError, match=rf"vocab\.{ending} is there already and was not made by `catclip vocab`"):
        build(captions, tau=10)
    assert theirs.read_bytes() == b"precious"
    assert not out.exists()


def test_the_first_line_of_a_large_corpus_fits(captions, capsys):
    corpus = CorpusCounts(load_lexicon().wnids())
    corpus.length_units[3] = 100_000_000_000
    corpus.label_units[:82_000] = 10_000_000
    console = Console(width=80)
    console.print(summary(corpus, Vocabulary.from_counts(corpus.counts, {"tau": "1"})))
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("100,000,000,000 captions read;")
    assert first.endswith(" labels a caption.")
    assert second.endswith(" different synsets.")


def test_estimates_are_called_so(captions, capsys, monkeypatch):
    monkeypatch.setattr("catclip.captions.counting.sample.SIZE", 10)
    _, out = build(captions, tau=10)
    assert "Captions estimated from 10 of them." in capsys.readouterr().out
    assert '"estimated":true' in out.with_suffix(".html").read_text()


def test_nothing_left(captions):
    with pytest.raises(UserError, match=r"The largest tau that leaves any is 26\."):
        build(captions, tau=27, prune="rollup", min_depth=5)
    with pytest.raises(UserError, match="smaller min_depth"):
        build(captions, tau=1, min_depth=20)

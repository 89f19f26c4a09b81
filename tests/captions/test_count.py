"""Counting a corpus, and `catclip vocab`."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from catclip.captions import SynsetExtractor, Vocabulary
from catclip.captions.count import count, count_files, make_vocabulary
from catclip.errors import UserError
from catclip.verbs.vocab import run

CAPTIONS = ["a dog and a dog", "two cats", "9.99", "a couch", "a dog on a sofa", "an umbrella", "a dog"]


@pytest.fixture(scope="module")
def extractor():
    return SynsetExtractor()


@pytest.fixture
def files(tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.txt").write_text("".join(f"{caption}\n" for caption in CAPTIONS[i:]))
    return [str(tmp_path / f"{i}.txt") for i in range(4)]


def test_count(extractor):
    corpus = count([*CAPTIONS, " "], extractor)
    names = {extractor.lexicon.name(wnid): n for wnid, n in corpus.counts.items()}
    assert names == {"dog.n.01": 4, "cat.n.01": 1, "sofa.n.01": 2, "umbrella.n.01": 1}
    assert (corpus.captions, corpus.labelled) == (7, 6)
    assert corpus.skipped == {"empty caption": 1}


@pytest.mark.parametrize("limit", [2, 3, 500])
def test_coverage_equals_a_second_pass(shared, extractor, limit):
    captions = (shared / "data/text/cc3m_val.txt").read_text(encoding="utf-8").splitlines()[:2000]
    labels = extractor.extract_many(captions)
    corpus = count(captions, extractor, tau=limit)
    totals = Counter(wnid for wnids in labels for wnid in wnids)
    assert corpus.counts == totals
    for tau in {1, 2, limit}:
        covered = sum(any(totals[wnid] >= tau for wnid in wnids) for wnids in labels)
        assert corpus.coverage(tau) == pytest.approx(covered / len(captions))
        assert corpus.size(tau) == sum(n >= tau for n in totals.values())


def test_workers_do_not_change_the_result(files, extractor, monkeypatch):
    told = [0, 0]
    size = sum(Path(file).stat().st_size for file in files)

    def progress(captions, done, total):
        assert total == size
        told[0] += captions
        told[1] += done

    monkeypatch.setattr("catclip.captions.count.PART_SIZE", 50)
    one = count_files(files, extractor, progress=progress)
    assert told == [one.captions, size]
    two = count_files(files, extractor, workers=2, progress=progress)
    assert told == [2 * one.captions, 2 * size]
    assert (one.counts, one.captions, one.labelled) == (two.counts, two.captions, two.labelled)
    assert [one.coverage(tau) for tau in (1, 3, 9)] == [two.coverage(tau) for tau in (1, 3, 9)]
    vocabularies = [make_vocabulary(corpus, extractor, 2, "here") for corpus in (one, two)]
    assert vocabularies[0].__dict__ == vocabularies[1].__dict__


def test_error_in_a_worker_reaches_the_user(files, tmp_path, extractor):
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    for workers in (1, 2):
        with pytest.raises(UserError, match=r"bad\.csv has no column"):
            count_files([*files, str(tmp_path / "bad.csv")], extractor, workers=workers)


def test_vocabulary_says_how_it_was_made(extractor):
    vocabulary = make_vocabulary(count(CAPTIONS, extractor), extractor, 2, "captions.txt")
    assert vocabulary.names == ["dog.n.01", "sofa.n.01"]
    assert vocabulary.metadata.pop("lexicon").startswith("wordnet-3.0-")
    assert vocabulary.metadata == {
        "tau": "2",
        "captions": "7",
        "rule": "default",
        "tagger": "lexicon",
        "sense": "visual",
        "created_from": "captions.txt",
    }


def test_tau_that_leaves_nothing_names_one_that_does(extractor):
    corpus = count(CAPTIONS, extractor)
    with pytest.raises(UserError, match="largest tau that leaves any is 4"):
        make_vocabulary(corpus, extractor, 5, "")
    assert len(make_vocabulary(corpus, extractor, 4, "")) == 1
    with pytest.raises(UserError, match="None of the 1 captions"):
        make_vocabulary(count(["9.99"], extractor), extractor, 1, "")


# ---- catclip vocab --------------------------------------------------------------------------------------------------


def config(sources, out, **changes):
    data = SimpleNamespace(sources=sources, caption_key=None, captions="first")
    captions = SimpleNamespace(tagger="lexicon", sense="visual")
    settings = {"data": data, "rule": "default", "captions": captions, "tau": 2, "out": str(out), "workers": 1}
    return SimpleNamespace(**settings | changes)


def test_verb_writes_a_vocabulary_and_sums_up(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = tmp_path / "out" / "vocab.tsv"
    run(config(files, out))
    printed = capsys.readouterr().out
    assert "22 captions read" in printed
    assert "dog.n.01" in printed
    assert max(map(len, printed.replace(str(out), "OUT").splitlines())) <= 80
    vocabulary = Vocabulary.load(out)
    assert vocabulary.metadata["captions"] == "22"
    assert vocabulary.metadata["created_from"] == " ".join(files)
    first = out.read_bytes()
    run(config(files, tmp_path / "again.tsv", workers=2))
    assert (tmp_path / "again.tsv").read_bytes() == first


def test_verb_never_overwrites(files, tmp_path):
    out = tmp_path / "vocab.tsv"
    out.write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        run(config(files, out))
    assert out.read_text() == "mine"


def test_verb_on_wrong_input_writes_nothing(files, tmp_path):
    out = tmp_path / "vocab.tsv"
    with pytest.raises(UserError, match="leaves no labels"):
        run(config(files, out, tau=1000))
    with pytest.raises(UserError, match="at least once"):
        run(config(files, out, tau=0))
    with pytest.raises(UserError, match="No file matches"):
        run(config(str(tmp_path / "none-*.tar"), out))
    with pytest.raises(UserError, match="captions"):
        run(config(files, out, data=SimpleNamespace(sources=files, caption_key=None, captions="each")))
    assert not out.exists()


def test_real_shards(shared, tmp_path):
    shards = str(shared / "data/flickr8k/train-0000{0..1}.tar")
    data = SimpleNamespace(sources=shards, caption_key="json.captions", captions="all")
    run(config(shards, tmp_path / "vocab.tsv", data=data, tau=20, workers=2))
    vocabulary = Vocabulary.load(tmp_path / "vocab.tsv")
    assert vocabulary.metadata["captions"] == "10000"
    assert vocabulary.names[:2] == ["dog.n.01", "man.n.01"]

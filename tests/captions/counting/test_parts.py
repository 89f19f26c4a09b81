"""A corpus in parts: nothing lost, nothing twice, and known again only while nothing has changed."""

import os
import shutil
from collections import Counter
from fractions import Fraction
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.captions import SynsetExtractor
from catclip.captions.counting import parts, sample
from catclip.captions.counting.corpus import CorpusCounts
from catclip.captions.counting.counter import count_files
from catclip.captions.counting.parts import Counting, divide, part_size
from catclip.captions.sources import WeightedFile, weighted_files
from catclip.errors import UserError
from tests.captions.making import COMPRESSIONS, FORMATS, file_of

WORDS = ["dog", "cats", "a", "red", "couch", "hot dog", "umbrellas", "the", "2", "zebra"]
CAPTIONS = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join), min_size=1, max_size=25)
FILE = st.tuples(
    CAPTIONS, st.sampled_from(FORMATS), st.sampled_from(sorted(COMPRESSIONS)), st.sampled_from([1, 0.5, 3])
)


@pytest.fixture(scope="module")
def extractor():
    return SynsetExtractor()


@settings(max_examples=40, deadline=None)
@given(st.lists(FILE, min_size=1, max_size=4), st.integers(20, 3000))
def test_counts_are_those_of_a_plain_loop(tmp_path_factory, extractor, corpus_files, size):
    folder = tmp_path_factory.mktemp("corpus")
    sources, labelled = [], []
    for i, (captions, form, compression, weight) in enumerate(corpus_files):
        compression = "" if form == "parquet" else compression
        path = folder / f"{i}.{form}{compression}"
        path.write_bytes(COMPRESSIONS[compression](file_of(captions, form)))
        sources.append({"path": str(path), "weight": weight})
        labelled += [(extractor(caption), Fraction(weight)) for caption in captions]
    with patch("catclip.captions.counting.counter.PART_SIZE", size):
        corpus = count_files(sources, extractor)

    totals = Counter()
    for wnids, weight in labelled:
        for wnid in wnids:
            totals[wnid] += weight
    totals = {wnid: (2 * total + 1) // 2 for wnid, total in totals.items()}
    captions = sum(weight for _, weight in labelled)
    assert corpus.counts == totals
    assert corpus.captions == (2 * captions + 1) // 2
    assert corpus.skipped == {}
    for tau in range(1, 5):
        covered = sum(weight for wnids, weight in labelled if any(totals[wnid] >= tau for wnid in wnids))
        assert corpus.coverage(tau) == pytest.approx(float(covered / captions))


@settings(max_examples=30, deadline=None)
@given(st.lists(CAPTIONS, min_size=2, max_size=6))
def test_what_later_parts_leave_out_is_not_missed(tmp_path_factory, extractor, corpus_files):
    """Parts counted by one process, and each by a process of its own."""
    folder = tmp_path_factory.mktemp("corpus")
    for i, captions in enumerate(corpus_files):
        (folder / f"{i}.txt").write_bytes(file_of(captions, "txt"))
    divided = [divide([file])[0][0] for file in weighted_files(f"{folder}/*.txt")]
    with patch.object(sample, "SIZE", 10):
        one, many = (CorpusCounts(extractor.synsets) for _ in range(2))
        process = Counting(extractor, None, True, 1)
        for part in divided:
            one.merge(process.count(part))
            many.merge(Counting(extractor, None, True, 1).count(part))
        kept = [sorted(corpus.sample.arrays()["sample_keys"].tolist()) for corpus in (one, many)]
        assert kept[0] == kept[1]
        assert one.sample.complete == many.sample.complete
    assert one.counts == many.counts
    for threshold in range(1, 7):
        assert one.coverage(threshold) == many.coverage(threshold)
    for wnid in one.counts:
        assert one.examples_of(wnid) == many.examples_of(wnid) != []


def test_large_files_are_split_and_small_ones_put_together(tmp_path):
    captions = [f"a dog on {i} couches" for i in range(1000)]
    for form in FORMATS:
        (tmp_path / f"large.{form}").write_bytes(file_of(captions, form))
    for i in range(10):
        (tmp_path / f"small-{i}.txt").write_bytes(file_of(captions[:10], "txt"))
    files = [WeightedFile(str(path), Fraction(1)) for path in sorted(tmp_path.iterdir())]
    divided, unit = divide(files, 5000)
    assert unit == 1
    pieces = Counter(piece.path.rpartition("/")[2] for part in divided for piece in part)
    assert pieces.pop("large.parquet") == 4  # its row groups
    assert pieces.pop("large.txt") == 5
    assert pieces.pop("large.tsv") == 5
    assert pieces.pop("large.jsonl") > 5
    assert set(pieces.values()) == {1}
    assert sum(map(len, divided)) > len(divided)
    assert sum(map(part_size, divided)) == sum(path.stat().st_size for path in tmp_path.iterdir())
    with patch.object(parts, "_PART_FILES", 3):
        assert max(map(len, divide(files, 5000)[0])) == 3


def test_weights_share_a_unit():
    with patch.object(parts, "file_info", lambda path: parts.FileInfo(100, "")):
        divided, unit = divide([WeightedFile("a.txt", Fraction(3, 10)), WeightedFile("b.txt", Fraction(5, 4))])
    assert unit == 20
    assert [piece.weight for piece in divided[0]] == [6, 25]


def test_files_of_other_kinds_are_refused_before_anything_is_counted(tmp_path):
    (tmp_path / "a.txt").write_text("a dog\n")
    (tmp_path / "b.jpg").touch()
    with pytest.raises(UserError, match=r"b\.jpg: captions are read from"):
        divide(weighted_files(f"{tmp_path}/*"))
    (tmp_path / "c.parquet").write_bytes(b"x" * 1000)
    with pytest.raises(UserError, match=r"c\.parquet cannot be read"):
        divide(weighted_files(f"{tmp_path}/c*"), 100)


def test_fingerprints_change_with_all_that_matters(tmp_path, extractor):
    path = tmp_path / "a.txt"
    path.write_text("a dog\n" * 100)
    seen = set()

    def look(extractor=extractor, weight=Fraction(1), size=1000, key=None, first_only=True):
        divided, unit = divide([WeightedFile(str(path), weight)], size)
        return Counting(extractor, key, first_only, unit).fingerprints(divided)[0]

    def changed(fingerprint):
        seen.add(fingerprint)
        return len(seen)

    assert changed(look()) == 1
    assert changed(look()) == 1
    assert changed(look(SynsetExtractor("reference"))) == 2
    assert changed(look(SynsetExtractor(tagger="none"))) == 3
    assert changed(look(SynsetExtractor(sense="first"))) == 4
    assert changed(look(weight=Fraction(2))) == 5
    assert changed(look(weight=Fraction(1, 2))) == 6
    assert changed(look(size=300)) == 7
    assert changed(look(key="alt")) == 8
    assert changed(look(first_only=False)) == 9
    os.utime(path, ns=(1, 1))
    assert changed(look()) == 10
    path.write_text("a cat\n" * 101)
    os.utime(path, ns=(1, 1))
    assert changed(look()) == 11
    with patch.object(parts, "lexicon_version", lambda: "other"):
        assert changed(look()) == 12
    with patch.object(parts, "_code_version", lambda: "other"):
        assert changed(look()) == 13


def test_fingerprints_know_all_code_that_labels_and_counts(tmp_path):
    room = shutil.copytree(Path(parts.__file__).parents[1], tmp_path / "captions")
    before = parts._code_version(room)
    assert before == parts._code_version()
    seen = {before}
    for number, file in enumerate(("extract.py", "sources/lines.py", "columns/split.py", "counting/corpus.py"), 1):
        (room / file).write_text((room / file).read_text() + "\n# another rule\n")
        seen.add(parts._code_version(room))
        assert len(seen) == 1 + number, file
    last = parts._code_version(room)
    (room / "report" / "page.py").write_text("")
    assert parts._code_version(room) == last


def test_fingerprints_know_the_model_of_a_tagger(tmp_path, shared, monkeypatch):
    import nltk

    monkeypatch.setattr(nltk.data, "path", [str(shared / "nltk_data")])
    path = tmp_path / "a.txt"
    path.write_text("a dog\n")
    divided, unit = divide([WeightedFile(str(path), Fraction(1))])

    def look(extractor):
        return Counting(extractor, None, True, unit).fingerprints(divided)[0]

    spacy = f"spacy:{shared / 'spacy_model'}"
    ours, retrained = SynsetExtractor(tagger=spacy), SynsetExtractor(tagger=spacy)
    assert look(retrained) == look(ours)
    retrained._tagger._nlp.meta["version"] = "99.9"
    assert look(retrained) != look(ours)
    ours, other = SynsetExtractor(tagger="nltk"), SynsetExtractor(tagger="nltk")
    assert look(other) == look(ours)
    other._tagger._tagger.tagdict["zebra"] = "VB"
    assert look(other) != look(ours)

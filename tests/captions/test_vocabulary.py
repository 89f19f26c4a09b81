"""The vocabulary and its file."""

import pickle
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catclip.captions import SynsetExtractor, Vocabulary
from catclip.captions.lexicon import load_lexicon
from catclip.errors import UserError

METADATA = {"tau": "1", "captions": "3", "rule": "default", "tagger": "lexicon", "sense": "visual"}
DOG, CAT, SOFA = (load_lexicon().synsets(word)[0] for word in ("dog", "cat", "sofa"))


@pytest.fixture
def vocabulary():
    return Vocabulary.from_counts({SOFA: 2, DOG: 5, CAT: 2}, METADATA)


def test_order_is_by_count_then_wnid(vocabulary):
    assert vocabulary.wnids == list(vocabulary) == [DOG, CAT, SOFA]
    assert vocabulary.names == ["dog.n.01", "cat.n.01", "sofa.n.01"]
    assert vocabulary.counts == [5, 2, 2]
    assert len(vocabulary) == 3
    assert vocabulary.index(CAT) == 1
    assert DOG in vocabulary
    assert "n00001740" not in vocabulary
    with pytest.raises(KeyError):
        vocabulary.index("n00001740")


def test_prune(vocabulary):
    assert vocabulary.prune(3).wnids == [DOG]
    assert vocabulary.prune(3).metadata["tau"] == "3"
    assert vocabulary.metadata["tau"] == "1"
    assert len(vocabulary.prune(6)) == 0


def test_labels_are_sorted_without_repeats(vocabulary):
    assert vocabulary.labels("two couches, a dog, a sofa and an umbrella") == [0, 2]
    assert vocabulary.labels([SOFA, DOG, SOFA, "n00001740"]) == [0, 2]
    assert vocabulary.labels("") == vocabulary.labels([]) == []


def test_labels_follow_the_metadata(vocabulary):
    published = Vocabulary.from_counts({SOFA: 1}, METADATA | {"rule": "reference"})
    assert published.labels("a couch") == []
    assert published.labels("a sofa") == [0]
    with pytest.raises(UserError, match="rule"):
        Vocabulary.from_counts({SOFA: 1}, {}).labels("a sofa")


def test_pickle(vocabulary):
    vocabulary.labels("a dog")
    data = pickle.dumps(vocabulary)
    assert len(data) < 2000
    assert pickle.loads(data).labels("a dog") == [0]


def test_file_is_as_documented(vocabulary, tmp_path):
    path = tmp_path / "new" / "vocab.tsv"
    vocabulary.save(path)
    assert path.read_text() == (
        "# tau=1\n# captions=3\n# rule=default\n# tagger=lexicon\n# sense=visual\n"
        "index\twnid\tname\tcount\n"
        "0\tn02084071\tdog.n.01\t5\n1\tn02121620\tcat.n.01\t2\n2\tn04256520\tsofa.n.01\t2\n"
    )


@given(
    st.dictionaries(st.sampled_from(load_lexicon().wnids()[:500]), st.integers(1, 10**9)),
    st.dictionaries(st.sampled_from(["tau", "created_from"]), st.from_regex(r"[^\s#=]([^\s]*=?)*", fullmatch=True)),
)
def test_save_and_load_give_the_same(tmp_path_factory, counts, metadata):
    path = tmp_path_factory.getbasetemp() / "round.tsv"
    vocabulary = Vocabulary.from_counts(counts, metadata)
    vocabulary.save(path)
    first = path.read_bytes()
    loaded = Vocabulary.load(path)
    assert (loaded.wnids, loaded.names, loaded.counts) == (vocabulary.wnids, vocabulary.names, vocabulary.counts)
    assert loaded.metadata == metadata
    loaded.save(path)
    assert path.read_bytes() == first


HEADER = "# tau=1\nindex\twnid\tname\tcount\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1"),
        ("# tau=1\n", "line 2"),
        ("wnid\tcount\n", "line 1"),
        (HEADER + "0\tn02084071\tdog.n.01\n", "line 3: 3 columns"),
        (HEADER + "1\tn02084071\tdog.n.01\t5\n", "line 3: index"),
        (HEADER + "0\tn2084071\tdog.n.01\t5\n", "line 3: 'n2084071' is no WNID"),
        (HEADER + "0\tn02084071\tdog.n.01\tfive\n", "line 3: 'five' is no count"),
        (HEADER + "0\tn02084071\tdog.n.01\t5\n1\tn02084071\tdog.n.01\t5\n", "line 4: n02084071 stands there twice"),
        (HEADER + "\n", "line 3"),
    ],
)
def test_malformed_files_are_refused(tmp_path, text, message):
    path = tmp_path / "vocab.tsv"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        Vocabulary.load(path)
    assert "vocab.tsv" in str(error.value)


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="catclip vocab"):
        Vocabulary.load(tmp_path / "none.tsv")
    (tmp_path / "binary.tsv").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="cannot be read"):
        Vocabulary.load(tmp_path / "binary.tsv")


def test_labels_equal_the_extractors(shared):
    captions = (shared / "data/text/flickr30k.txt").read_text(encoding="utf-8").splitlines()[:500]
    extractor = SynsetExtractor()
    counts = Counter(wnid for wnids in extractor.extract_many(captions) for wnid in wnids)
    vocabulary = Vocabulary.from_counts(counts, METADATA).prune(5)
    for caption in captions:
        expected = {wnid for wnid in extractor(caption) if counts[wnid] >= 5}
        assert {vocabulary.wnids[label] for label in vocabulary.labels(caption)} == expected

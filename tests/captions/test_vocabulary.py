"""The vocabulary and its file."""

import pickle
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catclip.captions import SynsetExtractor, Vocabulary
from catclip.captions.hierarchy import find_synset
from catclip.captions.lexicon import load_lexicon
from catclip.captions.words import WordVocabulary
from catclip.errors import UserError

METADATA = {"tau": "1", "captions": "3", "rule": "default", "tagger": "lexicon", "sense": "visual"}
DOG, CAT, SOFA = (load_lexicon().synsets(word)[0] for word in ("dog", "cat", "sofa"))
DALMATIAN, CORGI, ANIMAL = map(find_synset, ["dalmatian.n.02", "corgi.n.01", "animal.n.01"])
COUNTS = st.dictionaries(st.sampled_from(load_lexicon().wnids()[2000:2060]), st.integers(1, 30), min_size=1)


@pytest.fixture
def vocabulary():
    return Vocabulary.from_counts({SOFA: 2, DOG: 5, CAT: 2}, METADATA)


@pytest.fixture
def rolled():
    """Dalmatians and corgis are dogs."""
    counts = {SOFA: 6, DOG: 5, DALMATIAN: 3, CORGI: 1}
    return Vocabulary.from_counts(counts, METADATA).prune(4, how="rollup")


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
    assert vocabulary.prune(top_k=2).wnids == [DOG, CAT]
    assert vocabulary.prune(exclude=["dog.n.01", CAT]).wnids == [SOFA]
    assert vocabulary.prune(min_depth=9).wnids == [CAT, SOFA]  # the dog is at 8
    chosen = vocabulary.prune(2, top_k=1, min_depth=2, exclude=["cat.n.01", SOFA]).metadata
    assert chosen == METADATA | {"tau": "2", "top_k": "1", "min_depth": "2", "exclude": f"cat.n.01 {SOFA}"}


def test_rollup(rolled):
    assert list(zip(rolled.wnids, rolled.counts, strict=True)) == [(DOG, 9), (SOFA, 6)]
    assert rolled.rollup == {DALMATIAN: (DOG, 3), CORGI: (DOG, 1)}
    assert rolled.metadata == METADATA | {"tau": "4", "prune": "rollup"}
    assert rolled.own_counts == {SOFA: 6, DOG: 5, DALMATIAN: 3, CORGI: 1}
    assert DALMATIAN not in rolled
    with pytest.raises(KeyError):
        rolled.index(DALMATIAN)
    assert rolled.labels([DALMATIAN, CORGI]) == [0]
    assert rolled.labels("a dalmatian on a sofa") == [0, 1]
    assert rolled.lookup([SOFA, CAT, CORGI]).tolist() == [1, -1, 0]


def test_pruning_what_is_rolled_up(rolled):
    assert rolled.prune(7).rollup == rolled.rollup
    assert rolled.prune(7).wnids == [DOG]
    assert rolled.prune(exclude=[DOG]).rollup == {}
    again = rolled.prune(1, how="rollup")
    assert again.own_counts == rolled.own_counts
    assert again.rollup == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": 6}, r"tau=6 leaves no labels: the most frequent one occurs 5 times in 3 captions\..* is 5\."),
        ({"tau": 10, "how": "rollup", "min_depth": 0}, r"occurs 9 times in 3 captions at the most\..* is 9\."),
        ({"min_depth": 30}, "smaller min_depth"),
        ({"exclude": [DOG, CAT, SOFA]}, "exclude fewer"),
        ({"how": "rol"}, "Did you mean 'rollup'"),
    ],
)
def test_nothing_left_names_what_would_leave_something(vocabulary, options, message):
    with pytest.raises(UserError, match=message):
        vocabulary.prune(**options)


@given(COUNTS, st.integers(1, 40), st.integers(1, 40))
def test_dropping_twice_is_dropping_once(counts, tau, more):
    vocabulary = Vocabulary.from_counts(counts, {})
    most = max(counts.values())
    tau, more = sorted((min(tau, most), min(more, most)))
    twice, once = vocabulary.prune(tau).prune(more), vocabulary.prune(more)
    assert (twice.wnids, twice.counts, twice.metadata) == (once.wnids, once.counts, once.metadata)


# ---- merge ----------------------------------------------------------------------------------------------------------


@given(COUNTS, COUNTS)
def test_merging_adds_the_corpora(one, other):
    merged = Vocabulary.from_counts(one, METADATA).merge(Vocabulary.from_counts(other, METADATA))
    both = Vocabulary.from_counts(Counter(one) + Counter(other), METADATA | {"captions": "6"})
    assert (merged.wnids, merged.counts, merged.metadata) == (both.wnids, both.counts, both.metadata)


@given(COUNTS, COUNTS, st.integers(1, 8), st.integers(1, 8))
def test_merging_what_is_rolled_up_loses_nothing(one, other, tau, other_tau):
    def roll(counts, tau):
        # All together would reach entity.n.01.
        return Vocabulary.from_counts(counts, METADATA).prune(min(tau, sum(counts.values())), how="rollup", min_depth=0)

    first, second = roll(one, tau), roll(other, other_tau)
    merged = first.merge(second)
    assert set(merged) == set(first) | set(second)
    assert merged.own_counts == Counter(first.own_counts) + Counter(second.own_counts)
    assert sum(merged.counts) == sum(first.counts) + sum(second.counts)
    for wnid, (into, _) in merged.rollup.items():
        assert into in load_lexicon().ancestors(wnid)
    assert merged.metadata["tau"] == min(first.metadata["tau"], second.metadata["tau"], key=int)


def test_merging_says_what_differs(vocabulary, rolled):
    merged = vocabulary.merge(Vocabulary.from_counts({CAT: 4}, METADATA | {"created_from": "b", "tau": "4"}))
    assert merged.metadata == METADATA | {"captions": "6", "created_from": "b", "tau": "1"}
    assert list(zip(merged.wnids, merged.counts, strict=True)) == [(CAT, 6), (DOG, 5), (SOFA, 2)]
    kept_here = rolled.merge(Vocabulary.from_counts({CORGI: 2}, METADATA))
    assert kept_here.rollup == {DALMATIAN: (DOG, 3)}
    assert dict(zip(kept_here.wnids, kept_here.counts, strict=True)) == {DOG: 8, SOFA: 6, CORGI: 3}
    with pytest.raises(UserError, match="one has rule=default, the other rule=reference"):
        vocabulary.merge(Vocabulary.from_counts({CAT: 4}, METADATA | {"rule": "reference"}))


# ---- labels ---------------------------------------------------------------------------------------------------------


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


def test_it_says_what_it_is(vocabulary):
    made = Vocabulary(vocabulary.wnids, vocabulary.names, vocabulary.counts, {"tau": "5", "rule": "default"})
    assert repr(made) == f"<Vocabulary of {len(made)} labels, tau=5, rule=default>"


def test_pickle(vocabulary):
    vocabulary.labels("a dog")
    data = pickle.dumps(vocabulary)
    assert len(data) < 2000
    assert pickle.loads(data).labels("a dog") == [0]


# ---- file -----------------------------------------------------------------------------------------------------------


def test_file_is_as_documented(vocabulary, tmp_path):
    path = tmp_path / "new" / "vocab.tsv"
    vocabulary.save(path)
    assert path.read_text() == (
        "# tau=1\n# captions=3\n# rule=default\n# tagger=lexicon\n# sense=visual\n"
        "index\twnid\tname\tcount\n"
        "0\tn02084071\tdog.n.01\t5\n1\tn02121620\tcat.n.01\t2\n2\tn04256520\tsofa.n.01\t2\n"
    )


def test_file_with_a_rollup(rolled, tmp_path):
    path = tmp_path / "vocab.tsv"
    rolled.save(path)
    assert path.read_text() == (
        "# tau=4\n# captions=3\n# rule=default\n# tagger=lexicon\n# sense=visual\n# prune=rollup\n"
        "index\twnid\tname\tcount\n"
        "0\tn02084071\tdog.n.01\t9\n1\tn04256520\tsofa.n.01\t6\n"
        "# rollup\tn02110341\tdalmatian.n.02\t3\tn02084071\n# rollup\tn02112826\tcorgi.n.01\t1\tn02084071\n"
    )
    loaded = Vocabulary.load(path)
    assert loaded.__dict__ == rolled.__dict__ | {"_extractor": None}
    assert loaded.labels("a corgi") == [0]


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


ONE = HEADER + "0\tn02084071\tdog.n.01\t5\n"


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
        (HEADER + "0\tn02084071\tdog.n.01\t" + "9" * 5000 + "\n", "line 3: '9+' is no count"),
        (ONE + "# dalmatians are dogs\n", "line 4: below the labels only '# rollup'"),
        (ONE + "# rollup\tn02110341\tdalmatian.n.02\t3\tn02121620\n", "line 4: 'n02121620' is none of the labels"),
        (ONE + "# rollup\tn02084071\tdog.n.01\t3\tn02084071\n", "line 4: n02084071 stands there twice"),
        (ONE + "# rollup\tn02110341\tdalmatian.n.02\t-\tn02084071\n", "line 4: '-' is no count"),
    ],
)
def test_malformed_files_are_refused(tmp_path, text, message):
    path = tmp_path / "vocab.tsv"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        Vocabulary.load(path)
    assert "vocab.tsv" in str(error.value)


def test_words_are_no_synsets(tmp_path):
    WordVocabulary(["dog"], [3], {"rule": "words"}).save(tmp_path / "words.tsv")
    with pytest.raises(UserError, match="has words for labels"):
        Vocabulary.load(tmp_path / "words.tsv")


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

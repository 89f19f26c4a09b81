"""The lexicon against NLTK's reader of the same WordNet."""

import lzma
import pickle
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from catclip.captions.lexicon import LEXICON_FILE, NOUN_ENDINGS, Lexicon, load_lexicon
from catclip.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wordnet(shared):
    """NLTK's own WordNet reader."""
    import nltk

    nltk.data.path.insert(0, str(shared / "nltk_data"))
    from nltk.corpus import wordnet

    wordnet.ensure_loaded()
    return wordnet


@pytest.fixture(scope="module")
def lexicon():
    return load_lexicon()


def test_shipped_table_is_what_the_script_builds(shared, tmp_path):
    out = tmp_path / "lexicon.txt.xz"
    wordnet = shared / "nltk_data" / "corpora" / "wordnet.zip"
    subprocess.run([sys.executable, ROOT / "scripts/build_lexicon.py", wordnet, "--out", out], check=True)
    assert lzma.decompress(out.read_bytes()) == lzma.decompress(LEXICON_FILE.read_bytes())


def test_script_refuses_what_is_no_wordnet(tmp_path):
    command = [sys.executable, ROOT / "scripts/build_lexicon.py", tmp_path, "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Not a complete WordNet" in done.stderr
    assert not (tmp_path / "out").exists()


def test_table_is_small_and_loads_fast():
    assert LEXICON_FILE.stat().st_size < 3_000_000

    def seconds():
        start = time.process_time()  # what else the machine does is not our matter
        Lexicon(LEXICON_FILE)
        return time.process_time() - start

    assert min(seconds() for _ in range(3)) < 0.5


def test_all_of_wordnet_is_there(lexicon, wordnet):
    assert len(lexicon) == 117_798
    assert set(lexicon.words()) == set(wordnet.all_lemma_names("n"))
    assert len(lexicon.wnids()) == 82_115


def test_synsets_agree_with_nltk(lexicon, wordnet):
    for wnid in random.Random(0).sample(lexicon.wnids(), 3000):
        synset = wordnet.synset_from_pos_and_offset("n", int(wnid[1:]))
        assert lexicon.name(wnid) == synset.name()
        assert lexicon.lemmas(wnid) == synset.lemma_names()
        assert f"noun.{lexicon.category(wnid).replace('tops', 'Tops')}" == synset.lexname()
        above = {*synset.hypernyms(), *synset.instance_hypernyms()}
        assert set(lexicon.hypernyms(wnid)) == {f"n{hypernym.offset():08d}" for hypernym in above}
        assert lexicon.is_instance(wnid) == bool(synset.instance_hypernyms())


def test_words_agree_with_nltk(lexicon, wordnet):
    words = [*random.Random(1).sample(lexicon.words(), 3000), "dog", "yellow", "well", "a", "hot_dog"]
    for word in words:
        offsets = wordnet._lemma_pos_offset_map[word]["n"]
        assert lexicon.synsets(word) == [f"n{offset:08d}" for offset in offsets]


@pytest.mark.parametrize("word", ["dog", "yellow", "young", "walk", "well", "two", "slowly", "snowy", "umbrella"])
def test_counts_agree_with_nltk(lexicon, wordnet, word):
    def count(*parts):
        lemmas = [
            le for s in wordnet.synsets(word) if s.pos() in parts for le in s.lemmas() if le.name().lower() == word
        ]
        return sum(lemma.count() for lemma in lemmas) if lemmas else None

    assert lexicon.counts(word) == (count("n"), count("v"), count("a", "s"), count("r"))


def test_ancestors_reach_the_root(lexicon):
    dog = lexicon.synsets("dog")[0]
    assert "n00001740" in lexicon.ancestors(dog)
    assert lexicon.synsets("animal")[0] in lexicon.ancestors(dog)
    assert dog not in lexicon.ancestors(dog)


# ---- morphology -----------------------------------------------------------------------------------------------------


def test_noun_candidates_of_inflected_lemmas_equal_nltk(lexicon, wordnet):
    rng = random.Random(2)
    lemmas = rng.sample(lexicon.words(), 4000)
    irregular = list(wordnet._exception_map["n"])
    forms = [*lemmas, *irregular, *(f"{lemma}{ending}" for lemma in lemmas for ending in ("s", "es", "ses"))]
    forms += [lemma.removesuffix(base) + old for lemma in lemmas for old, base in NOUN_ENDINGS if lemma.endswith(base)]
    assert len(forms) > 20_000
    for form in forms:
        assert lexicon.noun_candidates(form) == wordnet._morphy(form, "n"), form


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(max_size=12), st.text("abeghimnsvxyz-_' ", max_size=10)))
@example("")
@example("possess")
@example("men")
@example("ss")
def test_noun_candidates_of_any_text_equal_nltk(lexicon, wordnet, form):
    assert lexicon.noun_candidates(form) == wordnet._morphy(form, "n")


@pytest.mark.parametrize(
    ("form", "lemma"),
    [
        ("men", "man"),
        ("women", "woman"),
        ("people", "people"),
        ("arms", "arm"),
        ("children", "child"),
        ("feet", "foot"),
        ("leaves", "leaf"),
        ("buses", "bus"),
        ("bus", "bus"),
        ("scissors", "scissors"),
        ("hot_dogs", "hot_dog"),
        ("xyzzy", None),
        ("the", None),
    ],
)
def test_counts_decide_between_a_word_and_an_inflection(lexicon, form, lemma):
    assert lexicon.noun_lemma(form) == lemma


@pytest.mark.parametrize(
    ("form", "verb"), [("standing", "stand"), ("ran", "run"), ("jogging", "jog"), ("poses", "pose"), ("dogs", "dog")]
)
def test_inflected_verbs_are_known(lexicon, form, verb):
    assert verb in lexicon.verb_candidates(form)


# ---- the file -------------------------------------------------------------------------------------------------------


def test_pickle_carries_the_path_not_the_table(lexicon):
    data = pickle.dumps(lexicon)
    assert len(data) < 1000
    assert pickle.loads(data) is lexicon


def test_wrong_files_are_refused(tmp_path):
    missing, text, empty = tmp_path / "missing", tmp_path / "text", tmp_path / "empty"
    text.write_text("no lexicon")
    empty.write_bytes(lzma.compress(b"# nothing\n"))
    for path, message in ((missing, "missing"), (text, "not a noun lexicon"), (empty, "lacks the sections")):
        with pytest.raises(UserError, match=message):
            load_lexicon(path)

"""Words of captions: the vocabulary counts captions, and gives back what it saved."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catclip.captions.words import WordVocabulary, caption_words, count_words, make_word_vocabulary
from catclip.errors import UserError

CAPTIONS = ["A dog and a DOG.", "the dog's 3 bones", "a cat; see https://cats.example/cat.jpg", "  ", "¡Olé!"]


def test_words_are_lower_case_without_numbers_signs_and_addresses():
    words = [caption_words(caption) for caption in CAPTIONS]
    assert words == [["a", "dog", "and", "a", "dog"], ["the", "dog", "bones"], ["a", "cat", "see"], [], ["olé"]]


@given(st.lists(st.sampled_from(["a", "dog", "cat", "bone", "Bone", "DOG"]), max_size=20))
def test_plain_words_are_those_between_spaces(words):
    assert caption_words(" ".join(words)) == [word.lower() for word in words]


@given(st.text())
def test_any_text_has_words_that_begin_with_a_letter(text):
    assert all(word[0].isalpha() and not re.search(r"\s", word) for word in caption_words(text))


def write(folder, name, captions):
    path = folder / name
    path.write_text("\n".join(captions))
    return str(path)


def test_a_word_counts_once_a_caption_and_as_its_source_weighs(tmp_path):
    one, other = write(tmp_path, "one.txt", CAPTIONS), write(tmp_path, "other.txt", ["a dog", "a bird"])
    counts, captions = count_words([one, {"path": other, "weight": 2.5}], None, "first")
    assert captions == 9
    assert counts == Counter(
        {"a": 7, "dog": 4, "bird": 2, "and": 1, "the": 1, "bones": 1, "cat": 1, "see": 1, "olé": 1}
    )


def test_the_vocabulary_is_by_falling_count_and_comes_back_from_its_file(tmp_path):
    counts = {"dog": 5, "cat": 5, "a": 9, "bone": 2, "rare": 1}
    vocabulary = make_word_vocabulary(counts, 12, 2, None, "corpus")
    assert vocabulary.names == ["a", "cat", "dog", "bone"]
    assert make_word_vocabulary(counts, 12, 1, 2, "corpus").names == ["a", "cat"]
    vocabulary.save(tmp_path / "words.tsv")
    again = WordVocabulary.load(tmp_path / "words.tsv")
    assert (again.names, again.counts, again.metadata) == (vocabulary.names, [9, 5, 5, 2], vocabulary.metadata)
    assert again.digest == vocabulary.digest != WordVocabulary(["a"], [1], {}).digest
    assert again.metadata["rule"] == "words"
    assert len(again) == 4


def test_labels_are_the_known_words_each_once():
    vocabulary = WordVocabulary(["a", "dog", "cat"], [3, 2, 1], {})
    assert vocabulary.labels("A cat, a CAT and the cat.") == [0, 2]
    assert vocabulary.labels("nothing") == []


@pytest.mark.parametrize(("counts", "said"), [({}, "caption_key"), ({"dog": 3}, "tau that leaves any is 3")])
def test_no_words_are_left(counts, said):
    with pytest.raises(UserError, match=re.escape(said)):
        make_word_vocabulary(counts, 7, 5, None, "corpus")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1"),
        ("index\twnid\tname\tcount\n", "rule=words"),
        ("index\tword\tcount\n1\tdog\t3\n", "line 2"),
        ("index\tword\tcount\n0\tdog\t3\n1\tdog\t2\n", "line 3"),
        ("index\tword\tcount\n0\tdog\tmany\n", "line 2"),
        ("index\tword\tcount\n0\tdog\n", "line 2"),
    ],
)  # fmt: skip
def test_a_file_of_something_else_is_refused(tmp_path, text, said):
    (tmp_path / "words.tsv").write_text(text)
    with pytest.raises(UserError, match=said):
        WordVocabulary.load(tmp_path / "words.tsv")


def test_a_missing_file_says_what_makes_one(tmp_path):
    with pytest.raises(UserError, match="catclip vocab rule=words"):
        WordVocabulary.load(tmp_path / "none.tsv")

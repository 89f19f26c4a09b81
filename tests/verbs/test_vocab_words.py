"""`catclip vocab rule=words` writes the words of captions."""

import pytest

from catclip.captions.words import WordVocabulary
from catclip.config import CaptionsConfig, DataConfig, VocabConfig
from catclip.errors import UserError
from catclip.verbs import vocab, vocab_words


def config(tmp_path, **options):
    captions = tmp_path / "captions.txt"
    captions.write_text("a dog\na dog and a cat\n")
    return VocabConfig(data=DataConfig(sources=str(captions)), rule="words", out=str(tmp_path / "words.tsv"), **options)


def test_a_vocabulary_of_words(tmp_path, capsys):
    vocab.run(config(tmp_path, tau=2))
    made = WordVocabulary.load(tmp_path / "words.tsv")
    assert (made.names, made.counts) == (["a", "dog"], [2, 2])
    assert (made.metadata["captions"], made.metadata["tau"]) == ("2", "2")
    assert "2 captions, 4 words." in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "options",
    [{"prune": "rollup"}, {"min_depth": 3}, {"exclude": ["dog.n.01"]}, {"top_k": 0}, {"workers": 2}],
    ids=str,
)
def test_what_words_do_not_have_is_refused(tmp_path, options):
    with pytest.raises(UserError, match=next(iter(options))):
        vocab.run(config(tmp_path, tau=1, **options))
    assert not (tmp_path / "words.tsv").exists()


def test_all_that_words_do_not_have_is_one_message(tmp_path):
    asked = config(tmp_path, captions=CaptionsConfig("nltk", "first"))
    asked.data.max_bad = 0.5
    with pytest.raises(UserError, match=r"captions\.tagger=nltk, captions\.sense=first, data\.max_bad=0\.5: leave"):
        vocab.run(asked)
    schema = VocabConfig(data=DataConfig(sources=""), rule="words")
    vocab_words._refuse_others(schema)  # the defaults are those of the schema

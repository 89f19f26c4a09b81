"""`catclip label explain=…`: readable, complete, and given any text as it is typed."""

import re
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from catclip import cli
from catclip.captions import SynsetExtractor, Vocabulary
from catclip.config import CaptionsConfig, DataConfig, LabelConfig
from catclip.errors import UserError
from catclip.verbs import label


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def say(capsys):
    """Explain a caption and return what is printed."""

    def explained(caption, vocabulary=None, rule="default", **captions):
        data = DataConfig(sources=None, vocabulary=vocabulary and str(vocabulary))
        label.run(LabelConfig(explain=caption, data=data, captions=CaptionsConfig(**captions), rule=rule))
        said = capsys.readouterr().out
        assert max(map(len, said.splitlines())) <= 80
        return said

    return explained


@pytest.mark.parametrize("caption", ["", " \n"])
def test_an_empty_caption_is_told(say, caption):
    with pytest.raises(UserError, match="The caption to explain is empty"):
        say(caption)


def row(said, word):
    """The line of a word in the first table, its spaces collapsed."""
    (line,) = [line for line in said.split("\n\n")[1].splitlines() if line.startswith(f"{word} ")]
    return " ".join(line.split())


def test_each_word_has_a_line_with_its_label_and_why(say):
    said = say("Two men watch a garden hose")
    assert row(said, "Two") == "Two number"
    assert row(said, "men") == "men plural noun man.n.01 man: its most visible sense"
    assert re.fullmatch(r"watch verb no noun here: log odds -\d\.\d", row(said, "watch"))
    assert row(said, "garden hose") == "garden hose noun garden_hose.n.01 garden_hose: multiword noun; its"
    assert "rule=default, captions.tagger=lexicon, captions.sense=visual" in said


def test_senses_are_listed_with_the_chosen_one_marked(say):
    senses = say("a hose").split("\n\n")[2]
    assert re.search(r"\* 3 hose\.n\.03 +n03539875 +artifact +tube +0 +\d\.\d", senses)
    assert re.search(r"  1 hosiery\.n\.01 +n03540267 +artifact", senses)
    many = say("a man").split("\n\n")[2]
    assert "and 7 more" in many
    assert many.count("man.n.") >= 1
    assert "senses" not in say("of the")


def test_a_sense_that_only_the_table_names_is_listed_too(say):
    said = say("a grill")
    assert re.search(r"\*    ?barbecue\.n\.03 +n02790669", said)


def test_the_published_rule_and_other_taggers_are_explained(say):
    assert row(say("a couch", rule="reference"), "couch") == (
        "couch couch: its first sense is named sofa: dropped, as published"
    )
    assert (
        row(say("the walk", tagger="none", sense="first"), "walk") == "walk any walk.n.01 walk: WordNet's first sense"
    )


def test_a_vocabulary_says_which_labels_are_in_it(say, tmp_path):
    extractor = SynsetExtractor()
    (dog,), (cat,) = extractor("a dog"), extractor("a cat")
    made = {"rule": "default", "tagger": "lexicon", "sense": "visual"}
    Vocabulary.from_counts({cat: 9, dog: 8}, made).save(tmp_path / "vocab.tsv")
    said = say("a dog on a sofa", tmp_path / "vocab.tsv")
    assert row(said, "dog") == "dog noun dog.n.01 label 1 dog: its most visible sense"
    assert row(said, "sofa") == "sofa noun sofa.n.01 not in it sofa: its only sense"
    assert "The vocabulary has 2 labels." in said
    Vocabulary.from_counts({cat: 9}, made | {"tagger": "nltk"}).save(tmp_path / "other.tsv")
    said = " ".join(say("a dog", tmp_path / "other.tsv").split())
    assert "was made otherwise: rule=default, tagger=nltk, sense=visual." in said


@pytest.mark.parametrize("caption", ["[red]dog[/red] [/]", "a\x1b[31m dog", "s" * 300, "-".join("ab" * 50), "é 猫 🐶"])
def test_any_caption_is_printed_as_it_is(say, caption):
    assert "rule=default" in say(caption)


def test_without_a_caption_it_says_what_to_give():
    with pytest.raises(UserError, match=re.escape('explain="two dogs on a couch"')):
        label.run(LabelConfig(data=DataConfig(sources=None)))


# ---- the command line -----------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=30))
@example("'quoted' and \\' \\\\${x} $ \\")
@example("null")
@example("3")
def test_any_caption_is_text_to_hydra(text):
    value = OverridesParser.create().parse_override(cli._quote_pattern(f"explain={text}")).value()
    assert OmegaConf.create({"explain": value}).explain == text


@pytest.mark.parametrize("text", ['Two men, in "hot" {dog} [suits]: a=b, it\'s ${fun} \\', "", "3"])
def test_a_caption_reaches_the_verb_as_it_was_typed(monkeypatch, text):
    received = []
    monkeypatch.setattr(label, "run", received.append)
    monkeypatch.setattr(sys, "argv", ["catclip", "label", f"explain={text}"])
    cli.main()
    assert received[0].explain == text
    assert received[0].data.sources is None

import re
from itertools import pairwise

import pytest
from omegaconf import MISSING, OmegaConf

from catclip.cli import VERBS, _schemas
from catclip.help import verb_help
from catclip.paths import CONF


def help_of(verb: str) -> str:
    return verb_help(verb, VERBS[verb], _schemas()[verb.replace(" ", "_")], CONF)


def keys_of(node, prefix=""):
    for key in node:
        value = None if OmegaConf.is_missing(node, key) else node[key]
        yield from keys_of(value, f"{prefix}{key}.") if OmegaConf.is_dict(value) and value else [f"{prefix}{key}"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_keys_within_80_columns(verb):
    text = help_of(verb)
    assert max(map(len, text.splitlines())) <= 80
    named = {line.split()[0] for line in text.splitlines() if line.startswith("  ")}
    schema = OmegaConf.structured(_schemas()[verb.replace(" ", "_")])
    assert set(keys_of(schema)) <= named
    assert MISSING not in text


@pytest.mark.parametrize("verb", VERBS)
def test_every_key_is_explained(verb):
    lines = help_of(verb).splitlines()
    for line, below in pairwise(lines):
        if re.match(r"  [a-z]", line) and len(line.split()) == 1:
            assert below.startswith(" " * 24), line


def test_lines_of_an_example_are_folded_as_one():
    text = help_of("compare")
    assert "batches, augmentation and\n      optimiser for every objective. Another" in text


def test_what_keys_are_and_what_to_choose_from():
    text = " ".join(help_of("pretrain").split())
    assert "run.batch of all ranks together" in text
    assert "categorical*, catlip, contrastive," in text
    assert "catclip pretrain objective=categorical|contrastive" in text


def test_keys_of_what_may_be_a_folder_or_keys_of_its_own():
    text = " ".join(help_of("finetune").split())
    assert "data.mixup alpha of mixup" in text
    assert "backbone.image_size pixels" in text


def test_keys_that_another_verb_lent_are_explained_too():
    assert "a pair of runs each" in help_of("demo")  # of CompareConfig, whose keys it has

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
    for key in keys_of(schema):
        assert any(key == each or key.startswith(f"{each}.") or each.startswith(f"{key}.") for each in named), key
    assert MISSING not in text


def test_what_keys_are_and_what_to_choose_from():
    text = " ".join(help_of("pretrain").split())
    assert "run.batch of all ranks together" in text
    assert "categorical*, contrastive," in text
    assert "catclip pretrain objective=categorical|contrastive" in text


def test_keys_that_another_verb_lent_are_explained_too():
    assert "a pair of runs each" in help_of("demo")  # of CompareConfig, whose keys it has

"""NLTK's perceptron tagger, remembered, against NLTK's own."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catclip.captions.clean import clean, tokenize
from catclip.captions.perceptron import RememberingTagger


@pytest.fixture(scope="module")
def tagger(shared: Path):
    import nltk
    from nltk.tag.perceptron import PerceptronTagger

    nltk.data.path.insert(0, str(shared / "nltk_data"))
    return PerceptronTagger(lang="eng")


def tags(tagger, tokens: list[str]) -> list[str]:
    return [tag for _, tag in tagger.tag(tokens)]


def test_real_captions_get_nltks_tags(tagger, shared: Path):
    remembering = RememberingTagger(tagger)
    for name in ("flickr30k", "cc3m_val"):
        captions = (shared / "data/text" / f"{name}.txt").read_text(encoding="utf-8").splitlines()[::120]
        for caption in captions:
            tokens = tokenize(clean(caption))
            assert remembering.tags(tokens) == tags(tagger, tokens), caption


TOKENS = st.sampled_from(
    ["the", "A", "dog", "Runs", "running", "to", "by-line", "1999", "12", "9.99", "-", "--", "'s", "York", "."]
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tokens=st.lists(TOKENS | st.text(min_size=1, max_size=8), max_size=12))
def test_any_tokens_get_nltks_tags(tagger, tokens: list[str]):
    assert RememberingTagger(tagger).tags(tokens) == tags(tagger, tokens)

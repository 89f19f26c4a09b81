"""The table of objects against WordNet, and the masks that they are drawn with."""

from pathlib import Path

import pytest
from PIL import ImageChops

from catclip.captions import SynsetExtractor
from catclip.data.glyphs.masks import object_masks
from catclip.data.glyphs.objects import KINDS
from catclip.data.glyphs.shapes import SHAPES


@pytest.fixture(scope="module")
def wordnet(shared: Path):
    nltk = pytest.importorskip("nltk")
    nltk.data.path.insert(0, str(shared / "nltk_data"))
    yield nltk.corpus.wordnet
    nltk.data.path.remove(str(shared / "nltk_data"))


def test_there_are_enough_kinds_and_no_two_share_a_name_or_synset():
    assert len(KINDS) >= 80
    assert len({kind.name for kind in KINDS}) == len({kind.wnid for kind in KINDS}) == len(KINDS)
    assert {kind.name for kind in KINDS if not kind.glyphs} == SHAPES.keys()


def test_nouns_are_lemmas_of_their_synset(wordnet):
    for kind in KINDS:
        synset = wordnet.synset_from_pos_and_offset("n", int(kind.wnid[1:]))
        lemmas = {lemma.lower() for lemma in synset.lemma_names()}
        assert {noun if noun in lemmas else wordnet.morphy(noun, "n") for noun in kind.nouns} <= lemmas, kind.name


def test_captions_that_name_a_kind_are_labelled_with_its_synset():
    extractor = SynsetExtractor()
    missed = [kind.name for kind in KINDS if kind.wnid not in extractor(f"a red {kind.name.replace('_', ' ')}")]
    assert missed == ["gear"]  # which captions mostly mean as equipment


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_masks_show_something_of_the_asked_size(kind):
    for variant in range(len(kind.glyphs) or 1):
        whole, ink = object_masks(kind, variant, 48)
        assert max(whole.size) == 48
        covered = sum(whole.histogram()[128:])
        assert covered > 0.08 * 48 * 48
        if ink:
            assert ImageChops.subtract(ink, whole).getbbox() is None  # ink lies on the object
            assert sum(ink.histogram()[128:]) < covered


def test_no_two_kinds_look_alike():
    """Sketches of 24 by 24 pixels: the nearest two kinds still differ in many of them."""
    pixels = {}
    for kind in KINDS:
        whole, ink = object_masks(kind, 0, 24)
        visible = ImageChops.subtract(whole, ink) if ink else whole
        pixels[kind.name] = visible.crop((0, 0, 24, 24)).tobytes()
    names = list(pixels)
    for i, a in enumerate(names):
        for b in names[:i]:
            difference = sum(abs(x - y) for x, y in zip(pixels[a], pixels[b], strict=True)) / 255
            assert difference > 30, (a, b, difference)

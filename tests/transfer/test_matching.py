"""What class names mean: against ImageNet's own WNIDs, and by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
from timm.data import ImageNetInfo

from catclip.captions.lexicon import load_lexicon
from catclip.transfer.matching import ClassReader

READER = ClassReader()


@pytest.mark.parametrize(
    ("name", "read_as", "synsets"),
    [
        ("n02084071", "wnid", ["dog.n.01"]),
        ("n02085620-Chihuahua", "wnid", ["chihuahua.n.03"]),
        ("crane.n.05", "wnid", ["crane.n.05"]),
        ("dog", "name", ["dog.n.01"]),
        ("hot_dogs", "name", ["hotdog.n.02"]),
        ("T-shirt", "name", ["jersey.n.03"]),
        ("wine glass", "name", ["wineglass.n.01"]),
        ("  Fire Truck ", "name", ["fire_engine.n.01"]),
        ("wolves", "name", ["wolf.n.01"]),
        ("case, display case, showcase, vitrine", "name", ["case.n.20"]),
        ("crane bird", "parts", ["crane.n.05"]),
        ("crane (bird)", "parts", ["crane.n.05"]),
        ("restaurant_kitchen", "parts", ["restaurant.n.01", "kitchen.n.01"]),
        ("apartment_building/outdoor", "parts", ["apartment_building.n.01"]),
        ("sports ball", "parts", ["ball.n.11"]),
        ("n99999999", "none", []),
        ("xyzzy", "none", []),
        ("?! b", "none", []),
        ("", "none", []),
    ],
)
def test_names(name, read_as, synsets):
    meaning = READER(name)
    assert [load_lexicon().name(wnid) for wnid in meaning.synsets] == synsets
    assert meaning.read_as == read_as


def test_senses_are_those_of_the_captions():
    """The first sense of crane is the poet, the most visible one is no person."""
    first, visual = ClassReader("first")("crane"), ClassReader("visual")("crane")
    lexicon = load_lexicon()
    assert first.synsets[0] == lexicon.synsets("crane")[0]
    assert lexicon.category(visual.synsets[0]) != "person"


def test_imagenets_names_mean_its_synsets():
    """timm has WordNet's lemmas of each class, open_clip names that people chose, some of them in no dictionary."""
    info = ImageNetInfo()
    wnids = info.label_names()
    lemmas = [READER(info.label_name_to_description(wnid)).synsets == (wnid,) for wnid in wnids]
    chosen = [READER(name).synsets == (wnid,) for wnid, name in zip(wnids, IMAGENET_CLASSNAMES, strict=True)]
    assert sum(lemmas) > 950
    assert sum(chosen) > 820
    assert all(READER(wnid).synsets == (wnid,) for wnid in wnids)


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=30))
def test_any_text_is_read(text):
    meaning = READER(text)
    assert (meaning.read_as == "none") == (not meaning.synsets)
    assert len(set(meaning.synsets)) == len(meaning.synsets)
    for wnid in meaning.synsets:
        load_lexicon().lemmas(wnid)
    assert READER(text) == meaning

"""The noun hierarchy, by known synsets and against WordNet as NLTK reads it."""

from itertools import pairwise

import nltk
import pytest

from catclip.captions.hierarchy import depth, find_synset, path
from catclip.captions.lexicon import load_lexicon
from catclip.errors import UserError

DOG, ENTITY = "n02084071", "n00001740"


def test_path_and_depth_of_known_synsets():
    names = [load_lexicon().name(wnid).split(".")[0] for wnid in path(DOG)]
    assert names[:5] == ["entity", "physical_entity", "object", "whole", "living_thing"]
    assert names[5:9] == ["organism", "animal", "chordate", "vertebrate"]
    assert names[9:] == ["mammal", "placental", "carnivore", "canine", "dog"]
    assert depth(DOG) == 8  # by way of domestic_animal it is nearer than along the path
    assert path(ENTITY) == [ENTITY]
    assert depth(ENTITY) == 0


def test_paths_lead_from_entity_down():
    lexicon = load_lexicon()
    for wnid in lexicon.wnids()[::97]:
        above = path(wnid)
        assert (above[0], above[-1]) == (ENTITY, wnid)
        assert all(up in lexicon.hypernyms(down) for up, down in pairwise(above))
        assert depth(wnid) <= len(above) - 1


def test_depth_is_nltks(shared, monkeypatch):
    monkeypatch.setattr(nltk.data, "path", [str(shared / "nltk_data")])
    from nltk.corpus import wordnet

    for wnid in load_lexicon().wnids()[::397]:
        synset = wordnet.synset_from_pos_and_offset("n", int(wnid[1:]))
        assert depth(wnid) == synset.min_depth()
        assert path(wnid) in [[f"n{each.offset():08}" for each in one] for one in synset.hypernym_paths()]


@pytest.mark.parametrize("name", [DOG, "dog.n.01", "Dog.n.1", "domestic_dog.n.01", "domestic dog.n.01"])
def test_synsets_are_found_by_any_name(name):
    assert find_synset(name) == DOG


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("n00000001", "no noun synset"),
        ("dog", "neither a WNID .* nor a synset's name"),
        ("dog.v.01", "neither"),
        ("n2084071", "neither"),
        ("dogg.n.01", "no noun 'dogg'. Did you mean 'dog"),
        ("dog.n.00", "dog.n.01 to dog.n.07"),
        ("dog.n.99", "dog.n.01 to dog.n.07"),
        ("", "neither"),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(UserError, match=message):
        find_synset(name)

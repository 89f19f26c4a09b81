"""Path similarity is NLTK's, and the nearest row that of a plain search."""

import random

import numpy as np
import pytest

from catclip.captions.lexicon import load_lexicon
from catclip.transfer.similarity import Neighbourhood, path_similarity, steps_above

DOG, PUPPY, CANINE, CAT = "n02084071", "n01322604", "n02083346", "n02121620"


@pytest.fixture
def wordnet(shared, monkeypatch):
    import nltk

    monkeypatch.setattr(nltk.data, "path", [str(shared / "nltk_data")])
    from nltk.corpus import wordnet

    return wordnet


def test_path_similarity_is_nltks(wordnet):
    lexicon, rng = load_lexicon(), random.Random(0)
    wnids = lexicon.wnids()
    for number in range(600):
        one, other = rng.choice(wnids), rng.choice(wnids)
        if number % 3 == 0:  # pairs that lie above each other, which random ones hardly do
            other = rng.choice(sorted(lexicon.ancestors(one)) or [one])
        synsets = [wordnet.synset_from_pos_and_offset("n", int(wnid[1:])) for wnid in (one, other)]
        assert path_similarity(one, other) == synsets[0].path_similarity(synsets[1]), (one, other)


def test_similarities_are_those_of_each_pair():
    rng = random.Random(1)
    wnids = load_lexicon().wnids()
    rows = rng.sample(wnids, 300)
    near = Neighbourhood(rows)
    for wnid in [*rng.sample(wnids, 20), rows[7]]:
        expected = np.array([path_similarity(wnid, row) for row in rows])
        assert near.similarities(wnid) == pytest.approx(expected)
        found = near.nearest(wnid)
        assert found.similarity == expected.max() == expected[found.row]
        below = [row for row, each in enumerate(rows) if wnid in steps_above(each)]
        assert near.below(wnid) == below
        above = near.nearest_above(wnid)
        assert (above is None) == (not set(steps_above(wnid)) & set(rows))
        if above:
            assert steps_above(wnid)[rows[above.row]] == min(steps_above(wnid).get(row, 99) for row in rows)


def test_ties_go_to_hyponyms_then_hypernyms_then_the_first():
    assert steps_above(PUPPY)[DOG] == steps_above(DOG)[CANINE] == 1
    assert Neighbourhood([CANINE, PUPPY]).nearest(DOG) == (1, 0.5)
    siblings = ["n02119789", "n02114367"]  # kit fox and grey wolf, both two steps below canine
    assert Neighbourhood([CAT, siblings[0], CANINE]).nearest(DOG) == (2, 0.5)
    wolf_and_fox = ["n02114100", "n02118333"]  # both one below canine, as the dog
    for order in (wolf_and_fox, wolf_and_fox[::-1]):
        assert Neighbourhood(order).nearest(DOG) == (0, 1 / 3)
    assert Neighbourhood([CAT]).nearest_above(DOG) is None


def test_an_unknown_synset_is_a_key_error():
    with pytest.raises(KeyError):
        steps_above("n00000001")

"""Names of people where a sentence begins, and words that have a capital for no more than that."""

import pytest

from catclip.captions import SynsetExtractor
from catclip.captions.lexicon import load_lexicon
from catclip.captions.names import Names


@pytest.fixture(scope="module")
def extractor() -> SynsetExtractor:
    return SynsetExtractor()


def labels(extractor: SynsetExtractor, caption: str) -> list[str]:
    found = extractor(caption)
    assert extractor.extract_many([caption]) == [found]
    return [extractor.lexicon.name(wnid) for wnid in found]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Tiger Woods playing golf", "golf.n.01"),
        ("Michael Jordan dunks", ""),
        ("Michael Jordan Dunks A Ball", "ball.n.01"),
        ("Portrait Of Michael Jordan Dunking A Ball", "portrait.n.02 ball.n.01"),
        ("Rose Byrne smiles at the camera", "camera.n.01"),
        ("Taylor Swift on a stage", "stage.n.03"),
        ("Will Smith walks a dog", "dog.n.01"),
        ("Bill Gates and Steve Jobs sitting in red chairs", "chair.n.01"),
        ("LeBron James passes a basketball", "basketball.n.02"),
        ("A dog. Tiger Woods plays golf with a friend", "dog.n.01 golf.n.01 friend.n.01"),
        ("a picture of Michael Jordan with a ball", "picture.n.01 ball.n.01"),
        ("President Bush shakes a hand", "president.n.01 hand.n.01"),
        ("a picture of President Bush with a dog", "picture.n.01 president.n.01 dog.n.01"),
        ("President George Bush shakes a hand", "president.n.01 hand.n.01"),
        ("Queen Victoria on a horse", "queen.n.02 horse.n.01"),
        ("a man named Bill", "man.n.01"),
        ("a dog called Rusty on a sofa", "dog.n.01 sofa.n.01"),
        ("A girl named Victoria. A dog", "girl.n.01 dog.n.01"),
        ("Mr. Bean on a sofa", "sofa.n.01"),
        ("Mr Bean", ""),
        ("a photo of Dr. House in a hospital", "photograph.n.01 hospital.n.01"),
        ("Mr. Bean Smith on a sofa", "sofa.n.01"),
        ("Portrait Of Mr Bean", "portrait.n.02"),
    ],
)
def test_a_name_is_no_label(extractor: SynsetExtractor, caption: str, expected: str):
    assert labels(extractor, caption) == expected.split()


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Brown Dog runs", "dog.n.01"),
        ("White Man with gray beard", "man.n.01 beard.n.01"),
        ("Rose Petals on a table", "petal.n.01 table.n.02"),
        ("NFL Fan with a hat", "fan.n.01 hat.n.01"),
        ("A dog. The Cat sits here", "dog.n.01 cat.n.01"),
        ("Two Dogs run in the snow", "dog.n.01 snow.n.02"),
        ("Golden Gate Bridge in the fog", "golden_gate_bridge.n.01 fog.n.01"),
        ("The Pope talking to a man", "pope.n.01 man.n.01"),
        (
            "The campus of West Virginia University In Winter",
            "campus.n.01 west_virginia.n.01 university.n.02 winter.n.01",
        ),
        ("Polar Bear And Two Dogs", "ice_bear.n.01 dog.n.01"),
        ("King Penguin on the ice", "king_penguin.n.01 ice.n.01"),
        ("Stephen King with a dog", "dog.n.01"),
        ("a bridge called Golden Gate Bridge", "bridge.n.01 golden_gate_bridge.n.01"),
        ("a drink called coffee. Coffee in a cup", "drink.n.01 coffee.n.01 coffee.n.01 cup.n.01"),
        ("the dog named. Cat on a sofa", "dog.n.01 cat.n.01 sofa.n.01"),
    ],
)
def test_a_capital_at_the_start_is_no_name(extractor: SynsetExtractor, caption: str, expected: str):
    assert labels(extractor, caption) == expected.split()


def test_parts_of_names_come_from_wordnets_persons():
    names = Names(load_lexicon())
    assert names.part("Michael") == (True, True, True, False, False)
    assert names.part("Jordan").surname
    assert not names.part("Jordan").given
    assert names.part("Mark").given
    assert not names.part("Mark").begins
    assert names.part("Dog") == names.part("And") == names.part("Running") == (False, False, False, False, False)
    assert names.part("Lebron") == (False, True, False, True, False)
    assert not names.part("NFL").begins

"""Pooled scores are those of a plain loop over each class's rows."""

import pytest
import torch
from torch import nn

from catclip.captions import Vocabulary
from catclip.errors import UserError
from catclip.transfer.head import row_directions
from catclip.transfer.init import transfer_init
from catclip.transfer.mapping import load_mapping, map_classes
from catclip.transfer.pooling import POOLS, LabelClassifier, hypernym_rows, pooled_rows

DOG, CORGI, CAT, CAR, ANIMAL = "n02084071", "n02112826", "n02121620", "n02958343", "n00015388"
NAMES = ["dog", "animal", "car", "truck", "xyzzy"]


class Learned(nn.Module):
    """Pictures are features already."""

    def __init__(self) -> None:
        super().__init__()
        self.vocabulary = Vocabulary.from_counts({DOG: 9, CAR: 7, CORGI: 5, CAT: 3}, {})
        self.backbone = nn.Identity()
        torch.manual_seed(0)
        self.head = nn.Linear(6, 4)


def test_rows_of_a_class_are_its_own_and_its_hyponyms(tmp_path):
    vocabulary = Learned().vocabulary
    mapping = map_classes(NAMES, vocabulary)
    assert pooled_rows(mapping, multilabel=True) == [[0, 2], [0, 2, 3], [1], [1], []]
    path = tmp_path / "map.tsv"
    path.write_text(f"class\tsynsets\trows\nanimal\tn00015388\t{CAT}\n")
    assert pooled_rows(load_mapping(path, vocabulary)) == [[3]], "what the user gave is all"


def test_where_a_picture_shows_one_class_a_general_one_leaves_the_narrower_theirs():
    vocabulary = Vocabulary.from_counts({DOG: 9, CAR: 7, CORGI: 5, CAT: 3, ANIMAL: 2}, {})

    def rows(*names: str) -> list[list[int]]:
        return pooled_rows(map_classes(names, vocabulary))

    assert rows("animal", "car") == [[0, 2, 3, 4], [1]]
    assert rows("animal", "dog", "cat") == [[4], [0, 2], [3]], "its own row stays its own"
    assert rows("animal", "dog", CORGI) == [[3, 4], [0], [2]], "each leaves what the next has"
    assert rows("animal", "poodle") == [[2, 3, 4], [0]], "the nearest row is the poodle's"
    assert rows("animal", "insect") == [[0, 2, 3, 4], [4]], "but not the very row of the general class"
    assert rows("dog", "Canis familiaris", "dog car") == [[0, 2], [0, 2], [0, 1, 2]], "none is narrower"
    assert rows("canine", "dog") == [[0], [0, 2]], "where nothing is left, the nearest row speaks for it"


def test_the_narrower_class_can_be_the_likelier():
    objective = Learned()
    mapping = map_classes(["animal", "dog"], objective.vocabulary)
    features = objective.head.weight.detach()[[0, 3]] * 10
    scores = LabelClassifier(objective, mapping)(features)
    assert scores.argmax(dim=1).tolist() == [1, 0], "a dog is the dog, a cat the animal"
    every = LabelClassifier(objective, mapping, multilabel=True)(features)
    assert (every[:, 0] >= every[:, 1]).all(), "a dog shows an animal"


@pytest.mark.parametrize("pool", POOLS)
def test_scores_are_a_plain_loops(pool):
    objective = Learned()
    mapping = map_classes(NAMES, objective.vocabulary)
    features = torch.randn(11, 6) * 3
    scores = LabelClassifier(objective, mapping, pool)(features)
    logits = features @ row_directions(objective.head.weight).T
    rows = mapping.rows if pool == "none" else pooled_rows(mapping)
    how = {"none": lambda x: x.mean(1), "max": lambda x: x.amax(1), "sum": lambda x: x.logsumexp(1)}[pool]
    for label in range(4):
        assert torch.allclose(scores[:, label], how(logits[:, list(rows[label])]), atol=1e-5)
    assert (scores[:, 4] < -1e30).all()
    assert torch.isfinite(scores).all()


def test_without_pooling_it_is_the_initialised_head():
    objective = Learned()
    head, mapping = transfer_init(objective, NAMES)
    features = torch.randn(8, 6)
    scores = LabelClassifier(objective, mapping, "none")(features)
    assert torch.allclose(scores[:, :4], head(features)[:, :4], atol=1e-5)


def test_a_hypernyms_row_has_its_share_of_the_score():
    objective = Learned()
    objective.vocabulary = Vocabulary.from_counts({DOG: 9, ANIMAL: 7, CORGI: 5, CAR: 3}, {})
    names = ["corgi", "dog", "animal", "cat", "dog car", "xyzzy"]
    mapping = map_classes(names, objective.vocabulary)
    # From the nearest: the corgi's is the dog's, the dog's and the cat's the animal's; nothing is above those of a car.
    assert hypernym_rows(mapping) == [[0], [1], [], [1], [1], []]
    features = torch.randn(9, 6)
    logits = features @ row_directions(objective.head.weight).T
    for pool in POOLS:
        alone = LabelClassifier(objective, mapping, pool)(features)
        scores = LabelClassifier(objective, mapping, pool, 0.25)(features)
        for number, rows in enumerate([[0], [1], [], [1], [1], []]):
            wanted = 0.75 * alone[:, number] + 0.25 * logits[:, rows].mean(1) if rows else alone[:, number]
            assert torch.allclose(scores[:, number], wanted, atol=1e-5)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_no_share_is_said(share):
    objective = Learned()
    with pytest.raises(UserError, match="must be a share"):
        LabelClassifier(objective, map_classes(NAMES, objective.vocabulary), hypernyms=share)


def test_an_unknown_pool_is_said():
    objective = Learned()
    with pytest.raises(UserError, match="pool=mean is not one of"):
        LabelClassifier(objective, map_classes(NAMES, objective.vocabulary), "mean")

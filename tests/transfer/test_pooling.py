"""Pooled scores are those of a plain loop over each class's rows."""

import pytest
import torch
from torch import nn

from catclip.captions import Vocabulary
from catclip.errors import UserError
from catclip.transfer.head import row_directions
from catclip.transfer.init import transfer_init
from catclip.transfer.mapping import load_mapping, map_classes
from catclip.transfer.pooling import POOLS, LabelClassifier, pooled_rows

DOG, CORGI, CAT, CAR = "n02084071", "n02112826", "n02121620", "n02958343"
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
    assert pooled_rows(mapping) == [[0, 2], [0, 2, 3], [1], [1], []]
    path = tmp_path / "map.tsv"
    path.write_text(f"class\tsynsets\trows\nanimal\tn00015388\t{CAT}\n")
    assert pooled_rows(load_mapping(path, vocabulary)) == [[3]], "what the user gave is all"


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


def test_an_unknown_pool_is_said():
    objective = Learned()
    with pytest.raises(UserError, match="pool=mean is not one of"):
        LabelClassifier(objective, map_classes(NAMES, objective.vocabulary), "mean")

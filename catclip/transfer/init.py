"""Transfer-Init (CatLIP, arXiv 2404.15653, section 5): a classifier that starts at the learned labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from catclip.captions import Vocabulary
from catclip.errors import UserError
from catclip.objectives.base import Objective
from catclip.transfer.head import init_sigmoid_head, init_softmax_head
from catclip.transfer.mapping import Mapping, load_mapping, map_classes


class LabelHeadOf(NamedTuple):
    """The head of a run that learned synsets, and what its rows stand for."""

    head: nn.Linear
    vocabulary: Vocabulary


def label_head(objective: Objective) -> LabelHeadOf:
    """The label head of an objective.

    Raises:
        UserError: it learned no labels that are synsets.
    """
    head, vocabulary = getattr(objective, "head", None), getattr(objective, "vocabulary", None)
    if not isinstance(head, nn.Linear) or not isinstance(vocabulary, Vocabulary):
        raise UserError(
            f"This run ({type(objective).__name__}) has no head over synsets, and so no rows for classes: take "
            "one that was trained with objective=categorical and synsets for labels."
        )
    assert len(vocabulary) == head.out_features
    return LabelHeadOf(head, vocabulary)


def find_mapping(names: Sequence[str], vocabulary: Vocabulary, strategy_or_file: str | Path) -> Mapping:
    """The rows of classes: by a strategy (see `map_classes`), or as a file says that `catclip map` wrote."""
    if Path(strategy_or_file).suffix == ".tsv":
        return load_mapping(strategy_or_file, vocabulary, names)
    return map_classes(names, vocabulary, str(strategy_or_file))


def transfer_init(
    objective: Objective,
    names: Sequence[str],
    strategy_or_file: str | Path = "nearest",
    *,
    multilabel: bool = False,
    features: torch.Tensor | None = None,
    seed: int = 0,
) -> tuple[nn.Linear, Mapping]:
    """The head of a new task, from features [B, D] to logits [B, C], and how its classes were found.

    Args:
        objective: one with a label head.
        names: the C classes: WNIDs, names of synsets, or words (see `ClassReader`).
        strategy_or_file: `nearest`, `hypernym`, `exact`, or a mapping's .tsv.
        multilabel: whether a picture may show any number of classes.
        features: float [N, D] of training pictures, with which a head for one class a picture predicts better; their
            classes are not asked for.
        seed: of what is random: the classes without a row.

    Raises:
        UserError: the objective has no such head; what `map_classes` and `load_mapping` raise.
    """
    head, vocabulary = label_head(objective)
    mapping = find_mapping(names, vocabulary, strategy_or_file)
    if multilabel:
        return init_sigmoid_head(head, mapping.rows, seed), mapping
    return init_softmax_head(head, mapping.rows, features, seed), mapping

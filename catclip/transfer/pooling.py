"""Categorical zero-shot: the scores of a run's labels → the scores of classes that it was never told about."""

import torch

from catclip.errors import UserError, check_choice
from catclip.objectives.base import Objective
from catclip.transfer.head import row_directions
from catclip.transfer.init import label_head
from catclip.transfer.mapping import Mapping, Match
from catclip.transfer.similarity import Neighbourhood, steps_above

POOLS = ("max", "sum", "none")


def pooled_rows(mapping: Mapping, multilabel: bool = False) -> list[list[int]]:
    """Of each class the rows that speak for it: its own and those of all its hyponyms, for a dog is an animal.

    Where a picture shows one class, a dog is no *animal* if *dog* is a class too: rows that speak for a narrower class
    speak for that alone, but for a row that is the general class's very own. A class of which the vocabulary has
    neither, or that the user gave rows, has those of its match: the nearest label's or a hypernym's.

    Args:
        mapping: the classes.
        multilabel: whether a picture may show any number of them.
    """
    near = Neighbourhood(mapping.vocabulary.wnids)
    pooled = [_own_and_below(match, near) for match in mapping.matches]
    if multilabel:
        return [sorted(rows) for rows in pooled]
    narrower = _narrower(mapping)
    apart = []
    for match, rows, others in zip(mapping.matches, pooled, narrower, strict=True):
        own = set(match.rows) if match.how in ("exact", "rollup", "given") else set()
        left = rows - set().union(*(pooled[other] for other in others)) | own
        apart.append(sorted(left or match.rows))
    return apart


def _own_and_below(match: Match, near: Neighbourhood) -> set[int]:
    below = {row for wnid in match.synsets for row in near.below(wnid)}
    if match.how == "given" or not below:
        return set(match.rows)
    return below | (set(match.rows) if match.how in ("exact", "rollup") else set())


def _narrower(mapping: Mapping) -> list[list[int]]:
    """Of each class the classes all of whose synsets lie below one of its own."""
    named: dict[str, set[int]] = {}
    for number, match in enumerate(mapping.matches):
        for wnid in match.synsets:
            named.setdefault(wnid, set()).add(number)
    narrower: list[list[int]] = [[] for _ in mapping.matches]
    for number, match in enumerate(mapping.matches):
        above = [steps_above(wnid).keys() - {wnid} for wnid in match.synsets]
        wider = [set().union(*(named.get(wnid, ()) for wnid in some)) for some in above]
        for general in set.intersection(*wider) if wider else ():
            narrower[general].append(number)
    return narrower


def hypernym_rows(mapping: Mapping) -> list[list[int]]:
    """Of each class the rows of the nearest hypernyms that are labels, one for each of its synsets, or none."""
    near = Neighbourhood(mapping.vocabulary.wnids)
    found = [[near.nearest_above(wnid, strictly=True) for wnid in match.synsets] for match in mapping.matches]
    return [sorted({each.row for each in some if each}) for some in found]


def check_hypernyms(share: float, key: str = "hypernyms") -> None:
    """Raise `UserError` for what is no share of a score that leaves the class itself some."""
    if not 0 <= share < 1:
        raise UserError(f"{key}={share:g} must be a share, at least 0 and below 1.")


class LabelClassifier:
    """Pictures → scores of classes, by the label head of a run.

    Args:
        objective: one with a label head.
        mapping: the classes.
        pool: of the logits of a class's rows (see `pooled_rows`) the `max`, or the log of the `sum` of their
            exponentials; `none`: of its match alone the mean.
        hypernyms: of a class's score the share, in [0, 1), that the logit of its nearest hypernym has among the labels
            (see `hypernym_rows`): what looks like an animal is more likely a dog. A class without one, or without rows
            of its own, does without.
        multilabel: whether a picture may show any number of the classes.
    """

    def __init__(
        self,
        objective: Objective,
        mapping: Mapping,
        pool: str = "max",
        hypernyms: float = 0.0,
        *,
        multilabel: bool = False,
    ) -> None:
        check_choice("pool", pool, POOLS)
        check_hypernyms(hypernyms)
        self._objective, self._pool = objective, pool
        rows = mapping.rows if pool == "none" else pooled_rows(mapping, multilabel)
        weight = row_directions(label_head(objective).head.weight)
        self._weight = weight[[row for some in rows for row in some]]
        above = hypernym_rows(mapping) if hypernyms else [[]] * len(rows)
        share = [hypernyms if some and each else 0.0 for some, each in zip(rows, above, strict=True)]
        self._share = torch.tensor(share, device=weight.device)
        nothing = weight.new_zeros(weight.shape[1])  # the mean of logits is the logit of the mean
        self._above = torch.stack([weight[each].mean(0) if each else nothing for each in above])
        owners = [owner for owner, some in enumerate(rows) for _ in some]
        self._owners = torch.tensor(owners, device=weight.device)
        self._counts = torch.bincount(self._owners, minlength=len(rows))

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Scores float32 [B, C] of uint8 images [B, 3, H, W]; the least number for a class without rows."""
        features = self._objective.backbone(images).float()
        logits = features @ self._weight.T
        owners = self._owners.expand(len(logits), -1)
        zeros = logits.new_zeros(len(logits), len(self._counts))
        if self._pool == "none":
            scores = zeros.scatter_add(1, owners, logits) / self._counts
        else:
            scores = zeros.scatter_reduce(1, owners, logits, "amax", include_self=False)
            if self._pool == "sum":
                shifted = (logits - scores.gather(1, owners)).exp()
                scores = scores + zeros.scatter_add(1, owners, shifted).log()
        scores = scores.lerp(features @ self._above.T, self._share)
        return torch.where(self._counts > 0, scores, torch.finfo(torch.float32).min)

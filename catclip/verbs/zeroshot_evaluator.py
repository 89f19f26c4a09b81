"""Zero-shot classification while training: what `evaluators.zeroshot` names."""

from collections.abc import Callable, Iterator

import torch

from catclip.config import PretrainConfig
from catclip.errors import UserError, check_choice
from catclip.evaluate.zeroshot import Classifier, zero_shot_evaluator
from catclip.objectives.base import Objective
from catclip.transfer.init import find_mapping, label_head
from catclip.transfer.pooling import POOLS, LabelClassifier, check_hypernyms
from catclip.verbs.classifying import choose_way, make_text_classifier
from catclip.verbs.zeroshot import open_pictures


def zero_shot(
    config: PretrainConfig,
    device: torch.device,
    *,
    data: str,
    templates: str = "simple",
    pool: str = "max",
    hypernyms: float = 0.0,
) -> Callable[[Objective], Iterator[tuple[str, float]]]:
    """Zero-shot classification as an evaluator: yields `zeroshot_top_1` and the other `figures` of `evaluate.zeroshot`.

    By text where the objective has a text tower, by its labels otherwise, as `catclip zeroshot` does.

    Args:
        config: of the run.
        device: where the objective is.
        data: class folders, named in words, or a folder with test/ or val/.
        templates: by text, as ZeroshotConfig's.
        pool, hypernyms: by labels, as ZeroshotConfig's.

    Raises:
        UserError: there are no labelled pictures; when called, the objective knows no classes by name.
    """
    check_choice("evaluators.zeroshot.pool", pool, POOLS)
    check_hypernyms(hypernyms, "evaluators.zeroshot.hypernyms")
    images = open_pictures(data)

    def classifier(objective: Objective) -> Classifier:
        try:
            if choose_way(objective, None) == "text":
                return make_text_classifier(objective, images.classes, templates, device)
            mapping = find_mapping(images.classes, label_head(objective).vocabulary, "nearest")
        except UserError as error:
            raise UserError(f"evaluators.zeroshot: {error} evaluators.zeroshot=null leaves it out.") from error
        return LabelClassifier(objective, mapping, pool, hypernyms, multilabel=images.multilabel)

    return zero_shot_evaluator(classifier, images, device, config.data.workers)

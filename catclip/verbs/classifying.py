"""A run → a classifier of pictures into classes: what `zeroshot` and `predict` share."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from open_clip import zero_shot_metadata

from catclip.errors import UserError, check_choice
from catclip.evaluate.ranking import read_texts
from catclip.evaluate.zeroshot import Classifier, text_classifier
from catclip.objectives.base import Objective
from catclip.transfer.class_list import spoken_name


def choose_way(objective: Objective, by: str | None) -> str:
    """`text` or `labels`: by what an objective knows classes and captions.

    Raises:
        UserError: it has not what `by` asks for.
    """
    ways = [
        way
        for way, needs in (("text", ("embed_pictures", "embed_texts")), ("labels", ("head", "vocabulary")))
        if all(hasattr(objective, each) for each in needs)
    ]
    name = type(objective).__name__
    if not ways:
        tuned = hasattr(objective, "classes")
        own = " It knows the classes that it was fine-tuned on: its finetune.json has how well." if tuned else ""
        raise UserError(f"This run ({name}) has neither a text tower nor a label head to know classes by.{own}")
    if by is None:
        return ways[0]
    check_choice("by", by, ["text", "labels"])
    if by not in ways:
        has = "label head" if by == "labels" else "text tower"
        raise UserError(f"by={by}: this run ({name}) has no {has}. Leave it out, or give by={ways[0]}.")
    return by


def make_text_classifier(
    objective: Objective, names: Sequence[str], templates: str, device: torch.device
) -> Classifier:
    """A classifier by sentences with the class names in them; see `text_classifier`.

    Raises:
        UserError: `templates` is no choice and no file of templates.
    """
    return text_classifier(
        objective,  # type: ignore[arg-type]
        lambda texts: read_texts(objective, texts)["tokens"],
        [spoken_name(name) for name in names],
        read_templates(templates),
        device,
    )


def read_templates(source: str) -> list[Callable[[str], str]]:
    """Templates, each from a class name to a sentence.

    Args:
        source: `openai`, CLIP's 80 for ImageNet; `simple`, 7 of them; or a file with a sentence a line, in which {}
            stands for the class.

    Raises:
        UserError: no such file, or a line of it has no {}.
    """
    shipped = {
        "openai": zero_shot_metadata.OPENAI_IMAGENET_TEMPLATES,
        "simple": zero_shot_metadata.SIMPLE_IMAGENET_TEMPLATES,
    }
    if source in shipped:
        return list(shipped[source])
    try:
        lines = Path(source).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"templates={source}: give openai, simple, or a file of sentences ({error}).") from error
    lines = [line.strip() for line in lines if line.strip()]
    wrong = [line for line in lines if "{}" not in line]
    if wrong or not lines:
        what = f"'{wrong[0]}' has not" if wrong else "there is none"
        raise UserError(f"{source}: a template has {{}} where the class stands, as 'a photo of a {{}}.': {what}.")
    return [_template(line) for line in lines]


def _template(line: str) -> Callable[[str], str]:
    return lambda name: line.replace("{}", name)

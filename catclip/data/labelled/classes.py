"""Labels as they are written, class names or numbers → indices."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catclip.errors import UserError, nearest

CLASSES_FILE = "classes.txt"
_NUMBER = re.compile(r"-?[0-9]{1,18}")
_SHOWN = 8
_LONGEST = 80  # characters of a label in messages


def read_classes(classes: Any) -> list[str]:
    """The class names that `data.classes` gives.

    Args:
        classes: a file with a name a line, or the names themselves.

    Raises:
        UserError: the file cannot be read, or a name is empty.
    """
    if isinstance(classes, str | Path):
        try:
            names = Path(classes).expanduser().read_text(encoding="utf-8-sig").rstrip().splitlines()
        except OSError as error:
            raise UserError(f"{classes}, the class names, cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{classes}, the class names, is no text in UTF-8.") from error
    else:
        names = [str(name) for name in classes]
    names = [name.strip() for name in names]
    if not all(names) or not names:
        raise UserError(f"{classes}, the class names: give one for each class, a line each of a file, in their order.")
    return names


def classes_beside(file: str) -> list[str] | None:
    """The class names in a `classes.txt` in the folder of a file, if there is one."""
    path = Path(file).parent / CLASSES_FILE
    return read_classes(path) if path.is_file() else None


def index_labels(
    labels: Sequence[str], classes: Sequence[str] | None, where: Callable[[int], str]
) -> tuple[list[str], np.ndarray]:
    """Class names in the order of their indices, and the index of each label, int64 [N].

    Args:
        labels: each the name of a class, or its number, from 0.
        classes: the names; a label that is one of them is that class, even if it is a number. None: those found,
            sorted, or if all are numbers these.
        where: says of a label's place what it labels, for messages.

    Raises:
        UserError: an unknown name; a number out of range, or where no names are given a number that is skipped.
    """
    numbers: dict[str, int] = {}
    occurrences = np.fromiter((numbers.setdefault(label, len(numbers)) for label in labels), np.int64, len(labels))
    names = _found(list(numbers)) if classes is None else list(classes)
    indices = dict(zip(names, range(len(names)), strict=True))
    twice = {name for name, count in Counter(names).items() if count > 1}
    lookup = np.empty(len(numbers), np.int64)
    for label, number in numbers.items():
        index = indices.get(label, int(label) if _NUMBER.fullmatch(label) else -1)
        if not 0 <= index < len(names) or label in twice:
            raise UserError(f"{where(labels.index(label))} {_explain(label, names)}")
        lookup[number] = index
    return names, lookup[occurrences]


def _found(labels: list[str]) -> list[str]:
    if not all(map(_NUMBER.fullmatch, labels)):
        return sorted(labels)
    found = {int(label) for label in labels}
    skipped = next(number for number in range(len(found) + 1) if number not in found)
    if skipped < len(found):
        raise UserError(
            f"Labels that are numbers count from 0 without a gap; here they go from {min(found)} to {max(found)}, and "
            f"nothing has label {skipped}. If they are numbers of classes, or names, list those with data.classes=FILE."
        )
    return [str(number) for number in range(len(found))]


def _explain(label: str, names: list[str]) -> str:
    if label in names:
        return f"has class '{label}', which is the name of {names.count(label)} classes: give numbers instead."
    if _NUMBER.fullmatch(label):
        return f"has label {label}: there are {len(names):,} classes, numbered from 0."
    label = label[:_LONGEST]
    return f"has class '{label}', which is none of the {len(names):,} classes.{nearest(label, names)}"


def check_same(source: str, found: Sequence[str], expected: Sequence[str]) -> None:
    """Raise `UserError` unless the classes of a source, in any order, are those expected."""
    if len(set(expected)) < len(expected):
        raise UserError("Two of the class names are the same, and pictures are told apart by them.")
    if other := sorted(set(found) ^ set(expected)):
        raise UserError(f"{source} has other classes than expected: {some(other)}.")


def some(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")

"""COCO's instance annotations (`instances_*.json`): which categories a picture shows."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catclip.data.labelled.classes import check_same
from catclip.data.labelled.images import LabelledImages
from catclip.data.labelled.pictures import listed_files
from catclip.errors import UserError


def open_coco(path: Path, classes: Sequence[str] | None, images: str | None) -> LabelledImages:
    """The pictures of an annotation file, in its order, with the categories of their objects.

    A category counts once, however many objects or crowds (`iscrowd`) of it are annotated. A picture without objects
    has no label.

    Args:
        path: the annotation file.
        classes: the categories to expect, in the order of their indices; None: the file's, by rising id.
        images: the folder of the pictures, or one that holds a folder named as the split (train2017); None: found near
            the annotations.

    Raises:
        UserError: it is no such file, has other categories than expected, contradicts itself, or pictures are missing.
    """
    content = _load(path)
    categories = _by_id(path, content, "categories", "name")
    files = _by_id(path, content, "images", "file_name")
    names = [categories[id_] for id_ in sorted(categories, key=lambda id_: (isinstance(id_, str), id_))]
    if len(set(names)) < len(names):
        raise UserError(f"Two categories of {path} have the same name.")
    if classes is not None:
        check_same(str(path), names, classes)
    indices = {name: index for index, name in enumerate(classes or names)}
    index_of = {id_: indices[name] for id_, name in categories.items()}
    number_of = {id_: number for number, id_ in enumerate(files)}
    annotations = _pairs(path, content, "annotations", "image_id", "category_id")
    owners = _look_up(path, "image", number_of, [image for image, _ in annotations])
    ids = _look_up(path, "category", index_of, [category for _, category in annotations])
    file_names = list(files.values())
    pictures = listed_files(_picture_folder(path, images, file_names[0]), file_names, str(path))
    return LabelledImages.of_any_classes(str(path), pictures, list(indices), owners, ids)


def _load(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            content = json.load(file, object_hook=_without_outline)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict) or not {"images", "annotations", "categories"} <= content.keys():
        raise UserError(
            f"{path} is no COCO instances file: it needs images, annotations and categories, as instances_*.json has."
        )
    return content


def _without_outline(entry: dict[str, Any]) -> dict[str, Any]:
    """Forget polygons as soon as they are parsed: of COCO's own file they are nearly all, gigabytes of them."""
    entry.pop("segmentation", None)
    return entry


def _pairs(path: Path, content: dict[str, Any], part: str, first: str, second: str) -> list[tuple[Any, Any]]:
    """Two fields of each entry of a part of the file, numbers or text."""
    try:
        pairs = [(entry[first], entry[second]) for entry in content[part]]
    except (KeyError, TypeError):
        pairs = [(None, None)]
    if not all(isinstance(value, int | str) for pair in pairs for value in pair):
        raise UserError(f"{path} is no COCO instances file: each of its {part} needs {first} and {second}.")
    return pairs


def _by_id(path: Path, content: dict[str, Any], part: str, field: str) -> dict[Any, str]:
    """Id → a field of each entry of a part of the file, in its order; an entry that is listed twice counts once."""
    found: dict[Any, str] = {}
    for id_, value in _pairs(path, content, part, "id", field):
        if found.setdefault(id_, str(value)) != str(value):
            raise UserError(f"{path} lists two of its {part} with id {id_}: {found[id_]} and {value}.")
    if not found:
        raise UserError(f"{path} lists no {part}.")
    return found


def _look_up(path: Path, what: str, known: dict[Any, int], annotated: list[Any]) -> np.ndarray:
    try:
        return np.array([known[id_] for id_ in annotated], np.int64)
    except KeyError as error:
        raise UserError(f"{path} annotates {what} {error.args[0]}, which it does not list.") from error


def _picture_folder(path: Path, images: str | None, first: str) -> Path:
    """The folder that holds the first picture: COCO has train2017/ beside annotations/instances_train2017.json."""
    split, folder = path.stem.removeprefix("instances_"), path.absolute().parent
    roots = [Path(images).expanduser()] if images else [folder.parent, folder]
    places = [root / split for root in roots] + roots
    for place in places:
        if (place / first).is_file():
            return place
    raise UserError(
        f"The pictures of {path} are not found: {first} is in none of {', '.join(map(str, places))}. "
        "Give their folder as data.images=…"
    )

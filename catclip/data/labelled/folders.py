"""Class folders: `<folder>/<class>/…/<picture>`."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from catclip.data.labelled.classes import check_same, some
from catclip.data.labelled.images import LabelledImages
from catclip.data.labelled.pictures import PictureFiles
from catclip.errors import UserError

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


def open_class_folders(folder: Path, classes: Sequence[str] | None) -> LabelledImages:
    """The pictures of a folder that holds a folder for each class, sorted by class and name.

    Args:
        folder: the folder.
        classes: the classes to expect, in the order of their indices; None: the folders found, sorted.

    Raises:
        UserError: no class folders, others than expected, or one without pictures.
    """
    found = sorted(child.name for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    if not found:
        raise UserError(f"No class folders in {folder}: labelled pictures lie in {folder}/<class>/.")
    classes = found if classes is None else classes
    check_same(str(folder), found, classes)
    names = [list(_pictures(folder / name, name)) for name in classes]
    if empty := [name for name, pictures in zip(classes, names, strict=True) if not pictures]:
        raise UserError(f"No pictures in the class folders {some(empty)} of {folder} ({', '.join(sorted(PICTURES))}).")
    ids = np.repeat(np.arange(len(classes)), list(map(len, names)))
    files = PictureFiles(folder, [name for pictures in names for name in pictures])
    return LabelledImages.of_one_class(str(folder), files, classes, ids)


def _pictures(folder: Path, name: str) -> Iterator[str]:
    """Yield the pictures in a folder and those below it, sorted; paths begin with `name`."""
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = f"{name}/{entry.name}"
        if entry.is_dir():
            yield from _pictures(folder / entry.name, path)
        elif os.path.splitext(entry.name)[1].lower() in PICTURES:
            yield path

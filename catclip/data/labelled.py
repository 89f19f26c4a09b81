"""Downstream labelled images: class folders → batches of pictures and class indices."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from catclip.data.images import BadImageError, centre_crop, decode
from catclip.data.workers import leave_signals_to_parent
from catclip.errors import UserError

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"}


@dataclass(frozen=True)
class ClassFolder:
    """Pictures in one folder a class, `<folder>/<class>/<picture>`."""

    folder: Path
    classes: list[str]
    pictures: list[tuple[Path, int]]

    @classmethod
    def open(cls, folder: Path, classes: list[str] | None = None) -> "ClassFolder":
        """List the pictures of a class folder.

        Args:
            folder: holds a folder for each class.
            classes: the classes to expect, in the order of their indices; default: the folders found, sorted.

        Raises:
            UserError: no such folder, no class folders, classes other than expected, or no pictures.
        """
        if not folder.is_dir():
            raise UserError(f"No folder {folder}: labelled pictures lie in {folder}/<class>/.")
        found = sorted(child.name for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
        if not found:
            raise UserError(f"No class folders in {folder}: labelled pictures lie in {folder}/<class>/.")
        classes = found if classes is None else classes
        if other := sorted(set(found) ^ set(classes)):
            raise UserError(f"{folder} has other classes than expected: {', '.join(other[:8])}.")
        pictures = [
            (path, index)
            for index, name in enumerate(classes)
            for path in sorted((folder / name).iterdir())
            if path.suffix.lower() in PICTURES and not path.name.startswith(".")
        ]
        if not pictures:
            raise UserError(f"No pictures in the class folders of {folder} ({', '.join(sorted(PICTURES))}).")
        return cls(folder, classes, pictures)

    @classmethod
    def open_splits(cls, folder: str | Path) -> tuple["ClassFolder", "ClassFolder"]:
        """`<folder>/train` and `<folder>/test`, which must have the same classes."""
        train = cls.open(Path(folder) / "train")
        return train, cls.open(Path(folder) / "test", train.classes)

    def batches(self, size: int, batch: int = 256, workers: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Pictures uint8 [B, 3, size, size], resized and centre-cropped, and class indices int64 [B], in order.

        Raises:
            UserError: a picture cannot be decoded (names it).
        """
        loader: DataLoader[Any] = DataLoader(
            self.pictures,  # type: ignore[arg-type]
            batch_size=batch,
            num_workers=workers,
            collate_fn=partial(_load, size=size),
            worker_init_fn=leave_signals_to_parent,
        )
        for loaded in loader:
            if isinstance(loaded, UserError):
                raise loaded
            yield loaded


def _load(pictures: list[tuple[Path, int]], size: int) -> tuple[torch.Tensor, torch.Tensor] | UserError:
    images = []
    for path, _ in pictures:
        try:
            images.append(centre_crop(decode(path.read_bytes(), at_least=size), size))
        except (BadImageError, OSError) as error:
            # Returned: raised in a worker it would reach the user with the worker's traceback in its message.
            return UserError(f"{path} cannot be decoded: {error}. Remove or replace it.")
    return torch.stack(images), torch.tensor([label for _, label in pictures])

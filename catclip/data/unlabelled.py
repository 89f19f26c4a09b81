"""Pictures about which nothing is known: files, folders and globs → batches."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from catclip.data.images import BadImageError, held_out_picture
from catclip.data.labelled.folders import PICTURES
from catclip.data.workers import begin_worker, made_by_workers
from catclip.errors import UserError

_IN_MEMORY = re.compile(r" <_io\.BytesIO[^>]*>")  # Pillow's name for a file that it gets as bytes


class PictureBatch(NamedTuple):
    """Some pictures that can be read, and those beside them that cannot.

    Attributes:
        paths: of the B pictures.
        images: uint8 [B, 3, size, size].
        bad: path → why it cannot be read.
    """

    paths: list[Path]
    images: torch.Tensor
    bad: dict[Path, str]


def find_pictures(patterns: str | Path | Iterable[str | Path]) -> list[Path]:
    """The pictures that some patterns stand for, each once: files, folders with all that is below them, globs.

    Raises:
        UserError: a pattern stands for nothing.
    """
    listed = [patterns] if isinstance(patterns, str | Path) else list(patterns)
    if not listed:
        raise UserError("images is empty: give files, folders or globs.")
    return list(dict.fromkeys(path for pattern in listed for path in _matches(str(pattern))))


def _matches(pattern: str) -> list[Path]:
    path = Path(pattern).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        names = (Path(folder) / name for folder, _, files in os.walk(path) for name in files)
        found = sorted(name for name in names if name.suffix.lower() in PICTURES and not name.name.startswith("."))
        if not found:
            raise UserError(f"{pattern} has no pictures in it ({', '.join(sorted(PICTURES))}).")
        return found
    found = sorted(Path(name) for name in glob(str(path), recursive=True) if os.path.isfile(name))
    if not found:
        what = "matches no file" if has_magic(str(path)) else "does not exist"
        raise UserError(f"images={pattern} {what}.")
    return found


def picture_batches(paths: Sequence[Path], size: int, batch: int, workers: int) -> Iterator[PictureBatch]:
    """Pictures resized and centre-cropped as for evaluation, in order; batches of which none can be read, too."""
    workers = min(workers, -(-len(paths) // batch))
    loader: DataLoader[Any] = DataLoader(
        _Pictures(paths, size),
        batch_size=batch,
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=begin_worker,
    )
    done = 0
    for made in made_by_workers(loader):
        some = paths[done : done + len(made)]
        done += len(made)
        read = [(path, each) for path, each in zip(some, made, strict=True) if isinstance(each, torch.Tensor)]
        images = torch.stack([image for _, image in read]) if read else torch.zeros(0, 3, size, size, dtype=torch.uint8)
        bad = {path: each for path, each in zip(some, made, strict=True) if isinstance(each, str)}
        yield PictureBatch([path for path, _ in read], images, bad)


class _Pictures(Dataset):
    """Picture i, or why it cannot be read."""

    def __init__(self, paths: Sequence[Path], size: int):
        self.paths, self.size = paths, size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> torch.Tensor | str:
        try:
            return held_out_picture(self.paths[number].read_bytes(), self.size)
        except OSError as error:
            return str(error.strerror)
        except BadImageError as error:
            return f"no picture ({_IN_MEMORY.sub('', str(error))})"

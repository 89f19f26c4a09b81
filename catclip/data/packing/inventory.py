"""What is to be packed: the pictures of a folder that have captions, and why the others have none."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from catclip.data.packing.coco import coco_entries
from catclip.data.packing.entries import Entry
from catclip.data.packing.listing import Picture, list_folder
from catclip.data.packing.names import PictureNames
from catclip.data.packing.tables import is_table, table_entries
from catclip.data.pairs import BadSampleError
from catclip.errors import UserError

NO_CAPTION, EMPTY_CAPTION = "no caption", "empty caption"


class Candidate(NamedTuple):
    """A picture to pack: its path below the folder, its bytes, and its captions; None: in the text file beside it."""

    path: str
    size: int
    captions: list[str] | None

    @property
    def text(self) -> str:
        """The path of the text file beside it."""
        return text_beside(self.path)


class Skipped(NamedTuple):
    """A picture, or an entry that names none, and why it is not packed."""

    picture: str
    reason: str


class Inventory(NamedTuple):
    """The pictures to pack, sorted by path, and what cannot be."""

    candidates: list[Candidate]
    skipped: list[Skipped]


def text_beside(picture: str) -> str:
    return f"{os.path.splitext(picture)[0]}.txt"


def take_inventory(
    folder: Path, captions: Path | None, image_key: str | None = None, caption_key: str | None = None
) -> Inventory:
    """Find pictures and their captions.

    Args:
        folder: pictures, in folders of any depth.
        captions: a table or COCO's captions JSON; None for a text file beside each picture.
        image_key: a table's column of pictures; None finds the usual ones.
        caption_key: a table's column of captions; None finds the usual ones.

    Raises:
        UserError: there are no pictures, or none of them has a caption; the captions cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"data={folder} is no folder: give one that holds pictures.")
    if captions is not None and not captions.is_file():
        raise UserError(f"captions={captions} is no file: give a table or COCO's captions JSON.")
    in_table = captions is not None and is_table(str(captions))
    if (image_key or caption_key) and not in_table:
        raise UserError("image_key and caption_key are columns of a table: give one as captions=…")
    if captions is None:
        return _beside(folder)
    if in_table:
        return _as_told(folder, captions, table_entries(str(captions), image_key, caption_key))
    if captions.suffix.lower() == ".json":
        return _as_told(folder, captions, coco_entries(captions))
    raise UserError(
        f"captions={captions}: captions are read from tables (.csv, .tsv, .jsonl, any of them .gz, .bz2 or .zst; "
        ".parquet) and COCO's .json. A table that goes by another ending needs one of these."
    )


def _beside(folder: Path) -> Inventory:
    pictures, texts = list_folder(folder)
    inventory = Inventory([], [])
    for picture in pictures:
        if text_beside(picture.path) in texts:
            inventory.candidates.append(Candidate(*picture, None))
        else:
            inventory.skipped.append(Skipped(picture.path, NO_CAPTION))
    if not inventory.candidates:
        first = pictures[0].path
        raise UserError(
            f"None of the {len(pictures):,} pictures in {folder} has its caption beside it ({first} would have it in "
            f"{text_beside(first)}). Give the file that holds them: captions=FILE."
        )
    return inventory


def _as_told(folder: Path, captions: Path, entries: Iterable[Entry]) -> Inventory:
    pictures = list_folder(folder).pictures
    names = PictureNames(folder, captions, [picture.path for picture in pictures])
    found: dict[str, list[str]] = {}
    lost: dict[str, str] = {}  # each once, however many captions it has
    for name, texts, problem in entries:
        try:
            if problem:
                raise BadSampleError(problem)
            found.setdefault(names.find(name), []).extend(texts)
        except BadSampleError as error:
            lost[name] = str(error)
    if not any(found.values()):
        raise UserError(_none_found(folder, captions, pictures, found, lost))
    inventory = Inventory([], [Skipped(*each) for each in lost.items()])
    for picture in pictures:
        if texts := found.get(picture.path, []):
            inventory.candidates.append(Candidate(*picture, texts))
        else:
            reason = EMPTY_CAPTION if picture.path in found else NO_CAPTION
            inventory.skipped.append(Skipped(picture.path, reason))
    return inventory


def _none_found(
    folder: Path, captions: Path, pictures: Sequence[Picture], found: dict[str, list[str]], lost: dict[str, str]
) -> str:
    if not lost:
        return f"{captions} has no captions{' but empty ones' if found else ''}."
    name, reason = next(iter(lost.items()))
    return (
        f"{captions} captions none of the {len(pictures):,} pictures in {folder}: its first entry is {name} "
        f"({reason}), the first picture {pictures[0].path}."
    )

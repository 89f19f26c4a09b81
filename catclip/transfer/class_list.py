"""Class lists of target tasks: ImageNet-1k's, files as data sets ship them, class folders."""

import re
from functools import cache
from pathlib import Path

from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
from timm.data import ImageNetInfo

from catclip.captions.lexicon import load_lexicon
from catclip.data.labelled.classes import read_classes
from catclip.errors import UserError
from catclip.transfer.matching import given_synset

IMAGENET = "imagenet-1k"
_SPLITS = ("train", "test", "val")
_PLACES = re.compile(r"/\w/(\S+) \d+")  # categories_places365.txt: /a/airplane_cabin 1


def read_class_list(source: str | Path) -> list[str]:
    """Class names in the order of their indices.

    Args:
        source: `imagenet-1k` (its WNIDs, out of timm); a folder with a folder for each class, or with train/ or
            test/ of such; or a file with one name a line, or laid out as Places365's categories or ADE20k's
            objectInfo150 (a table with a column Name) are.

    Raises:
        UserError: there is no such list, or it has no names.
    """
    if str(source) == IMAGENET:
        return list(ImageNetInfo().label_names())
    path = Path(source).expanduser()
    if path.is_dir():
        return _folders(path)
    if not path.is_file():
        raise UserError(
            f"classes={source} is no file and no folder: give {IMAGENET}, a file with a class name a line, or a folder "
            "of classes."
        )
    lines = read_classes(path)
    header = lines[0].split("\t")
    if "Name" in header:
        column = header.index("Name")
        rows = [line.split("\t") for line in lines[1:]]
        if short := next((number for number, row in enumerate(rows, 2) if len(row) <= column), None):
            raise UserError(f"Line {short} of {source} has no Name.")
        return [row[column].strip() for row in rows]
    places = [_PLACES.fullmatch(line) for line in lines]
    return [place[1] for place in places if place] if all(places) else lines


def _folders(path: Path) -> list[str]:
    # A split holds folders; a class of that name, as CIFAR-100's train, holds pictures.
    splits = (path / name for name in _SPLITS if (path / name).is_dir())
    names = _folders_in(next((split for split in splits if _folders_in(split)), path))
    if not names:
        raise UserError(f"classes={path}: there are no class folders in it.")
    return names


def _folders_in(path: Path) -> list[str]:
    return sorted(child.name for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


@cache
def _imagenet_names() -> dict[str, str]:
    """open_clip's name of each WNID of ImageNet-1k."""
    return dict(zip(ImageNetInfo().label_names(), IMAGENET_CLASSNAMES, strict=True))


def spoken_name(name: str) -> str:
    """A class name as a sentence has it, for prompts: "a photo of a {name}."

    A synset (`given_synset`) has open_clip's name where it is one of ImageNet-1k, else WordNet's; no underscores.
    """
    if wnid := given_synset(name.strip()):
        if spoken := _imagenet_names().get(wnid):
            return spoken
        name = load_lexicon().lemmas(wnid)[0]
    return name.partition(",")[0].replace("_", " ").strip()

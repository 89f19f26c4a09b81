"""Webdataset shards with a class for each picture: `.jpg` and `.cls`."""

from collections.abc import Sequence

from catclip.config import DataConfig
from catclip.data.cache import ShardCache
from catclip.data.labelled.classes import classes_beside, index_labels
from catclip.data.labelled.images import LabelledImages
from catclip.data.labelled.pictures import ShardPictures
from catclip.data.shards import Shards
from catclip.errors import UserError

IMAGE_KEY = "jpg;jpeg;png;webp;gif"
LABEL_KEY = "cls"


def open_class_shards(
    patterns: str | Sequence[str], classes: Sequence[str] | None, image_key: str | None, label_key: str | None
) -> LabelledImages:
    """The samples of some shards, as they lie.

    Args:
        patterns: which shards, as `Shards` takes them. Those at an address are kept in the usual cache.
        classes: names in the order of their indices; None: those in a `classes.txt` beside the first shard, or those
            found.
        image_key: extensions of pictures, separated by semicolons; None: jpg;jpeg;png;webp;gif.
        label_key: the extension of the labels, each a class name or its number from 0; None: cls.

    Raises:
        UserError: no shards; one that is damaged, or cannot be fetched; a sample without a label, or with one that is
            no class.
    """
    shards = Shards(patterns, ShardCache.configured(DataConfig()))
    if shards.problems:
        path, problem = next(iter(shards.problems.items()))
        raise UserError(f"{path} cannot be read to its end: {problem}.")
    key = (label_key or LABEL_KEY).lower()
    pictures = ShardPictures(shards, (image_key or IMAGE_KEY).lower().split(";"))
    labels = [_label(pictures, number, key) for number in range(len(pictures))]
    names, ids = index_labels(labels, classes or classes_beside(shards.paths[0]), pictures.name)
    return LabelledImages.of_one_class(str(patterns), pictures, names, ids)


def _label(pictures: ShardPictures, number: int, key: str) -> str:
    label = pictures.members(number, [key]).get(key)
    if label is None:
        raise UserError(
            f"{pictures.name(number)} has no class under data.label_key={key}: "
            f"it has {', '.join(pictures.members(number)) or 'nothing'}."
        )
    try:
        text = label.decode().strip()
    except UnicodeDecodeError as error:
        raise UserError(f"{pictures.name(number)} has no text in its .{key}: a class is a number or a name.") from error
    if not text:
        raise UserError(f"{pictures.name(number)} has nothing in its .{key}: a class is a number or a name.")
    return text

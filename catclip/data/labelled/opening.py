"""What a source is, by its looks; and the two splits of a data set."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from catclip.captions.sources import expand
from catclip.captions.sources.files import split_name
from catclip.config import LabelledConfig
from catclip.data.labelled.classes import read_classes, some
from catclip.data.labelled.coco import open_coco
from catclip.data.labelled.folders import open_class_folders
from catclip.data.labelled.images import LabelledImages
from catclip.data.labelled.shards import open_class_shards
from catclip.data.labelled.tables import TABLES, TableOptions, open_table
from catclip.errors import UserError

Source = str | Path | Sequence[str]

# The keys of `LabelledConfig` that only some kinds of sources have a use for.
_OPTIONS = {
    "class folders": (),
    "shards": ("image_key", "label_key"),
    "a COCO file": ("images",),
    "a table": ("images", "image_key", "label_key", "delimiter"),
}


class Splits(NamedTuple):
    """Pictures to learn from and to be judged by, of the same classes in the same order."""

    train: LabelledImages
    test: LabelledImages


def open_labelled(
    source: Source, config: LabelledConfig | None = None, classes: Sequence[str] | None = None
) -> LabelledImages:
    """Labelled pictures out of any source.

    Args:
        source: a folder with a folder for each class; webdataset shards with `.cls`: a pattern, a folder, or a list of
            them; a COCO `instances_*.json`; or a .csv, .tsv, .jsonl or .parquet table.
        config: how it is read (`train`, `test` and `folder` are not looked at).
        classes: names in the order of their indices, as another split has them; None: as `config.classes` says, or
            else those found.

    Raises:
        UserError: there is no such source, it is none of these, or something is wrong with it; the message says what.
    """
    config = config or LabelledConfig()
    if classes is None and config.classes is not None:
        classes = read_classes(config.classes)
    if isinstance(source, str | Path) and _holds_class_folders(folder := Path(source).expanduser()):
        _check_options("class folders", config)
        return open_class_folders(folder, classes)
    patterns = str(source) if isinstance(source, Path) else source
    files = expand(patterns)
    if all(split_name(file)[0] == ".tar" for file in files):
        _check_options("shards", config)
        return open_class_shards(patterns, classes, config.image_key, config.label_key)
    if len(files) > 1:
        raise UserError(f"{source} names {some(files)}: give shards, or a single table or annotation file.")
    (file,) = files
    if file.endswith(".json"):
        _check_options("a COCO file", config)
        return open_coco(Path(file), classes, config.images)
    if split_name(file)[0] in TABLES:
        _check_options("a table", config)
        options = TableOptions(config.image_key, config.label_key, config.delimiter, config.images)
        return open_table(file, classes, options)
    raise UserError(
        f"{file}: labelled pictures come as class folders, .tar shards with .cls, a COCO instances .json, or a table "
        f"({', '.join(TABLES)})."
    )


def _holds_class_folders(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.glob("*.tar"))


def _check_options(kind: str, config: LabelledConfig) -> None:
    every = dict.fromkeys(key for keys in _OPTIONS.values() for key in keys)
    if unused := [f"data.{key}" for key in every if key not in _OPTIONS[kind] and getattr(config, key) is not None]:
        raise UserError(f"{', '.join(unused)}: of no use for {kind}. Leave out what does not apply.")


def open_splits(data: str | Path | LabelledConfig) -> Splits:
    """The training and the test pictures of a data set.

    Args:
        data: a folder with train/ and test/, or val/ in its place; or a configuration that names sources for both.

    Raises:
        UserError: a source is missing or wrong, the splits have other classes, of a class there is nothing to learn
            from, or no picture shows any.
    """
    config = data if isinstance(data, LabelledConfig) else LabelledConfig(folder=str(data))
    train_source, test_source = _sources(config)
    train = open_labelled(train_source, config)
    test = open_labelled(test_source, config, train.classes)
    if train.multilabel != test.multilabel:
        one, any_ = ("data.test", "data.train") if train.multilabel else ("data.train", "data.test")
        raise UserError(f"{one} has one class for each picture, {any_} any number: give two of a kind.")
    empty = [name for name, count in zip(train.classes, train.counts(), strict=True) if count == 0]
    if empty and not train.multilabel:
        raise UserError(f"{train.source} has no pictures of {some(empty)}: there is nothing to learn those from.")
    for images in (train, test):
        check_shown(images)
    return Splits(train, test)


def check_shown(images: LabelledImages) -> None:
    """Raise `UserError` where no picture shows a class, as some may where they show any number."""
    if not images.label_ids.size:
        raise UserError(f"None of the {len(images):,} pictures of {images.source} shows a class: give some that do.")


def _sources(config: LabelledConfig) -> tuple[Source, Source]:
    given = {key: getattr(config, key) for key in ("folder", "train", "test") if getattr(config, key) is not None}
    if given.keys() == {"train", "test"}:
        return config.train, config.test
    if given.keys() != {"folder"}:
        raise UserError(
            "Give labelled pictures as data=FOLDER, with train/ and test/ in it, or as data.train=… and data.test=…"
        )
    folder = Path(given["folder"]).expanduser()
    train, tests = folder / "train", [folder / "test", folder / "val"]
    test = next((each for each in tests if each.is_dir()), tests[0])
    for each in (train, test):
        if not each.is_dir():
            raise UserError(
                f"No folder {each}. A data set in one folder has train/ and test/ (or val/), with folders of pictures, "
                "<class>/, or with shards. `catclip probe` takes all else as data.train=… and data.test=…"
            )
    return train, test

"""`StoredLabels`: the labels of a data set's samples out of the files that `catclip label` wrote."""

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from catclip.captions import Vocabulary, label_file
from catclip.captions.label_file import FileLabels, Labelling
from catclip.config import DataConfig
from catclip.data.shards import Shard, Shards
from catclip.errors import UserError

BESIDE = "beside"


class StoredLabels:
    """The labels of each sample. They are held in memory: a fraction of what the shards' index takes.

    Attributes:
        vocabulary: the `Vocabulary.digest` of the vocabulary whose indices they are.
    """

    def __init__(self, files: Sequence[FileLabels], vocabulary: str):
        self.vocabulary = vocabulary
        self._shards = [(labels.ids, labels.offsets) for labels in files]

    def __getitem__(self, place: tuple[int, int]) -> list[int]:
        """Rising vocabulary indices of the sample (shard, row)."""
        ids, offsets = self._shards[place[0]]
        return ids[offsets[place[1]] : offsets[place[1] + 1]].tolist()


def open_labels(
    shards: Shards, patterns: str | Sequence[str], config: DataConfig, caption_key: str
) -> StoredLabels | None:
    """The labels that `data.labels` asks for; None where it asks for none.

    Raises:
        UserError: a shard's label file is missing, damaged, or made of another shard, for another vocabulary or in
            another way; the message says what makes it right.
    """
    if config.labels is None:
        return None
    if config.vocabulary is None:
        raise UserError("data.labels needs data.vocabulary, for which the labels were made.")
    if config.captions == "sample":
        raise UserError("data.captions=sample draws a caption anew each time, so its labels cannot be stored.")
    vocabulary = Vocabulary.load(config.vocabulary)
    folder = None if config.labels == BESIDE else config.labels
    paths = [label_file.label_path(shard.path, folder) for shard in shards]
    command = _command(patterns, config, caption_key, folder)
    if missing := [path for path in paths if not path.is_file()]:
        raise UserError(
            f"{len(missing):,} of {len(paths):,} shards have no label file ({missing[0]}). Make them with `{command}`."
        )
    for shard, path in zip(shards, paths, strict=True):
        now = Labelling.of(vocabulary, config.captions, caption_key, os.path.getsize(shard.path))
        if differences := label_file.read_labelling(path).differences(now):
            raise UserError(
                f"{path} does not fit: {differences}. Give what it was made with, or remove it and run `{command}`."
            )
    files = [_read(shard, path, command) for shard, path in zip(shards, paths, strict=True)]
    return StoredLabels(files, vocabulary.digest)


def _read(shard: Shard, path: Path, command: str) -> FileLabels:
    labels = label_file.read(path)
    if not labels.keys.equals(shard.index.keys):
        raise UserError(f"{path} has the labels of other samples than {shard.path}: remove it and run `{command}`.")
    return labels


def _command(patterns: str | Sequence[str], config: DataConfig, caption_key: str, folder: str | None) -> str:
    """The command that makes the label files, for a shell."""
    sources = patterns if isinstance(patterns, str) else json.dumps(list(patterns), separators=(",", ":"))
    keys: dict[str, str | None] = {
        "data.sources": sources,
        "data.vocabulary": config.vocabulary,
        "data.captions": config.captions if config.captions != DataConfig.captions else None,
        "data.caption_key": caption_key if config.caption_key is not None else None,
        "out": folder,
    }
    return " ".join(["catclip label", *(f"{key}={shlex.quote(value)}" for key, value in keys.items() if value)])

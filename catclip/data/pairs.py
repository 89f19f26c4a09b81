"""Image-caption pairs as `data.*` configures them: shards, which keys, which captions count, stored labels."""

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from catclip.captions.counting.processes import Progress
from catclip.captions.sources import CAPTION_KEYS, captions_of
from catclip.config import DataConfig
from catclip.data.cache.shard_cache import ShardCache
from catclip.data.order import Order
from catclip.data.shards import ChangedShardError, Shards
from catclip.data.stored_labels import StoredLabels, open_labels
from catclip.errors import UserError, check_choice

_REMOTE_LOOKED_AT = 16  # remote shards, to learn what their captions are like before training


class BadSampleError(ValueError):
    """A sample that is skipped and counted; `str()` of it is the reason, the same for all samples of its kind."""


class Annotation(NamedTuple):
    """What is said of a picture.

    Attributes:
        captions: those that `data.captions` selects.
        labels: their labels out of a label file, rising vocabulary indices; None where `data.labels` asks for none.
    """

    captions: Sequence[str]
    labels: list[int] | None = None


class Pairs:
    """The image-caption pairs of some shards.

    Args:
        patterns: which shards.
        config: keys, caption mode, and where labels are stored.
        progress: is told how many more shards are indexed, and of how many bytes.

    Raises:
        UserError: no shards, a key that no sample has, an unknown caption mode; a shard's label file is missing, or was
            made for something else.
    """

    def __init__(self, patterns: str | Sequence[str], config: DataConfig, progress: Progress | None = None):
        check_choice("data.captions", config.captions, ["first", "sample", "all"])
        self.shards = Shards(patterns, ShardCache.configured(config), progress)
        self.image_keys = config.image_key.lower().split(";")
        self.mode = config.captions
        self.labels: StoredLabels | None = None
        self.caption_key = config.caption_key or self._usual_key()
        self._check_keys()
        self.labels = open_labels(self.shards, patterns, config, self.caption_key)

    @property
    def caption_extension(self) -> str:
        return self.caption_key.split(".")[0]

    def _usual_key(self) -> str:
        """The first of the usual keys under which there are captions."""
        for self.caption_key in CAPTION_KEYS:
            if next(self.captions(), None) is not None:
                return self.caption_key
        return CAPTION_KEYS[0]

    def _check_keys(self) -> None:
        seen = self.shards.extensions()
        keys = ", ".join(f"{key} ({count:,})" for key, count in seen.most_common(12))
        if not any(key in seen for key in self.image_keys):
            raise UserError(
                f"No sample has a picture under data.image_key={';'.join(self.image_keys)}. Keys seen: {keys}."
            )
        if self.caption_extension not in seen:
            raise UserError(f"No sample has a caption under data.caption_key={self.caption_key}. Keys seen: {keys}.")
        if next(self.captions(), None) is None:
            some = next(self.shards.in_order())
            try:
                fields = sorted(_json_fields(self.shards.read(*some).get("json", b"")))
            except ChangedShardError as error:
                raise UserError(f"{error}. Run the same command again: it is indexed anew.") from error
            raise UserError(
                f"None of the first samples has a caption under data.caption_key={self.caption_key}. "
                f"Keys seen: {keys}. Fields of the first json: {', '.join(fields) or 'none'}."
            )

    def __len__(self) -> int:
        return self.shards.samples

    def order(self, seed: int, window: int, ranks: int = 1) -> Order:
        """The order in which `ranks` processes read these pairs for training; see `Order`."""
        return Order(self.shards.counts, seed, window, weights=self.shards.weights, ranks=ranks)

    def key(self, shard: int, row: int) -> str:
        return self.shards[shard].index.key(row)

    def read(self, shard: int, row: int) -> tuple[bytes, list[str]]:
        """Picture bytes and all captions of a sample.

        Raises:
            BadSampleError: one of them is missing or empty, or the shard cannot be read.
        """
        try:
            members = self.shards.read(shard, row, [*self.image_keys, self.caption_extension])
        except OSError as error:
            raise BadSampleError(f"shard cannot be read ({os.strerror(error.errno or 0)})") from error
        except ChangedShardError as error:
            raise BadSampleError("shard has changed since it was indexed") from error
        image = next((members[key] for key in self.image_keys if key in members), None)
        if not image:
            raise BadSampleError("no picture" if image is None else "empty picture")
        return image, read_captions(members, self.caption_key)

    def select(self, captions: list[str], rng: np.random.Generator) -> list[str]:
        """The captions that `data.captions` asks for."""
        if self.mode == "first":
            return captions[:1]
        return captions if self.mode == "all" else [captions[int(rng.integers(len(captions)))]]

    def annotation(self, shard: int, row: int, selected: list[str]) -> Annotation:
        """The selected captions of a sample, with its stored labels."""
        return Annotation(selected, None if self.labels is None else self.labels[shard, row])

    def annotations(self, limit: int = 100) -> Iterator[Annotation]:
        """Those of readable samples, spread evenly over the shards; pictures are not read.

        Of remote shards, which would all be fetched for it, some are enough.
        """
        rng = np.random.default_rng(0)
        shards = self.shards.some(_REMOTE_LOOKED_AT)
        step = max(1, int(self.shards.counts[shards].sum()) // limit)
        for shard, row in islice(self.shards.in_order(shards), 0, None, step):
            try:
                captions = read_captions(self.shards.read(shard, row, [self.caption_extension]), self.caption_key)
            except (BadSampleError, ChangedShardError, OSError):
                continue  # the loader meets it again, and counts it
            yield self.annotation(shard, row, self.select(captions, rng))

    def captions(self, limit: int = 100) -> Iterator[Sequence[str]]:
        """The captions of `annotations`."""
        return (annotation.captions for annotation in self.annotations(limit))


def read_captions(members: dict[str, bytes], caption_key: str) -> list[str]:
    """All captions of a sample that say something, at least one.

    Raises:
        BadSampleError: it has none.
    """
    try:
        captions = [caption for caption in captions_of(members, caption_key) if caption.strip()]
    except KeyError as error:
        raise BadSampleError(f"no caption under {caption_key}") from error
    except (ValueError, RecursionError) as error:
        raise BadSampleError("caption is not valid JSON") from error
    if not captions:
        raise BadSampleError("empty caption")
    return captions


def _json_fields(data: bytes) -> list[str]:
    import json

    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return []
    return list(value) if isinstance(value, dict) else []

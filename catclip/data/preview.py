"""The first training pictures as tiles of a contact sheet: as the model sees them, and what the objectives learn."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from catclip.captions import Vocabulary
from catclip.config import DataConfig
from catclip.data.loader import Loader, TrainingBatches
from catclip.data.pairs import Annotation, Pairs
from catclip.data.sheet import Tile, fitted
from catclip.data.stream import Stream
from catclip.data.targets import LabelTargets

_SIDE = 256  # pixels, about which a picture takes on the sheet
_BATCHES = 16  # at the most, in which as many readable pictures as are wanted are looked for


class Preview(NamedTuple):
    """The first training samples.

    Attributes:
        tiles: their pictures, small ones enlarged pixel by pixel, and their annotations.
        side: of a picture on the sheet, in pixels.
        skipped: what was unreadable among them; empty where nothing was.
    """

    tiles: list[Tile]
    side: int
    skipped: str


def preview(config: DataConfig, size: int, seed: int, pictures: int) -> Preview:
    """Make the first pictures of a run that trains with this configuration and seed.

    The caption that a tile has first is the one that a contrastive objective reads. Labels are the vocabulary's for all
    captions that `config.captions` selects, or those that are stored.

    Raises:
        UserError: no shards, or a key that no sample has; the pictures cannot be read.
    """
    vocabulary = Vocabulary.load(config.vocabulary) if config.vocabulary else None
    pairs = Pairs(config.sources, config)
    stream = Stream(pairs.order(seed, config.shuffle), pictures)
    batches = TrainingBatches(pairs, [_Shown(vocabulary)], config, size, stream)
    # Whether the share of what is unreadable is too large, so few do not say.
    loader = Loader(batches, 0, _BATCHES, workers=0, max_bad=1.0)
    side = size * max(1, round(_SIDE / size))
    tiles = list(islice(_tiles(loader, vocabulary, side), pictures))
    return Preview(tiles, side, loader.report())


def _tiles(loader: Loader, vocabulary: Vocabulary | None, side: int) -> Iterator[Tile]:
    for batch in loader:
        for key, image, shown in zip(batch["keys"], batch["images"], batch["shown"], strict=True):
            names = None if vocabulary is None else [vocabulary.names[label] for label in shown.labels]
            picture = fitted(Image.fromarray(image.permute(1, 2, 0).numpy()), side)
            yield Tile(picture, key, "", shown.captions, names)


class _Annotated(NamedTuple):
    captions: Sequence[str]  # the drawn one first
    labels: list[int]


class _Shown:
    """In the place of an objective's targets: the captions themselves, and the labels of those that are selected."""

    def __init__(self, vocabulary: Vocabulary | None) -> None:
        self._labels = LabelTargets(vocabulary).labels if vocabulary else None

    def __call__(self, annotation: Annotation, rng: np.random.Generator) -> _Annotated:
        captions = list(annotation.captions)
        if len(captions) > 1:  # drawn as `TokenTargets` draws
            captions.insert(0, captions.pop(int(rng.integers(len(captions)))))
        return _Annotated(captions, self._labels(annotation) if self._labels else [])

    def collate(self, targets: Sequence[_Annotated]) -> dict[str, Any]:
        return {"shown": list(targets)}

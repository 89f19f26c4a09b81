"""What a preview shows is what the first training batches hold."""

import numpy as np
import pytest
from PIL import Image

from catclip.captions import Vocabulary
from catclip.data.pairs import Pairs
from catclip.data.preview import preview
from catclip.data.targets import LabelTargets, TokenTargets
from catclip.errors import UserError
from tests import tiny
from tests.data.making import sample, training_batches, write_shard

SIZE = 32


def config(glyphs, **changes):
    return tiny.data_config(glyphs, shuffle=20, **changes)


def first_batch(config, seed, targets):
    """The first nine training pictures in batches of three, as one."""
    batches = training_batches(Pairs(config.sources, config), targets, config, SIZE, 3, seed)
    return [batches[t] for t in range(3)]


def shrunk(picture: Image.Image) -> np.ndarray:
    """A picture as it was before each of its pixels was enlarged to a square."""
    pixels = np.asarray(picture)
    times = len(pixels) // SIZE
    assert np.array_equal(pixels, pixels[::times, ::times].repeat(times, 0).repeat(times, 1))
    return pixels[::times, ::times]


@pytest.mark.parametrize(("seed", "mode"), [(0, "all"), (5, "sample"), (0, "first")])
def test_pictures_and_labels_are_those_of_the_first_batches(glyphs, seed, mode):
    settings = config(glyphs, captions=mode)
    vocabulary = Vocabulary.load(settings.vocabulary)
    batches = first_batch(settings, seed, [LabelTargets(vocabulary)])
    tiles, side, skipped = preview(settings, SIZE, seed, 9)
    assert (side, skipped) == (256, "")
    assert [tile.key for tile in tiles] == [key for batch in batches for key in batch["keys"]]
    images = [image.permute(1, 2, 0).numpy() for batch in batches for image in batch["images"]]
    assert all(np.array_equal(shrunk(tile.picture), image) for tile, image in zip(tiles, images, strict=True))
    labels = [
        [vocabulary.names[label] for label in batch["label_ids"][start:stop]]
        for batch in batches
        for start, stop in zip(batch["label_offsets"], batch["label_offsets"][1:], strict=False)
    ]
    assert [tile.labels for tile in tiles] == labels
    assert any(labels)


@pytest.mark.parametrize("mode", ["all", "sample", "first"])
def test_the_caption_on_top_is_the_one_that_is_read(glyphs, mode):
    settings = config(glyphs, captions=mode)
    targets = TokenTargets(16)
    tokens = [each for batch in first_batch(settings, 3, [targets]) for each in batch["tokens"]]
    tiles = preview(settings, SIZE, 3, 9).tiles
    for tile, expected in zip(tiles, tokens, strict=True):
        assert targets.tokenizer(tile.captions[0])[0].equal(expected)
    assert {len(tile.captions) for tile in tiles} == ({1} if mode != "all" else {len(tiles[0].captions)})


def test_without_a_vocabulary_there_are_no_labels(glyphs):
    tiles = preview(config(glyphs, vocabulary=None), 300, 0, 2).tiles
    assert [tile.labels for tile in tiles] == [None, None]
    assert [tile.picture.size for tile in tiles] == [(300, 300)] * 2


def test_unreadable_samples_make_room_for_others(tmp_path):
    samples = [sample(str(n), seed=n, **({"jpg": b"?"} if n % 2 else {})) for n in range(10)]
    path = write_shard(tmp_path / "s.tar", *samples)
    shown = preview(tiny.DataConfig(sources=str(path)), SIZE, 0, 4)
    assert len(shown.tiles) == 4
    assert all(int(tile.key) % 2 == 0 for tile in shown.tiles)
    assert "picture cannot be decoded" in shown.skipped


def test_where_nothing_can_be_read_it_is_said(tmp_path):
    path = write_shard(tmp_path / "s.tar", *(sample(str(n), jpg=b"?") for n in range(10)))
    with pytest.raises(UserError, match="picture cannot be decoded"):
        preview(tiny.DataConfig(sources=str(path)), SIZE, 0, 4)

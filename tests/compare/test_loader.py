"""The measurement of the loader: both roads read what they say they read, and the figures say what was measured."""

import io
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image

from catclip.captions import SynsetExtractor
from catclip.captions.counting.counter import count_files, make_vocabulary
from catclip.compare.loader import (
    CROPS,
    _Clock,
    _TimedTargets,
    label_figures,
    open_clip_road,
    picture_figures,
    road_figures,
)
from catclip.config import DataConfig
from catclip.data.pairs import Annotation, Pairs
from catclip.data.targets import LabelTargets
from catclip.errors import UserError
from tests.data.making import encode, sample, write_shard

CAPTIONS = ["two dogs on a couch", "a cat", "no 1 here", "a dog and a cat on a couch", "a red car"]


@pytest.fixture
def pairs(tmp_path: Path) -> Pairs:
    for number in range(2):
        samples = [sample(f"{number}-{row}", caption, seed=row) for row, caption in enumerate(CAPTIONS)]
        write_shard(tmp_path / f"{number}.tar", *samples)
    return Pairs(str(tmp_path), DataConfig(sources=str(tmp_path)))


@pytest.fixture
def targets(pairs: Pairs) -> LabelTargets:
    extractor = SynsetExtractor()
    return LabelTargets(make_vocabulary(count_files(pairs.shards.paths, extractor), extractor, 1, "the test"))


def test_open_clips_road_gives_each_sample_once_as_open_clip_does(pairs: Pairs):
    batches = list(open_clip_road(pairs.shards.paths, 32, (1.0, 1.0), 4))
    images, tokens = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert images.shape == (10, 3, 32, 32)
    assert images.dtype == torch.float32
    assert [len(some) for some, _ in batches] == [4, 4, 2]
    expected = SimpleTokenizer()(CAPTIONS * 2)
    assert sorted(tokens.tolist()) == sorted(expected.tolist())
    # With open_clip's normalisation: the mean of the first picture's crop, which is nearly all of it.
    data, _ = pairs.read(0, 0)
    whole = np.asarray(Image.open(io.BytesIO(data))) / 255
    mean, std = (np.array(each) for each in ((0.4815, 0.4578, 0.4082), (0.2686, 0.2613, 0.2758)))
    nearest = (images.mean((2, 3)) - torch.tensor((whole.mean((0, 1)) - mean) / std)).abs().amax(1).min()
    assert nearest < 0.3


def test_road_figures(pairs: Pairs, targets: LabelTargets):
    threads = torch.get_num_threads()
    results = road_figures(pairs, DataConfig(sources="", flip=False), targets, size=32, batch=4, rounds=2)
    assert torch.get_num_threads() == threads
    for name in CROPS:
        ours, theirs = results[f"{name}.images_per_second"], results[f"{name}.open_clip_images_per_second"]
        assert ours > 0
        assert theirs > 0
        assert 0 < results[f"{name}.label_share"] < 1
        ratio, spread = results[f"ratio.{name}_to_open_clip"], results[f"ratio.{name}_to_open_clip.spread"]
        assert ratio == pytest.approx(ours / theirs, rel=max(0.01, spread))


def test_a_clock_counts_the_time_on_the_core_alone():
    clock = _Clock()
    for _ in range(2):
        with clock:
            time.sleep(0.2)
            busy = time.thread_time() + 0.05
            while time.thread_time() < busy:
                pass
    clock.pictures = 20
    assert clock.seconds == pytest.approx(0.1, abs=0.02)
    assert clock.rate == pytest.approx(200, rel=0.2)


def test_timed_targets_are_the_targets(targets: LabelTargets):
    timed, rng = _TimedTargets(targets), np.random.default_rng(0)
    annotations = [Annotation([caption]) for caption in CAPTIONS]
    collated = timed.collate([timed(annotation, rng) for annotation in annotations])
    expected = targets.collate([targets(annotation, rng) for annotation in annotations])
    assert collated.keys() == expected.keys()
    assert all(torch.equal(collated[key], expected[key]) for key in expected)
    assert timed.clock.seconds > 0


def test_picture_figures(tmp_path: Path):
    large = encode(Image.new("RGB", (300, 200)))
    write_shard(tmp_path / "0.tar", sample("a", jpg=large), sample("b", jpg=large), sample("c", jpg=b"no picture"))
    pairs = Pairs(str(tmp_path), DataConfig(sources=str(tmp_path)))
    assert picture_figures(pairs) == {
        "samples": 3,
        "picture.median_width": 300,
        "picture.median_height": 200,
        "picture.mean_bytes": len(large),
    }


def test_without_pictures_there_is_nothing_to_measure(tmp_path: Path):
    write_shard(tmp_path / "0.tar", sample("a", jpg=b"no picture"))
    with pytest.raises(UserError, match="None of the pictures"):
        picture_figures(Pairs(str(tmp_path), DataConfig(sources=str(tmp_path))))


def test_label_figures(pairs: Pairs, targets: LabelTargets):
    figures = label_figures(pairs, targets)
    labels = [len(targets.labels(Annotation([caption]))) for caption in CAPTIONS * 2]
    count = sum((labels * 103)[:1024])  # ten samples, again and again
    assert figures["batch.labels"] == count
    assert figures["batch.ragged_label_bytes"] == 8 * (count + 1025)
    assert figures["batch.dense_label_bytes"] == 4 * 1024 * 24_320

import os
import shutil

import numpy as np
import pytest
import torch

from catclip.data.labelled import open_labelled
from catclip.transfer import features
from catclip.transfer.features import FeatureCache
from catclip.transfer.probe import extract_features
from tests import tiny
from tests.data.cache.server import Server
from tests.data.making import encode, picture, write_shard
from tests.transfer.test_probe import paint

CPU = torch.device("cpu")


@pytest.fixture
def made(monkeypatch):
    """How often features were really made."""
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return extract_features(*arguments)

    monkeypatch.setattr(features, "extract_features", counted)
    return calls


def test_features_are_made_once_for_the_same_weights_and_pictures(glyphs, tmp_path, made):
    objective = tiny.build(tiny.config("categorical", glyphs)).eval()
    images = open_labelled(paint(tmp_path / "pictures", 3, 0))
    first = FeatureCache(tmp_path / "cache", objective, CPU)(images)
    assert np.array_equal(first, extract_features(objective.embed, images, tiny.SIZE, CPU, 0))
    assert np.array_equal(FeatureCache(tmp_path / "cache", objective, CPU)(images), first)
    assert len(made) == 1
    with torch.no_grad():
        next(objective.backbone.parameters()).add_(1)
    assert not np.array_equal(FeatureCache(tmp_path / "cache", objective, CPU)(images), first)
    assert len(made) == 2


def test_pictures_that_changed_and_broken_files_are_made_anew(glyphs, tmp_path, made):
    objective = tiny.build(tiny.config("categorical", glyphs)).eval()
    folder = paint(tmp_path / "pictures", 3, 0)
    cache = FeatureCache(tmp_path / "cache", objective, CPU)
    first = cache(open_labelled(folder))
    shutil.copyfile(folder / "red" / "0.png", folder / "green" / "0.png")
    second = cache(open_labelled(folder))
    assert np.array_equal(second[1:], first[1:])
    assert np.array_equal(second[0], first[3])
    os.utime(folder / "red" / "1.png", ns=(1, 1))
    cache(open_labelled(folder))
    assert len(made) == 3
    path = cache.path(open_labelled(folder))
    for content in (b"", path.read_bytes()[:-9]):
        path.write_bytes(content)
        assert np.array_equal(cache(open_labelled(folder)), second)
    assert len(made) == 5
    assert not list((tmp_path / "cache").glob(".*"))
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_cannot_be_kept_is_not_lost(glyphs, tmp_path):
    objective = tiny.build(tiny.config("categorical", glyphs)).eval()
    images = open_labelled(paint(tmp_path / "pictures", 3, 0))
    (tmp_path / "file").touch()
    cache = FeatureCache(tmp_path / "file" / "cache", objective, CPU)
    assert np.array_equal(cache(images), extract_features(objective.embed, images, tiny.SIZE, CPU, 0))
    assert "cannot be written" in cache.unkept


def test_shards(glyphs, tmp_path, made):
    objective = tiny.build(tiny.config("categorical", glyphs)).eval()
    pictures = sorted(paint(tmp_path / "pictures", 2, 0).glob("*/*.png"))
    samples = [[(f"{i}.png", path.read_bytes()), (f"{i}.cls", b"0")] for i, path in enumerate(pictures)]
    write_shard(tmp_path / "a.tar", *samples)
    cache = FeatureCache(tmp_path / "cache", objective, CPU)
    for _ in range(2):
        assert cache(open_labelled(str(tmp_path / "a.tar"))).shape == (4, objective.backbone.width)
    write_shard(tmp_path / "a.tar", *samples[:3])
    assert cache(open_labelled(str(tmp_path / "a.tar"))).shape == (3, objective.backbone.width)
    assert len(made) == 2


def test_features_of_shards_at_an_address_are_made_once(glyphs, tmp_path, made, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # where the usual cache of shards comes to lie
    (tmp_path / "web").mkdir()
    samples = [[(f"{i}.png", encode(picture(i), "PNG")), (f"{i}.cls", b"0")] for i in range(2)]
    for name in ("a.tar", "b.tar"):
        write_shard(tmp_path / "web" / name, *samples)
    objective = tiny.build(tiny.config("categorical", glyphs)).eval()
    with Server(tmp_path / "web") as server:
        for name, times in (("a.tar", 1), ("a.tar", 1), ("b.tar", 2)):
            images = open_labelled(f"{server.url}/{name}")
            assert len(FeatureCache(tmp_path / "cache", objective, CPU)(images)) == 2
            assert len(made) == times

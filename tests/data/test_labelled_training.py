from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from catclip.config import FinetuneDataConfig
from catclip.data.images import training_picture
from catclip.data.labelled import LabelledImages, open_labelled
from catclip.data.labelled.fraction import take, take_fraction
from catclip.data.labelled.training import LabelledTrainingBatches
from catclip.data.loader import Loader
from catclip.data.order import Order
from catclip.data.stream import Stream
from catclip.errors import UserError


class Numbers:
    """Pictures that are their numbers."""

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def name(self, number: int) -> str:
        return str(number)

    def read(self, number: int) -> bytes:
        return str(number).encode()


def one_class(labels: list[int], classes: int) -> LabelledImages:
    return LabelledImages.of_one_class("s", Numbers(len(labels)), list(map(str, range(classes))), np.array(labels))


def any_classes(shown: np.ndarray) -> LabelledImages:
    owners, ids = np.nonzero(shown)
    names = list(map(str, range(shown.shape[1])))
    return LabelledImages.of_any_classes("s", Numbers(len(shown)), names, owners, ids)


# ---------------------------------------------------------------- fractions


def test_what_is_taken_keeps_its_labels():
    shown = np.random.default_rng(0).random((30, 4)) < 0.4
    images, numbers = any_classes(shown), np.array([3, 7, 20, 21])
    taken = take(images, numbers)
    assert np.array_equal(taken.multi_hot(), shown[numbers])
    assert [taken.pictures.read(i) for i in range(4)] == [b"3", b"7", b"20", b"21"]
    assert taken.classes == images.classes


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=120), st.floats(0.001, 0.999), st.integers(0, 3))
def test_each_class_has_its_share_and_small_fractions_are_in_large_ones(labels, fraction, seed):
    images = one_class(labels, 5)
    few, many = (take_fraction(images, each, seed) for each in (fraction / 2, fraction))
    counts = Counter(labels)
    for label, count in Counter(many.label_ids.tolist()).items():
        assert count == max(1, round(fraction * counts[label]))
    assert set(many.label_ids) == set(labels)
    names = [[each.pictures.name(i) for i in range(len(each))] for each in (few, many)]
    assert set(names[0]) <= set(names[1])
    assert [labels[int(name)] for name in names[1]] == many.label_ids.tolist()
    assert names[1] == sorted(names[1], key=int)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.1, 0.25, 0.5]))
def test_of_pictures_of_any_classes_each_class_has_at_least_its_share(seed, fraction):
    shown = np.random.default_rng(seed).random((200, 6)) < np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.5])
    taken = take_fraction(any_classes(shown), fraction, seed).multi_hot()
    for have, all_ in zip(taken.sum(axis=0), shown.sum(axis=0), strict=True):
        assert have >= min(1, all_)
    # The rarest class, chosen first, has just its share; all together not many more than asked for.
    rarest = min(range(6), key=lambda label: (shown[:, label].sum() or 1000, label))
    assert taken[:, rarest].sum() == max(1, round(fraction * shown[:, rarest].sum()))
    assert len(taken) <= 2 * fraction * 200 + 8


def test_seeds_and_all_of_it():
    images = one_class([0, 1] * 50, 2)
    chosen = [[p.pictures.name(i) for i in range(len(p))] for p in (take_fraction(images, 0.2, s) for s in (0, 0, 1))]
    assert chosen[0] == chosen[1] != chosen[2]
    assert take_fraction(images, 1, 0) is images
    for wrong in (0, -0.1, 1.5):
        with pytest.raises(UserError, match=r"data\.fraction"):
            take_fraction(images, wrong, 0)


# ---------------------------------------------------------------- batches


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        (folder / name).mkdir()
        for i in range(4):
            Image.fromarray(rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(folder / name / f"{i}.png")
    return folder


def batches(images: LabelledImages, batch: int = 5, **config) -> LabelledTrainingBatches:
    stream = Stream(Order(np.array([len(images)]), 7, len(images)), batch)
    return LabelledTrainingBatches(images, FinetuneDataConfig(**config), 16, stream)


def test_an_epoch_has_each_picture_once_with_its_class(pictures):
    images = open_labelled(pictures)
    made = batches(images, batch=4)
    epoch = [made[t] for t in range(3)]
    keys = [key for batch in epoch for key in batch["keys"]]
    assert sorted(keys) == [images.pictures.name(i) for i in range(12)]
    targets = torch.cat([batch["targets"] for batch in epoch])
    assert [images.classes[i] for i in targets.argmax(1)] == [Path(key).parent.name for key in keys]
    assert torch.equal(targets.sum(1), torch.ones(12))
    again = batches(images, batch=4)[1]
    assert torch.equal(again["images"], epoch[1]["images"])
    position = 4  # the first of batch 1
    rng = np.random.default_rng((7, 4, position))
    expected = training_picture(Path(keys[position]).read_bytes(), 16, (0.2, 1.0), True, rng)
    assert torch.equal(epoch[1]["images"][0], expected)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_mixtures_are_of_the_pictures_that_their_targets_say(pictures, mixup, cutmix):
    images = open_labelled(pictures)
    state = np.random.get_state()[1].copy()
    for t in range(6):
        plain, mixed = batches(images)[t], batches(images, mixup=mixup, cutmix=cutmix)[t]
        assert torch.allclose(mixed["targets"].sum(1), torch.ones(5))
        assert torch.equal(mixed["images"][4], plain["images"][4])  # the fifth has no partner
        assert torch.equal(mixed["targets"][4], plain["targets"][4])
        one, other = plain["images"][:4].float(), plain["images"][:4].flip(0).float()
        own, others = plain["targets"][:4], plain["targets"][:4].flip(0)
        got = mixed["images"][:4].float()
        if cutmix and bool(((got == one) | (got == other)).all()):
            share = 1 - (got != one).any(dim=1).float().mean(dim=(1, 2)).mean()
            tolerance = 0.02  # pixels that are the same in both
        else:
            share = ((got - other) * (one - other)).sum() / (one - other).square().sum()
            assert (got - (share * one + (1 - share) * other)).abs().max() < 1
            tolerance = 0.01
        assert torch.allclose(mixed["targets"][:4], share * own + (1 - share) * others, atol=tolerance)
        assert torch.equal(mixed["images"], batches(images, mixup=mixup, cutmix=cutmix)[t]["images"])
    assert np.array_equal(np.random.get_state()[1], state)


def test_of_pictures_of_any_classes_the_targets_are_all_they_show():
    shown = np.random.default_rng(1).random((6, 3)) < 0.5

    class Pixels(Numbers):
        def read(self, number: int) -> bytes:
            import io

            file = io.BytesIO()
            Image.new("RGB", (20, 20), (number, 0, 0)).save(file, "PNG")
            return file.getvalue()

    owners, ids = np.nonzero(shown)
    images = LabelledImages.of_any_classes("s", Pixels(6), ["x", "y", "z"], owners, ids)
    batch = batches(images, batch=6)[0]
    rows = [int(key) for key in batch["keys"]]
    assert torch.equal(batch["targets"].bool(), torch.from_numpy(shown[rows]))
    assert batch["images"][:, 0, 0, 0].tolist() == rows


@pytest.mark.parametrize("workers", [0, 1])
def test_pictures_that_cannot_be_read_are_counted_and_named(pictures, tmp_path, workers):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(2):
            (tmp_path / name / f"{i}.png").write_bytes((pictures / name / f"{i}.png").read_bytes())
    (tmp_path / "b" / "1.png").write_bytes(b"\x89PNG")
    images = open_labelled(tmp_path)
    loader = Loader(batches(images, batch=1), 0, 8, workers=workers, max_bad=0.5)
    assert len([batch["keys"] for batch in loader]) == 8  # a batch that is gone has another in its place
    assert loader.bad.total() == 2
    with pytest.raises(UserError, match=r"b/1\.png: .* more than data\.max_bad=0 "):
        list(Loader(batches(images, batch=4), 0, 2, workers=workers, max_bad=0))


@pytest.mark.parametrize("config", [{"crop_scale": [0.5]}, {"crop_scale": [0.9, 0.2]}, {"mixup": -1}, {"cutmix": -0.1}])
def test_settings_that_make_no_sense(pictures, config):
    with pytest.raises(UserError, match=next(iter(config))):
        batches(open_labelled(pictures), **config)

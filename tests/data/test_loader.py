"""Batch t is a pure function of the seed and t, whoever makes it; and what cannot be read is skipped and counted."""

import io
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset
from torch.utils.data._utils.pin_memory import pin_memory

from catclip.captions import Vocabulary
from catclip.config import DataConfig
from catclip.data.crops import sample_crop
from catclip.data.loader import Batch, HeldOutBatches, Loader, TrainingBatches, _for_pinning
from catclip.data.pairs import Pairs
from catclip.data.targets import LabelTargets, TokenTargets
from catclip.data.workers import worker_deaths
from catclip.errors import UserError
from tests.data.making import encode, picture, sample, training_batches, write_shard
from tests.tiny import assert_same, vocabulary_file

SIZE = 24
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # few cores, on purpose


@pytest.fixture(scope="module")
def labels(glyphs) -> LabelTargets:
    return LabelTargets(Vocabulary.load(vocabulary_file(glyphs)))


@pytest.fixture(scope="module")
def tokens() -> TokenTargets:
    return TokenTargets(16)


@pytest.fixture(scope="module")
def training(glyphs, labels, tokens):
    """Makes the training batches of the tiny data set; several captions a sample, so that some are drawn."""

    def make(batch: int = 10, seed: int = 0, **config: Any) -> TrainingBatches:
        settings: dict[str, Any] = {"caption_key": "json.captions", "captions": "all", "shuffle": 20}
        data = DataConfig(**(settings | config))
        pairs = Pairs(str(glyphs / "train-*.tar"), data)
        return training_batches(pairs, [labels, tokens], data, SIZE, batch, seed)

    return make


def load(batches, start: int, stop: int, workers: int = 0, max_bad: float = 0.0) -> list[Batch]:
    return list(Loader(batches, start, stop, workers=workers, max_bad=max_bad))


# ---- a pure function ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("captions", ["all", "sample"])
def test_batches_do_not_depend_on_the_number_of_workers(training, captions):
    batches = training(captions=captions)
    alone = load(batches, 0, 12)
    assert {key for batch in alone for key in batch} == {"keys", "images", "label_ids", "label_offsets", "tokens"}
    assert alone[0]["images"].shape == (10, 3, SIZE, SIZE)
    assert alone[0]["images"].dtype == torch.uint8
    for workers in (1, 3):
        assert_same(load(batches, 0, 12, workers), alone)


def test_more_workers_than_cores_are_no_reason_to_warn():
    program = (
        "import catclip.data.loader, torch\nloader = torch.utils.data.DataLoader(range(3), num_workers=9999)\n"
        "print(loader.num_workers)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("9999\n", "")


@pytest.mark.parametrize("workers", [0, 3])
def test_a_loader_that_starts_later_goes_on_as_if_it_had_never_stopped(training, workers):
    whole = load(training(), 0, 12)
    for start in (1, 5, 11, 12):
        assert_same(load(training(), start, 12, workers), whole[start:])


def test_nothing_of_the_surroundings_enters(training):
    before = load(training(), 0, 3)
    torch.manual_seed(99)
    np.random.seed(99)
    batches = training()
    batches[17]  # what was made earlier does not matter either
    copy = pickle.loads(pickle.dumps(batches))  # as a worker that is not forked gets them
    assert_same(load(batches, 0, 3), before)
    assert_same(load(copy, 0, 3), before)


def test_every_epoch_has_every_sample_once_augmented_anew(training):
    batches = load(training(batch=8), 0, 12)
    keys = [key for batch in batches for key in batch["keys"]]
    first, second = keys[:48], keys[48:]
    assert len(set(first)) == len(set(second)) == 48
    assert first != second
    images = torch.cat([batch["images"] for batch in batches])
    again = [images[keys.index(key)].equal(images[48 + second.index(key)]) for key in first]
    assert not any(again)


def test_seeds_differ(training):
    one, other = load(training(seed=0), 0, 1)[0], load(training(seed=1), 0, 1)[0]
    assert one["keys"] != other["keys"]


def test_the_picture_does_not_depend_on_what_is_learned_from_it(glyphs, labels, tokens):
    config = DataConfig(caption_key="json.captions", captions="sample")
    pairs = Pairs(str(glyphs / "train-*.tar"), config)
    both, one, other = (
        load(training_batches(pairs, targets, config, SIZE, 10, 0), 0, 3)
        for targets in ([labels, tokens], [labels], [tokens])
    )
    assert_same([batch["images"] for batch in one], [batch["images"] for batch in both])
    assert_same([batch["images"] for batch in other], [batch["images"] for batch in both])
    assert_same([batch["tokens"] for batch in other], [batch["tokens"] for batch in both])


# ---- the right contents ---------------------------------------------------------------------------------------------


def test_labels_and_tokens_are_those_of_the_samples_caption(training, labels, tokens):
    batches = training(captions="all")
    captions = {batches.pairs.key(*place): batches.pairs.read(*place)[1] for place in batches.pairs.shards.in_order()}
    assert any(len(several) > 1 for several in captions.values())
    for batch in load(batches, 0, 6):
        dense = torch.zeros(10, len(labels.vocabulary))
        for row, (start, stop) in enumerate(pairwise(batch["label_offsets"])):
            dense[row, batch["label_ids"][start:stop]] += 1
        expected = torch.zeros(10, len(labels.vocabulary))
        for row, key in enumerate(batch["keys"]):
            for caption in captions[key]:
                expected[row, labels.vocabulary.labels(caption)] = 1
            ours = batch["tokens"][row]
            assert any(ours.equal(tokens.tokenizer(caption)[0]) for caption in captions[key])
        assert dense.equal(expected)
        assert dense.any()


def test_the_first_caption_alone_counts_by_default(training, tokens):
    batches = training(captions="first")
    captions = {batches.pairs.key(*place): batches.pairs.read(*place)[1] for place in batches.pairs.shards.in_order()}
    for batch in load(batches, 0, 5):
        for key, row in zip(batch["keys"], batch["tokens"], strict=True):
            assert row.equal(tokens.tokenizer(captions[key][0])[0])


def test_crops_are_as_configured_and_large_jpegs_keep_their_detail(tmp_path, tokens):
    blobs = np.random.default_rng(0).integers(0, 256, (10, 15, 3), dtype=np.uint8)
    data = encode(Image.fromarray(blobs).resize((600, 400), Image.Resampling.BICUBIC), "JPEG", quality=95)
    write_shard(tmp_path / "s.tar", sample("1", jpg=data))
    config = DataConfig(crop_scale=[0.3, 0.5], flip=False)
    made = training_batches(Pairs(str(tmp_path / "s.tar"), config), [tokens], config, 64, 4, 7)[0]["images"]
    # A crop begins on the grid of the reduced picture: up to half a pixel of the result beside its place.
    whole = Image.open(io.BytesIO(data))
    for position in range(4):
        box = sample_crop(600, 400, (0.3, 0.5), np.random.default_rng((7, 4, position)))
        expected = torch.from_numpy(np.asarray(whole.resize((64, 64), Image.Resampling.BICUBIC, box=box)).copy())
        assert (made[position].permute(1, 2, 0).int() - expected.int()).abs().float().mean() < 8


def test_every_crop_of_a_picture_is_another(tmp_path, tokens):
    write_shard(tmp_path / "s.tar", sample("1"))
    config = DataConfig()
    batches = training_batches(Pairs(str(tmp_path / "s.tar"), config), [tokens], config, SIZE, 60, 0)
    crops = torch.cat([batches[t]["images"] for t in range(2)]).flatten(1)
    assert len(crops.unique(dim=0)) == 120


@pytest.mark.parametrize("scale", [[0.0, 1.0], [0.5, 0.4], [0.5, 1.5], [0.5], []])
def test_a_wrong_crop_scale_is_said(glyphs, tokens, scale):
    config = DataConfig(crop_scale=scale)
    with pytest.raises(UserError, match="crop_scale"):
        training_batches(Pairs(str(glyphs / "train-*.tar"), config), [tokens], config, SIZE, 4, 0)


# ---- held-out pairs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch", [5, 16, 100])
def test_held_out_pairs_come_in_order_each_once(glyphs, labels, tokens, batch, workers):
    pairs = Pairs(str(glyphs / "val-*.tar"), DataConfig(caption_key="json.captions", captions="sample"))
    batches = HeldOutBatches(pairs, [labels, tokens], SIZE, batch)
    assert len(batches) == -(-16 // batch)
    made = load(batches, 0, len(batches), workers)
    keys = [pairs.key(*place) for place in pairs.shards.in_order()]
    assert [key for each in made for key in each["keys"]] == keys
    text = torch.cat([each["tokens"] for each in made])
    offsets = [stop - start for each in made for start, stop in pairwise(each["label_offsets"].tolist())]
    for row, place in enumerate(pairs.shards.in_order()):
        captions = pairs.read(*place)[1]
        assert text[row].equal(tokens.tokenizer(captions[0])[0])  # the first
        united = {label for caption in captions for label in labels.vocabulary.labels(caption)}
        assert offsets[row] == len(united)  # of all
    assert_same(load(batches, 0, len(batches)), made)  # and nothing is drawn at random


def test_held_out_labels_are_the_first_captions_where_training_takes_the_first(glyphs, labels):
    pairs = Pairs(str(glyphs / "val-*.tar"), DataConfig(caption_key="json.captions", captions="first"))
    (batch,) = load(HeldOutBatches(pairs, [labels], SIZE, 16), 0, 1)
    expected = [labels.vocabulary.labels(pairs.read(*place)[1][0]) for place in pairs.shards.in_order()]
    assert [batch["label_ids"][start:stop].tolist() for start, stop in pairwise(batch["label_offsets"])] == expected


# ---- bad samples ----------------------------------------------------------------------------------------------------

JPG = encode(picture())
BAD = {
    "missing caption": ([("b1.jpg", JPG)], "no caption under txt"),
    "empty caption": (sample("b2", caption=" \n"), "empty caption"),
    "broken jpg": (sample("b3", jpg=JPG[: len(JPG) // 2]), "picture cannot be decoded"),
    "no jpg at all": (sample("b4", jpg=b"<html>"), "picture cannot be decoded"),
    "missing partner": ([("b5.txt", b"a dog")], "no picture"),
    "empty jpg": (sample("b6", jpg=b""), "empty picture"),
}


def mixed(tmp_path: Path, bad: int, good: int) -> Pairs:
    """One shard: `bad` samples without a picture among `good` ones."""
    every = [sample(f"g{i}") for i in range(good)] + [[(f"b{i}.txt", b"a dog")] for i in range(bad)]
    return Pairs(str(write_shard(tmp_path / "s.tar", *every)), DataConfig())


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_samples_are_skipped_and_counted_by_reason(tmp_path, tokens, workers):
    good = [sample(f"g{i}", f"a dog {i}", seed=i) for i in range(6)] + [sample("utf", txt=b"caf\xe9")]
    pairs = Pairs(str(write_shard(tmp_path / "s.tar", *good, *(bad for bad, _ in BAD.values()))), DataConfig())
    loader = Loader(HeldOutBatches(pairs, [tokens], SIZE, 4), 0, 4, workers=workers, max_bad=0.5)
    made = list(loader)
    assert [key for batch in made for key in batch["keys"]] == [f"g{i}" for i in range(6)] + ["utf"]
    assert all(len(batch["keys"]) == len(batch["images"]) == len(batch["tokens"]) for batch in made)
    expected: dict[str, int] = {}
    for _, reason in BAD.values():
        expected[reason] = expected.get(reason, 0) + 1
    assert loader.bad == expected
    assert loader.samples == 13
    assert "Skipped 6 of 13 samples (46.15%)" in loader.report()
    assert "picture cannot be decoded: 2" in loader.report()


def test_broken_json_is_counted(tmp_path, tokens):
    samples = [sample("1", json=b'{"caption": "a dog"}'), sample("2", json=b"{"), sample("3", json=b"[" * 50_000)]
    pairs = Pairs(str(write_shard(tmp_path / "s.tar", *samples)), DataConfig(caption_key="json.caption"))
    loader = Loader(HeldOutBatches(pairs, [tokens], SIZE, 3), 0, 1, workers=0, max_bad=1)
    assert [batch["keys"] for batch in loader] == [["1"]]
    assert loader.bad == {"caption is not valid JSON": 2}


def test_no_caption_on_the_web_stops_a_run(tmp_path, labels, tokens):
    wild = ["\ud800", "\x00", "\u202e\u0301" * 50, "&#xD800; &#x110000;", "🏳️‍🌈", "%ff%fe+<" * 20, "<" * 3000]
    samples = [sample(str(i), json=json.dumps({"caption": caption}).encode()) for i, caption in enumerate(wild)]
    pairs = Pairs(str(write_shard(tmp_path / "s.tar", *samples)), DataConfig(caption_key="json.caption"))
    (batch,) = load(HeldOutBatches(pairs, [labels, tokens], SIZE, 10), 0, 1)
    assert len(batch["keys"]) == len(wild)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_vanishes_in_mid_epoch_is_counted(tmp_path, tokens, workers):
    for shard in "ab":
        write_shard(tmp_path / f"{shard}.tar", *[sample(f"{shard}{i}") for i in range(8)])
    pairs = Pairs(str(tmp_path / "*.tar"), DataConfig())
    loader = Loader(HeldOutBatches(pairs, [tokens], SIZE, 2), 0, 8, workers=workers, max_bad=0.5)
    batches = iter(loader)
    keys = next(batches)["keys"]
    (tmp_path / "b.tar").unlink()
    keys += [key for batch in batches for key in batch["keys"]]
    assert keys == [f"a{i}" for i in range(8)]  # a worker is at most two batches ahead: not yet in the second shard
    assert loader.bad == {"shard cannot be read (No such file or directory)": 8}


def test_a_shard_cut_short_in_mid_epoch_is_counted(tmp_path, tokens):
    pairs = Pairs(str(write_shard(tmp_path / "s.tar", *[sample(str(i)) for i in range(8)])), DataConfig())
    (tmp_path / "s.tar").write_bytes((tmp_path / "s.tar").read_bytes()[:6000])
    loader = Loader(HeldOutBatches(pairs, [tokens], SIZE, 8), 0, 1, workers=0, max_bad=1)
    kept = sum(len(batch["keys"]) for batch in loader)
    assert 0 < kept < 8
    assert sum(loader.bad.values()) == 8 - kept


def test_more_bad_samples_than_allowed_are_an_error_with_counts(tmp_path, tokens):
    loader = Loader(HeldOutBatches(mixed(tmp_path, 2, 18), [tokens], SIZE, 10), 0, 2, workers=0, max_bad=0.05)
    with pytest.raises(UserError) as caught:
        list(loader)
    assert "Skipped 2 of 20 samples (10.00%): no picture: 2." in str(caught.value)
    assert "data.max_bad=0.05" in str(caught.value)


def test_as_many_as_allowed_are_no_error(tmp_path, tokens):
    loader = Loader(HeldOutBatches(mixed(tmp_path, 2, 18), [tokens], SIZE, 10), 0, 2, workers=0, max_bad=0.1)
    assert sum(len(batch["keys"]) for batch in loader) == 18


def test_a_run_stops_as_soon_as_there_are_too_many_not_at_its_end(tmp_path, tokens):
    config = DataConfig()
    batches = training_batches(mixed(tmp_path, 10, 10), [tokens], config, SIZE, 20, 0)
    loader = Loader(batches, 0, 1_000_000, workers=0, max_bad=0.01)
    seen: list[Batch] = []
    with pytest.raises(UserError, match=r"Skipped 20 of 40 samples \(50\.00%\)"):
        seen.extend(loader)
    assert len(seen) == 1  # ten bad ones of the first thousand are allowed, and then no more


def test_a_resumed_run_is_not_judged_by_a_handful(tmp_path, tokens):
    config = DataConfig(max_bad=0.05)
    batches = training_batches(mixed(tmp_path, 1, 31), [tokens], config, SIZE, 4, 0)
    bad = next(t for t in range(1, 16) if len(batches[t]["keys"]) == 3)
    loader = Loader(batches, bad, bad + 1, workers=0, max_bad=0.05)
    assert len(list(loader)) == 1
    assert loader.bad == {"no picture": 1}


def test_a_held_out_batch_of_bad_samples_alone_is_skipped(tmp_path, tokens):
    batches = HeldOutBatches(mixed(tmp_path, 2, 18), [tokens], SIZE, 9)  # the last two are a batch of their own
    assert [len(batch["keys"]) for batch in load(batches, 0, 3, max_bad=0.1)] == [9, 9]


def test_a_training_batch_of_bad_samples_alone_is_an_error_if_there_is_none_in_its_place(tmp_path, tokens):
    pairs = mixed(tmp_path, 0, 8)
    (tmp_path / "s.tar").unlink()
    batches = training_batches(pickle.loads(pickle.dumps(pairs)), [tokens], DataConfig(), SIZE, 1, 0)
    with pytest.raises(UserError, match=r"A whole batch could not be read, nor any in its place\. Skipped 1 of 1"):
        load(batches, 0, 8, max_bad=1.0)


def test_what_is_pinned_is_counted_once(training, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor, *_: tensor)
    batch = training()[0] | {"bad": Counter({"broken": 2})}
    pinned = pin_memory(_for_pinning(batch))
    assert pinned["bad"] == {"broken": 2}
    assert pinned["spent"] == batch["spent"]


def test_nothing_bad_is_nothing_said(training):
    loader = Loader(training(), 0, 3, workers=0, max_bad=0.0)
    assert len(loader) == len(list(loader)) == 3
    assert (loader.bad, loader.samples, loader.report()) == ({}, 30, "")


# ---- what may happen to a run ---------------------------------------------------------------------------------------


def test_where_a_whole_batch_is_gone_the_step_has_another(tmp_path, tokens):
    for shard in "abcd":
        write_shard(tmp_path / f"{shard}.tar", *[sample(f"{shard}{i}") for i in range(8)])
    config = DataConfig(shuffle=1)
    pairs = Pairs(str(tmp_path / "*.tar"), config)
    (tmp_path / "b.tar").unlink()
    pairs = pickle.loads(pickle.dumps(pairs))  # with no shard open
    loader = Loader(training_batches(pairs, [tokens], config, SIZE, 4, 0), 0, 16, workers=0, max_bad=0.5)
    made = list(loader)
    assert [len(batch["keys"]) for batch in made] == [4] * 16
    assert loader.bad == {"shard cannot be read (No such file or directory)": 16}
    assert not any(key.startswith("b") for batch in made for key in batch["keys"])


def test_seconds_are_told_by_what_they_were_spent_on(tmp_path, tokens):
    config = DataConfig()
    pairs = Pairs(str(write_shard(tmp_path / "s.tar", *[sample(str(i)) for i in range(8)])), config)
    loader = Loader(training_batches(pairs, [tokens], config, SIZE, 4, 0), 0, 4, workers=1, max_bad=0)
    assert all("spent" not in batch for batch in loader)
    assert set(loader.spent) == {"reading", "pictures", "captions"}
    assert all(0 < seconds < 60 for seconds in loader.spent.values())


class Fatal(Dataset):
    def __getitem__(self, t: int) -> Batch:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_a_killed_worker_is_told_in_a_line():
    with pytest.raises(UserError, match=r"A process of the loader was killed .* data\.workers"):
        list(Loader(Fatal(), 0, 4, workers=1, max_bad=0))


class Endless(Dataset):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, t: int) -> Batch:
        (self.folder / str(os.getpid())).touch()
        time.sleep(600)
        raise AssertionError


def test_workers_end_with_their_parent_whatever_they_do(tmp_path):
    loading = multiprocessing.get_context("fork").Process(
        target=lambda: next(iter(Loader(Endless(tmp_path), 0, 9, workers=2, max_bad=0)))
    )
    loading.start()
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    loading.kill()
    loading.join()
    workers = [int(path.name) for path in tmp_path.iterdir()]
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_is_skipped_is_told_each_time_that_it_has_doubled(training):
    loader = Loader(training(), 0, 3, workers=0, max_bad=0.0)
    told = []
    for bad in range(20):
        loader.samples, loader.bad["no picture"] = 100, bad
        told += [bad] if loader.news() else []
    assert told == [1, 2, 4, 8, 16]


# ---- memory ---------------------------------------------------------------------------------------------------------


class Counted(Dataset):
    """Small batches, of which it counts how many were made, in any process."""

    def __init__(self) -> None:
        self.made = multiprocessing.get_context("fork").Value("i", 0)

    def __getitem__(self, t: int) -> dict:
        with self.made.get_lock():
            self.made.value += 1
        return {"keys": [str(t)], "bad": {}, "spent": {}, "images": torch.zeros(1, 3, 8, 8, dtype=torch.uint8)}


class Stacked(Dataset):
    """Batches whose keys tell whether their pictures were stacked in shared memory."""

    def __init__(self, batches: TrainingBatches) -> None:
        self.batches = batches

    def __getitem__(self, t: int) -> Batch:
        batch = self.batches[t]
        return batch | {"keys": [str(batch["images"].is_shared())] * len(batch["keys"])}


def test_batches_never_lie_in_memory_of_a_worker_s_own(training):
    """Of a size that lets them settle in its heap they made it grow without end, by 70 MB an epoch."""
    assert {key for batch in load(Stacked(training()), 0, 3, workers=1) for key in batch["keys"]} == {"True"}


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_worker_is_at_most_two_batches_ahead(workers):
    batches = Counted()
    for taken, _ in enumerate(islice(Loader(batches, 0, 100, workers=workers, max_bad=0), 4), 1):
        time.sleep(0.3)  # the slow consumer
        assert batches.made.value <= taken + 2 * workers


@pytest.mark.parametrize("error", [EOFError(), ConnectionResetError(), ConnectionRefusedError()])
def test_a_worker_killed_before_its_batch_was_fetched_is_said(error):
    loader = Loader(Counted(), 0, 4, workers=1, max_bad=0)

    def batches():
        raise error
        yield

    loader.loader = batches()
    with pytest.raises(UserError, match="was killed"):
        next(iter(loader))


class DiesLater(Counted):
    """One batch, and then its worker is killed."""

    def __getitem__(self, t: int) -> dict:
        if t:
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(t)


def test_a_worker_killed_in_the_midst_of_a_step_is_said():
    batches = iter(Loader(DiesLater(), 0, 4, workers=1, max_bad=0))
    next(batches)
    with pytest.raises(UserError, match=r"A process of the loader was killed .* data\.workers"), worker_deaths():
        time.sleep(60)  # the step
    with pytest.raises(RuntimeError, match="another"), worker_deaths():
        raise RuntimeError("another")

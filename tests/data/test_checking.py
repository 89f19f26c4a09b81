"""What a check finds in shards is what there is, and what it calls bad is what training skips."""

import csv
import io
import json
import os
import pickle
import struct
import tarfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from catclip.captions import SynsetExtractor, Vocabulary
from catclip.captions.counting import count, make_vocabulary
from catclip.config import DataConfig
from catclip.data.checking import bad_lines, check, checker, figures, index_shards, spread_samples, tiles
from catclip.data.checking.tiles import stored_tile
from catclip.data.images import BadImageError
from catclip.data.index import index_path
from catclip.data.loader import HeldOutBatches, Loader
from catclip.data.pairs import Pairs
from catclip.data.shards import Shard
from catclip.errors import UserError
from tests.data.making import encode, picture, sample, tar_bytes, write_shard


def pairs_of(sources, **keys) -> Pairs:
    config = DataConfig(sources=str(sources), **keys)
    return Pairs(config.sources, config)


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    extractor = SynsetExtractor()
    return make_vocabulary(count(["a dog", "a cat", "a zebra"], extractor), extractor, 1, "test")


def bomb() -> bytes:
    """A PNG of a few bytes that says to have 30,000 × 30,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


DAMAGED = {
    "no picture": [("no_picture.txt", b"a dog")],
    "empty picture": sample("empty_picture", jpg=b""),
    "no caption under txt": [("no_caption.jpg", encode(picture()))],
    "empty caption": sample("empty_caption", " \n"),
    "picture cannot be decoded": sample("half", jpg=encode(picture())[:300]),
}


@pytest.fixture
def damaged(tmp_path):
    """Three good samples and one of each kind of damage; a shard cut short, one that is a web page, a sound one."""
    write_shard(tmp_path / "a.tar", sample("good1", "a dog"), *DAMAGED.values(), sample("good2", "a cat", seed=1))
    kept = sample("good3", "a dog", seed=2)
    whole = sum(512 + -(-len(content) // 512) * 512 for _, content in kept)  # headers, and contents padded
    (tmp_path / "b.tar").write_bytes(tar_bytes([*kept, *sample("lost")])[: whole + 600])
    (tmp_path / "c.tar").write_bytes(b"<!DOCTYPE html><html>404 Not Found</html>" * 40)
    write_shard(tmp_path / "d.tar", sample("bomb", jpg=bomb()), sample("webp", jpg=b"RIFF" + b"x" * 90))
    return tmp_path


# ---- the figures ----------------------------------------------------------------------------------------------------


def test_figures_are_what_tarfile_and_pillow_find(glyphs, vocabulary):
    pairs = pairs_of(glyphs / "train-*.tar", caption_key="json.captions")
    found = figures(check(pairs, vocabulary, 33, workers=1))
    sizes, widths, captions, numbers = [], [], [], []
    for path in sorted(glyphs.glob("train-*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                content = tar.extractfile(member).read()
                if member.name.endswith(".json"):
                    numbers.append(len(json.loads(content)["captions"]))
                    captions += json.loads(content)["captions"]
                elif not member.name.endswith(".txt"):
                    sizes.append(len(content))
                    widths.append(Image.open(io.BytesIO(content)).width)
    labels = [vocabulary.labels(caption) for caption in captions]
    words = [len(caption.split()) for caption in captions]
    assert (found["shards"], found["samples"], found["good_samples"], found["bad_samples"]) == (3, 48, 48, 0)
    assert found["shard_bytes"] == sum(path.stat().st_size for path in glyphs.glob("train-*.tar"))
    assert found["members.json"] == 48
    assert found["small_pictures"] == sum(width < 33 for width in widths) == 48
    assert found["picture_width_pixels_mean"] == np.mean(widths)
    assert found["picture_size_bytes_max"] == max(sizes)
    assert found["picture_size_bytes_p50"] == pytest.approx(np.quantile(sizes, 0.5, method="inverted_cdf"), rel=1e-3)
    assert found["captions"] == len(captions)
    assert found["captions_per_sample_mean"] == np.mean(numbers)
    assert found["caption_words_p75"] == np.quantile(words, 0.75, method="inverted_cdf")
    assert found["repeated_captions_share"] == pytest.approx(1 - len(set(captions)) / len(captions))
    assert found["labels_per_caption_mean"] == pytest.approx(np.mean([len(each) for each in labels]))
    assert found["labelled_captions_share"] == pytest.approx(np.mean([bool(each) for each in labels]))
    assert found["vocabulary_labels_seen"] == len({label for each in labels for label in each})
    assert found["vocabulary_labels"] == len(vocabulary)
    json.dumps(found)


def test_formats_and_sizes_are_of_the_upright_picture(tmp_path):
    turned = picture(0, 40, 32).getexif()
    turned[274] = 6  # to be shown upright, 32 × 40
    kinds = [
        sample("1", jpg=encode(picture(0, 40, 32), "JPEG", exif=turned)),
        sample("2", jpg=encode(picture(0, 300, 20), "PNG")),
        sample("3", jpg=encode(picture(0, 20, 300), "WEBP")),
        sample("4", jpg=encode(picture(0, 64, 64).convert("CMYK"), "JPEG")),
    ]
    found = figures(check(pairs_of(write_shard(tmp_path / "s.tar", *kinds)), None, 40, workers=1))
    formats = {key: value for key, value in found.items() if key.startswith("pictures.")}
    assert formats == {"pictures.JPEG": 2, "pictures.PNG": 1, "pictures.WEBP": 1}
    assert (found["picture_width_pixels_min"], found["picture_width_pixels_max"]) == (20, 300)
    assert (found["picture_height_pixels_min"], found["picture_height_pixels_max"]) == (20, 300)
    assert found["picture_width_pixels_mean"] == (32 + 300 + 20 + 64) / 4
    assert found["picture_area_pixels_min"] == 1280
    assert found["small_pictures"] == 3
    assert "vocabulary_labels" not in found


def test_processes_find_what_one_finds(tmp_path, monkeypatch, vocabulary):
    monkeypatch.setattr(checker, "_ROWS", 3)  # more pieces than shards
    captions = ["a dog", "a cat and a zebra", "nothing"]
    for shard in range(2):
        samples = [
            sample(f"{shard}{n}", captions[n % 3], seed=n, **({"jpg": b"?"} if n == 5 else {})) for n in range(8)
        ]
        write_shard(tmp_path / f"{shard}.tar", *samples)
    told = []
    one, two = (
        check(pairs_of(tmp_path / "*.tar"), vocabulary, 16, workers, lambda *done: told.append(done))
        for workers in (1, 2)
    )
    assert (one.processes, two.processes) == (1, 2)
    assert [(bad.shard, bad.key) for bad in two.tally.bad] == [(0, "05"), (1, "15")]
    assert bad_lines(one) == bad_lines(two)
    ours, theirs = (
        {key: value for key, value in figures(each).items() if "second" not in key and key != "processes"}
        for each in (one, two)
    )
    assert ours == theirs
    # Both times all samples and all bytes were told of.
    assert sum(samples for samples, _, _ in told) == 2 * 16
    assert sum(size for _, size, _ in told) == 2 * one.size == 2 * told[-1][2]


# ---- damage ---------------------------------------------------------------------------------------------------------


def test_what_is_bad_is_what_training_skips(damaged):
    pairs = pairs_of(damaged)
    checked = check(pairs, None, 16, workers=1)
    batches = HeldOutBatches(pairs, [], 16, 4)
    loader = Loader(batches, 0, len(batches), workers=0, max_bad=1.0)
    good = {key for batch in loader for key in batch["keys"]}
    assert good == {"good1", "good2", "good3"}
    assert checked.tally.reasons == loader.bad
    assert checked.tally.reasons == dict.fromkeys(DAMAGED, 1) | {"picture cannot be decoded": 3}
    found = figures(checked)
    assert found["good_samples"] == 3
    assert found["damaged_shards"] == 2
    assert found[f"damaged_shards.{damaged / 'c.tar'}"].startswith("no tar")


def test_bad_samples_are_listed_in_their_order_with_why(damaged):
    checked = check(pairs_of(damaged / "[ad].tar"), None, 16, workers=1)
    rows = list(csv.DictReader(io.StringIO(bad_lines(checked)), delimiter="\t"))
    assert [(os.path.basename(row["shard"]), row["key"], row["reason"]) for row in rows] == [
        *(("a.tar", members[0][0].partition(".")[0], reason) for reason, members in DAMAGED.items()),
        ("d.tar", "bomb", "picture cannot be decoded"),
        ("d.tar", "webp", "picture cannot be decoded"),
    ]
    assert all(bool(row["detail"]) == (row["reason"] == "picture cannot be decoded") for row in rows)


def test_a_key_is_a_field_of_one_line_whatever_is_in_it(tmp_path):
    path = write_shard(tmp_path / "s.tar", sample("good"), sample("a\tb\nc\\", jpg=b"?"), sample("é\udcff", jpg=b"?"))
    lines = bad_lines(check(pairs_of(path), None, 16, workers=1)).splitlines()
    assert len(lines) == 3
    assert lines[1].split("\t")[1] == "a\\tb\\nc\\\\"
    assert all(line.count("\t") == 3 for line in lines)


def test_a_shard_that_vanishes_is_bad_and_not_the_end(tmp_path):
    for name in "ab":
        write_shard(tmp_path / f"{name}.tar", sample(f"{name}1"), sample(f"{name}2"))
    pairs = pickle.loads(pickle.dumps(pairs_of(tmp_path / "*.tar")))  # as another process has it: no shard is open
    (tmp_path / "b.tar").unlink()
    checked = check(pairs, None, 16, workers=1)
    assert checked.tally.samples == 4
    assert [bad.key for bad in checked.tally.bad] == ["b1", "b2"]
    assert set(checked.tally.reasons) == {"shard cannot be read (No such file or directory)"}


def test_without_a_good_sample_there_are_figures_too(tmp_path):
    path = write_shard(tmp_path / "s.tar", sample("1", jpg=b"?"))
    found = figures(check(pairs_of(path), None, 16, workers=1))
    assert (found["bad_samples_share"], found["captions"], found["picture_width_pixels_p50"]) == (1, 0, 0)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([encode(picture()), encode(picture(), "PNG"), b"", b"?", encode(picture())[:99]]),
            st.text(st.characters(), max_size=9).map(lambda text: text.encode("utf-8", "surrogatepass"))
            | st.binary(max_size=9),
        ),
        max_size=6,
    )
)
def test_any_sample_is_good_or_bad(tmp_path_factory, vocabulary, contents):
    folder = tmp_path_factory.mktemp("any")
    samples = [sample(str(n), jpg=image, txt=text) for n, (image, text) in enumerate(contents)]
    path = write_shard(folder / "s.tar", sample("good", "a dog"), *samples)
    checked = check(pairs_of(path), vocabulary, 16, workers=1)
    found = figures(checked)
    assert found["samples"] == len(contents) + 1 == found["good_samples"] + found["bad_samples"]
    assert found["good_samples"] == checked.tally.pictures.size.count == found["captions"]
    json.dumps(found)


# ---- which are shown ------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20).filter(sum), st.integers(1, 50), st.integers(0, 99))
def test_shown_samples_are_spread_over_all_shards(counts, number, seed):
    class Shards:
        def __init__(self):
            self.counts = np.array(counts, np.int64)

    class FewPairs:
        shards = Shards()

        def __len__(self):
            return sum(counts)

    places = spread_samples(FewPairs(), number, seed)
    everything = [(shard, row) for shard, count in enumerate(counts) for row in range(count)]
    order = [everything.index(place) for place in places]
    assert len(places) == len(set(places)) == min(number, len(everything))
    assert order == sorted(order)
    # One in each of as many equal stretches, give or take the rounding of their ends.
    length = len(everything) / len(places)
    assert all(int(nth * length) <= place < (nth + 1) * length for nth, place in enumerate(order))
    assert places == spread_samples(FewPairs(), number, seed)


def test_a_tile_has_what_the_sample_has(damaged, vocabulary):
    write_shard(
        damaged / "a.tar", sample("one", "a dog and a cat", jpg=encode(picture(3, 600, 200))), DAMAGED["no picture"]
    )
    pairs = pairs_of(damaged / "a.tar")
    tile = stored_tile(pairs, vocabulary, (0, 0), 150)
    assert (tile.key, tile.note, list(tile.captions)) == ("one", "600 × 200", ["a dog and a cat"])
    assert sorted(tile.labels) == ["cat.n.01", "dog.n.01"]
    assert tile.picture.size == (150, 50)
    expected = picture(3, 600, 200).resize((150, 50), Image.Resampling.BOX)
    assert np.abs(np.asarray(tile.picture).astype(int) - np.asarray(expected)).mean() < 3
    bad = stored_tile(pairs, vocabulary, (0, 1), 150)
    assert (bad.picture, bad.key, bad.note) == (None, "no_picture", "no picture")
    assert stored_tile(pairs, None, (0, 0), 150).labels is None


def test_a_tile_shows_what_training_can_read(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise BadImageError("broken, says Pillow")

    monkeypatch.setattr(tiles, "decode", refuse)
    path = write_shard(tmp_path / "s.tar", sample("odd", jpg=encode(picture(0, 64, 64))), sample("bad", jpg=b"?"))
    odd, bad = (stored_tile(pairs_of(path), None, (0, row), 32) for row in range(2))
    expected = picture(0, 64, 64).resize((32, 32), Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(odd.picture).astype(int) - np.asarray(expected)).mean() < 3
    assert (bad.picture, bad.note) == (None, "picture cannot be decoded")


# ---- indexes --------------------------------------------------------------------------------------------------------


def test_an_index_beside_each_shard_is_what_training_takes(damaged):
    assert index_shards(str(damaged), workers=1) == 4
    for path in sorted(damaged.glob("*.tar")):
        assert index_path(path).is_file()
    assert Shard.scan(str(damaged / "a.tar")).index.keys.to_pylist()[0] == "good1"


def test_where_no_index_can_be_written_it_is_said(tmp_path):
    path = write_shard(tmp_path / "s.tar", sample("1"))
    (tmp_path / ".s.index.parquet.partial").mkdir()  # in the way, for a superuser too
    with pytest.raises(UserError, match=r"s\.index\.parquet cannot be written: Is a directory\."):
        index_shards(str(path), workers=1)

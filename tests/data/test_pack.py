"""A folder of pictures → shards: complete, the same each time, unbroken by bad pictures, wild names and restarts."""

import errno
import json
import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from webdataset.writer import TarWriter

from catclip.config import DataConfig, PackConfig
from catclip.data.index import ShardIndex, index_path
from catclip.data.packing import pack
from catclip.data.packing.keys import sample_keys
from catclip.data.pairs import Pairs
from catclip.errors import UserError
from catclip.files import locked
from tests.data.making import encode, picture

DOT = encode(picture(0, 1, 1), "PNG")


def add(folder: Path, name: str, caption: str | None, content: bytes | None = None) -> None:
    """Put a picture into a folder, and its caption beside it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(picture(sum(name.encode()))) if content is None else content)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption)


@pytest.fixture
def folder(tmp_path):
    """Ten pictures with captions, some of them in folders, two of the same stem."""
    for number in range(8):
        add(tmp_path / "in", f"{'ab'[number % 2]}/{number}.jpg", f"picture {number}")
    add(tmp_path / "in", "a/same.jpg", "one")
    add(tmp_path / "in", "b/same.png", "two", encode(picture(99), "PNG"))
    return tmp_path / "in"


def packing(folder: Path, out: str = "out", **options) -> PackConfig:
    return PackConfig(**{"data": str(folder), "out": str(folder.parent / out), "shard_size": 4, "workers": 1} | options)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def by_pairs(out: Path, caption_key: str | None = None) -> list[tuple[str, bytes, list[str]]]:
    """Key, picture and captions of all samples, as training reads them."""
    pairs = Pairs(str(out), DataConfig(caption_key=caption_key))
    return [(pairs.key(*place), *pairs.read(*place)) for place in pairs.shards.in_order()]


def by_webdataset(out: Path) -> list[dict]:
    """All samples, as webdataset's own reader gives them."""
    return list(webdataset.WebDataset(sorted(map(str, out.glob("*.tar"))), shardshuffle=False, empty_check=False))


# ---- what is in the shards ------------------------------------------------------------------------------------------


def test_every_picture_is_in_the_shards_with_its_caption(folder):
    packed = pack(packing(folder))
    out = folder.parent / "out"
    expected = {
        (path.read_bytes(), path.with_suffix(".txt").read_text())
        for path in folder.rglob("*")
        if path.suffix in (".jpg", ".png")
    }
    assert {(data, captions[0]) for _, data, captions in by_pairs(out)} == expected
    samples = by_webdataset(out)
    assert {(each.get("jpg") or each["png"], each["txt"].decode()) for each in samples} == expected
    assert [each["__key__"] for each in samples] == [key for key, _, _ in by_pairs(out)]
    assert {"a-0", "b-1", "a-same", "b-same"} <= {each["__key__"] for each in samples}
    for each in samples:
        about = json.loads(each["json"])
        assert about["key"] == each["__key__"]
        assert about["captions"] == [about["caption"]] == [each["txt"].decode()]
        assert (folder / about["path"]).read_bytes() == (each.get("jpg") or each["png"])
        assert (about["width"], about["height"]) == (40, 32)
    assert (packed.samples, packed.captions, packed.kept, packed.skipped) == (10, 10, 0, [])
    assert packed.size == sum(path.stat().st_size for path in out.glob("*.tar"))


def test_shards_are_of_equal_size_and_have_an_index(folder):
    assert [shard.samples for shard in pack(packing(folder)).shards] == [3, 3, 4]
    shards = sorted((folder.parent / "out").glob("*.tar"))
    assert [path.name for path in shards] == ["00000.tar", "00001.tar", "00002.tar"]
    for path in shards:
        index, scanned = ShardIndex.load(index_path(path)), ShardIndex.scan(path)
        assert index is not None
        assert index.keys.equals(scanned.keys)
        assert (index.offsets == scanned.offsets).all()
        assert scanned.problem is None


def test_the_same_settings_give_the_same_bytes(folder):
    for out, options in {"one": {}, "two": {"workers": 3}, "other": {"seed": 1}}.items():
        pack(packing(folder, out, **options))
    one, two, other = (contents(folder.parent / out) for out in ("one", "two", "other"))
    assert one == two
    assert one.keys() == other.keys()
    assert one["00000.tar"] != other["00000.tar"]
    orders = [[key for key, _, _ in by_pairs(folder.parent / out)] for out in ("one", "other")]
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != sorted(orders[0])


def test_without_shuffling_pictures_lie_in_the_order_of_their_paths(folder):
    pack(packing(folder, shuffle=False))
    paths = [json.loads(each["json"])["path"] for each in by_webdataset(folder.parent / "out")]
    assert paths == sorted(paths)


def test_the_home_folder_may_be_written_as_a_tilde(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    (folder.parent / "t.csv").write_text("image,caption\n7.jpg,a dog\n")
    assert pack(packing(folder, data="~/in", captions="~/t.csv", max_bad=1.0)).samples == 1


def test_lines_of_a_text_are_captions(folder):
    (folder / "a" / "0.txt").write_bytes(b"\xef\xbb\xbf  a d\xffg\r\n\n a cat \n")
    packed = pack(packing(folder))
    captions = {key: texts for key, _, texts in by_pairs(folder.parent / "out", "json.captions")}
    assert captions["a-0"] == ["a d�g", "a cat"]
    assert captions["b-1"] == ["picture 1"]
    assert {key: texts for key, _, texts in by_pairs(folder.parent / "out", "txt")}["a-0"] == ["a d�g"]
    assert packed.captions == 11


def test_captions_that_are_no_valid_text_are_mended(folder):
    table = folder.parent / "t.jsonl"
    table.write_text(
        '{"image": "a/0.jpg", "caption": "a \\ud800 dog"}\n{"image": "b/1.jpg", "caption": "a \\ud83d\\udc36"}'
    )
    pack(packing(folder, captions=str(table), max_bad=1.0))
    assert {captions[0] for _, _, captions in by_pairs(folder.parent / "out")} == {"a \ufffd dog", "a \N{DOG FACE}"}


def test_coco(shared, tmp_path):
    coco = shared / "data" / "coco-mini"
    annotations = coco / "annotations" / "captions_val2017.json"
    config = PackConfig(data=str(coco / "val2017"), captions=str(annotations), out=str(tmp_path), workers=1)
    assert pack(config).captions == 395
    content = json.loads(annotations.read_text())
    said: dict[int, list[str]] = {}
    for each in content["annotations"]:
        said.setdefault(each["image_id"], []).append(each["caption"].strip())
    expected = {
        image["file_name"].removesuffix(".jpg"): (
            (coco / "val2017" / image["file_name"]).read_bytes(),
            said[image["id"]],
        )
        for image in content["images"]
    }
    assert {key: (data, texts) for key, data, texts in by_pairs(tmp_path, "json.captions")} == expected
    sizes = {image["file_name"]: (image["width"], image["height"]) for image in content["images"]}
    for each in by_webdataset(tmp_path):
        about = json.loads(each["json"])
        assert (about["width"], about["height"]) == sizes[about["path"]]
        assert each["txt"].decode() == about["caption"] == expected[each["__key__"]][1][0]


# ---- names ----------------------------------------------------------------------------------------------------------

part = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12)
    | st.text("aA._- é日", min_size=1, max_size=6)
).filter(lambda name: not name.startswith("."))
paths = st.builds(lambda folders, name: "/".join([*folders, name]), st.lists(part, max_size=2), part)


def as_tree(names: list[str]) -> list[str]:
    """Those names of pictures that can lie in one folder, each with a text file of its own beside it."""
    taken: set[str] = set()
    kept = []
    for name in names:
        stem = os.path.splitext(f"{name}.png")[0]
        around = {stem.rsplit("/", up)[0] for up in range(1, stem.count("/") + 1)}
        files = {f"{stem}.png", f"{stem}.txt"}
        if not any(each in files or each.startswith(tuple(f"{file}/" for file in files)) for each in taken) and not (
            taken & around
        ):
            taken |= files
            kept.append(f"{name}.png")
    return kept


@settings(max_examples=60, deadline=None)
@given(st.lists(paths, min_size=1, max_size=8, unique=True).map(as_tree))
def test_any_names(names):
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "in"
        for number, name in enumerate(names):
            add(folder, name, f"number {number}", DOT)
        pack(packing(folder))
        out = folder.parent / "out"
        expected = {f"number {number}": name for number, name in enumerate(names)}
        read = by_pairs(out)
        assert {captions[0] for _, _, captions in read} == set(expected)
        assert len({key for key, _, _ in read}) == len(read) == len(names)
        samples = by_webdataset(out)
        assert {each["txt"].decode(): json.loads(each["json"])["path"] for each in samples} == expected
        assert [each["__key__"] for each in samples] == [key for key, _, _ in read]


@settings(max_examples=300, deadline=None)
@given(st.sets(paths, min_size=1, max_size=12))
def test_keys_are_unique_and_safe(names):
    keys = sample_keys(sorted(names))
    assert len({key.lower() for key in keys}) == len(names)
    assert all(key and len(f"{key}.json") < 100 for key in keys)
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") for key in keys)


def test_keys_tell_their_pictures():
    names = [
        "000000000790.jpg",
        "dogs/my café.v2.jpg",
        "A.jpg",
        "a.jpg",
        "x/1.jpg",
        "x/1.png",
        "x-2.jpg",
        f"{'l' * 200}.jpg",
    ]
    plain, cafe, upper, lower, *rest = sample_keys(names)
    assert (plain, cafe) == ("000000000790", "dogs-my_cafe_v2")
    assert upper.startswith("A-")
    assert lower.startswith("a-")
    assert rest[0].startswith("x-1-")
    assert rest[2:] == ["x-2", "l" * 60]
    assert sample_keys(names[::-1]) == sample_keys(names)[::-1]


def test_a_name_that_is_no_text(folder):
    path = os.fsencode(folder / "a") + b"/\xff\xfe"
    for ending, content in ((b".png", DOT), (b".txt", b"a dog")):
        with open(path + ending, "wb") as file:
            file.write(content)
    pack(packing(folder))
    about = [json.loads(each["json"]) for each in by_webdataset(folder.parent / "out")]
    assert next(each["path"] for each in about if each["caption"] == "a dog") == r"a/\udcff\udcfe.png"


# ---- what is left out -----------------------------------------------------------------------------------------------


def test_pictures_that_cannot_be_used_are_skipped_and_listed(folder):
    whole = (folder / "a" / "0.jpg").read_bytes()
    add(folder, "cut\there.jpg", "a dog", whole[: len(whole) // 2])
    add(folder, "empty.jpg", "a dog", b"")
    add(folder, "page.jpg", "a dog", b"<html>404</html>")
    add(folder, "silent.jpg", None)
    add(folder, "blank.jpg", " \n ")
    (folder / "lost.jpg").symlink_to("nowhere.jpg")
    (folder / "lost.txt").write_text("a dog")
    packed = pack(packing(folder, max_bad=0.4))
    assert packed.samples == 10
    assert packed.entries == 16
    assert Counter(each.reason for each in packed.skipped) == {
        "picture cannot be decoded": 2,
        "empty picture": 1,
        "no caption": 1,
        "empty caption": 1,
        "picture cannot be read (No such file or directory)": 1,
    }
    lines = (folder.parent / "out" / "skipped.tsv").read_text().splitlines()
    assert lines[0] == "picture\treason"
    assert lines[1:3] == ["blank.jpg\tempty caption", "cut\\there.jpg\tpicture cannot be decoded"]
    assert len(lines) == 7
    assert len(by_pairs(folder.parent / "out")) == 10


def test_too_many_bad_pictures_stop_it_and_it_goes_on_when_they_are_allowed(folder):
    for number in range(5):
        add(folder, f"bad{number}.jpg", "a dog", b"no picture")
    with pytest.raises(
        UserError, match=r"of 15 pictures .*: picture cannot be decoded: \d.*max_bad=0\.1 .*skipped\.tsv"
    ):
        pack(packing(folder, max_bad=0.1))
    assert "bad" in (folder.parent / "out" / "skipped.tsv").read_text()
    packed = pack(packing(folder, max_bad=0.5))
    assert (packed.samples, len(packed.skipped)) == (10, 5)
    pack(packing(folder, "whole", max_bad=0.5))
    assert contents(folder.parent / "out") == contents(folder.parent / "whole")


def test_captions_that_are_missing_stop_it_before_anything_is_packed(folder):
    for number in range(5):
        add(folder, f"silent{number}.jpg", None)
    with pytest.raises(UserError, match=r"Skipped 5 of 15 pictures \(33\.33%\): no caption: 5\. .*max_bad=0\.01"):
        pack(packing(folder))
    assert not list((folder.parent / "out").glob("*.tar"))
    for number in range(5):
        (folder / f"silent{number}.txt").write_text("a dog")
    assert pack(packing(folder)).samples == 15  # nothing was packed yet, so nothing has changed
    assert not (folder.parent / "out" / "skipped.tsv").exists()


def test_hidden_files_pipes_and_circles_are_no_pictures(folder):
    add(folder, ".hidden.jpg", "a dog")
    add(folder, "a/.trash/dog.jpg", "a dog")
    add(folder, "dog.heic", "a dog")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "pipe.txt").write_text("a dog")
    (folder / "a" / "circle").symlink_to(folder)
    elsewhere = folder.parent / "elsewhere"
    add(elsewhere, "linked.jpg", "a zebra")
    (folder / "c").symlink_to(elsewhere)
    packed = pack(packing(folder))
    assert (packed.samples, packed.entries) == (11, 11)
    assert "c-linked" in {key for key, _, _ in by_pairs(folder.parent / "out")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "nowhere"}, "data=nowhere is no folder"),
        ({"captions": "nowhere.csv"}, "captions=nowhere.csv is no file"),
        ({"caption_key": "title"}, "columns of a table: give one"),
        ({"shard_size": 0}, "shard_size=0: must be at least 1"),
        ({"size": -1}, "size=-1: must be at least 1"),
        ({"workers": 0}, "workers=0: must be at least 1"),
    ],
)
def test_wrong_settings(folder, options, message):
    with pytest.raises(UserError, match=message):
        pack(packing(folder, **options))
    assert not (folder.parent / "out").exists()


def test_folders_without_pictures_or_captions_are_refused(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(UserError, match=r"No pictures \(\.jpg, .*\) in "):
        pack(packing(tmp_path / "in"))
    add(tmp_path / "in", "a.b.jpg", None)
    with pytest.raises(
        UserError, match=r"None of the 1 pictures .* \(a\.b\.jpg would have it in a\.b\.txt\).*captions=FILE"
    ):
        pack(packing(tmp_path / "in"))
    add(tmp_path / "in", "a.b.jpg", "a dog", b"bad")
    with pytest.raises(UserError, match=r"No picture could be packed\. Skipped 1 of 1"):
        pack(packing(tmp_path / "in", max_bad=1.0))


# ---- once more ------------------------------------------------------------------------------------------------------


def test_what_is_there_is_left_alone_and_what_is_lost_is_packed_again(folder):
    add(folder, "bad.jpg", "a dog", b"no picture")
    first = pack(packing(folder, max_bad=0.5))
    out = folder.parent / "out"
    whole = contents(out)
    times = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    again = pack(packing(folder, max_bad=0.5))
    assert again == first._replace(kept=3)
    (out / "00001.tar").unlink()
    (out / "00002.tar").write_bytes(b"cut short")
    (out / "pack.jsonl").write_bytes((out / "pack.jsonl").read_bytes()[:-10])  # as a kill may leave it
    assert pack(packing(folder, max_bad=0.5)) == first._replace(kept=1)
    assert contents(out) == whole
    assert (out / "00000.tar").stat().st_mtime_ns == times["00000.tar"]


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"shard_size": 5}, "shard_size was 4, is 5"),
        ({"size": 30}, "size was null, is 30"),
        ({"seed": 3}, "seed was 0, is 3"),
        ({"shuffle": False}, "shuffle was true, is false"),
    ],
)
def test_shards_that_were_packed_otherwise_are_not_mixed_in(folder, options, difference):
    pack(packing(folder))
    whole = contents(folder.parent / "out")
    with pytest.raises(UserError, match=f"was packed otherwise: {difference}.*out="):
        pack(packing(folder, **options))
    assert contents(folder.parent / "out") == whole


def test_other_pictures_are_noticed(folder):
    pack(packing(folder))
    add(folder, "new.jpg", "a dog")
    with pytest.raises(UserError, match="its pictures or captions have changed"):
        pack(packing(folder))


def test_a_folder_with_other_content_is_refused(folder):
    out = folder.parent / "out"
    out.mkdir()
    (out / "00000.tar").write_bytes(b"precious")
    with pytest.raises(UserError, match="is not empty, and was not packed by catclip"):
        pack(packing(folder))
    assert contents(out) == {"00000.tar": b"precious"}
    (out / "pack.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match="is damaged"):
        pack(packing(folder))


def test_another_process_at_work_is_noticed(folder):
    with locked(folder.parent / "out", "packs into"), pytest.raises(UserError, match="Another process packs into"):
        pack(packing(folder))


def test_a_full_disk_is_said_in_a_line_and_the_command_goes_on_later(folder, monkeypatch):
    write = TarWriter.write

    def write_until_full(self, sample):
        if sample["__key__"] == key_of_last:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, sample)

    pack(packing(folder, "whole"))
    key_of_last = by_pairs(folder.parent / "whole")[-1][0]
    with monkeypatch.context() as patch:
        patch.setattr(TarWriter, "write", write_until_full)
        with pytest.raises(UserError, match=r"^The disk is full: .*00002\.tar cannot be written\. Free some space"):
            pack(packing(folder))
    out = folder.parent / "out"
    assert sorted(contents(out)) == [
        "00000.index.parquet",
        "00000.tar",
        "00001.index.parquet",
        "00001.tar",
        "pack.jsonl",
    ]
    assert pack(packing(folder)).kept == 2
    assert contents(out) == contents(folder.parent / "whole")

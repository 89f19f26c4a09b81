"""Shards with `.cls` give their samples in order; what lacks a class or a picture is named."""

import io
import tarfile
from pathlib import Path

import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from catclip.config import LabelledConfig
from catclip.data.labelled import open_labelled
from catclip.errors import UserError
from tests.data.cache.server import Server
from tests.data.making import encode, picture, tar_bytes
from tests.tiny import assert_same


def sample(key: str, label: str | bytes, **members: bytes) -> list[tuple[str, bytes]]:
    content = label.encode() if isinstance(label, str) else label
    return [
        (f"{key}.{name}", data) for name, data in {"png": encode(picture(), "PNG"), "cls": content, **members}.items()
    ]


def shard(path: Path, *samples: list[tuple[str, bytes]]) -> str:
    path.write_bytes(tar_bytes(member for members in samples for member in members))
    return str(path)


def test_what_webdataset_writes_is_read(tmp_path):
    """Its writer turns an integer under `cls` into text."""
    labels = [3, 1, 0, 2, 1]
    for number, part in enumerate((labels[:3], labels[3:])):
        with webdataset.TarWriter(str(tmp_path / f"train-{number}.tar")) as writer:
            for row, label in enumerate(part):
                data = encode(picture(10 * number + row))
                writer.write({"__key__": f"{number}{row}", "jpg": data, "cls": label, "json": {"width": 40}})
    found = open_labelled(str(tmp_path / "train-{0..1}.tar"))
    assert (found.classes, found.multilabel, found.label_ids.tolist()) == (["0", "1", "2", "3"], False, labels)
    assert found[1] == (encode(picture(1)), 1)
    assert found[4] == (encode(picture(11)), 1)
    assert sum(len(batch["class_ids"]) for batch in found.batches(16, batch=2, workers=1)) == 5


def test_class_names_are_found_or_given(tmp_path):
    path = shard(tmp_path / "a.tar", sample("0", "dog\n"), sample("1", "hot dog"), sample("2", "ant"))
    found = open_labelled(path)
    assert (found.classes, found.label_ids.tolist()) == (["ant", "dog", "hot dog"], [1, 2, 0])
    (tmp_path / "classes.txt").write_text("hot dog\ndog\nant\nemu\n")
    beside = open_labelled([path])
    assert (beside.classes, beside.label_ids.tolist()) == (["hot dog", "dog", "ant", "emu"], [1, 0, 2])
    given_ = open_labelled(tmp_path, LabelledConfig(classes=["ant", "dog", "hot dog", "x"]))
    assert given_.label_ids.tolist() == [1, 2, 0]
    assert open_labelled(path, LabelledConfig(classes=["x"]), ["dog", "ant", "hot dog"]).label_ids.tolist() == [0, 2, 1]


def test_other_keys(tmp_path):
    path = shard(tmp_path / "a.tar", sample("0", b"", small=b"s", Large=encode(picture(5)), target=b"1"))
    found = open_labelled(path, LabelledConfig(image_key="large;small", label_key="target", classes=["a", "b"]))
    assert found[0] == (encode(picture(5)), 1)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("1.png", b"x")], "has no class under data.label_key=cls: it has png"),
        (sample("1", b"\xff\xfe"), r"has no text in its \.cls: a class is a number or a name"),
        (sample("1", " \n"), r"has nothing in its \.cls"),
        (sample("1", "2"), "has label 2: there are 2 classes, numbered from 0"),
        (sample("1", "emu"), "has class 'emu', which is none of the 2 classes"),
        ([*sample("1", "0"), ("1.cls", b"0")], "has no picture"),
    ],
)
def test_a_sample_that_is_no_labelled_picture_is_named(tmp_path, members, said):
    path = shard(tmp_path / "a.tar", sample("0", "0"), members)
    with pytest.raises(UserError, match=f"Sample 1 of {path} ({said})"):
        list(open_labelled(path, classes=["ant", "cat"]).batches(16))


def test_a_picture_that_is_missing_or_broken_is_named(tmp_path):
    path = shard(tmp_path / "a.tar", sample("0", "0"), [("d/1.cls", b"0"), ("d/1.bmp", b"x")])
    with pytest.raises(
        UserError, match=r"Sample d/1 of .*a\.tar has no picture under data\.image_key=.*: it has cls, bmp"
    ):
        list(open_labelled(path).batches(16))
    for content in (b"", b"no picture", encode(picture(), "PNG")[:90]):
        shard(tmp_path / "a.tar", sample("0", "0"), sample("1", "0", png=content))
        with pytest.raises(UserError, match=r"Sample 1 of .*a\.tar cannot be decoded: "):
            list(open_labelled(path).batches(16, workers=1))


def test_shards_that_are_damaged_or_gone_are_said(tmp_path):
    path = Path(shard(tmp_path / "a.tar", sample("0", "0"), sample("1", "0")))
    found = open_labelled(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 4])
    with pytest.raises(UserError, match=r"a\.tar cannot be read to its end: "):
        open_labelled(path)
    with pytest.raises(UserError, match=r"Sample 1 of .*a\.tar cannot be read: "):
        found[1]
    path.write_bytes(whole)
    found = open_labelled(path)
    path.unlink()
    assert next(iter(found.batches(16)))["class_ids"].tolist() == [0, 0], "it is held open"
    with pytest.raises(UserError, match=r"No file matches .*a\.tar"):
        open_labelled(path)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """Where the usual cache comes to lie."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_shards_at_an_address_are_fetched(tmp_path, home):
    (tmp_path / "web").mkdir()
    path = shard(tmp_path / "web" / "a.tar", sample("0", "dog"), sample("1", "ant"), sample("2", "dog"))
    here = open_labelled(path)
    with Server(tmp_path / "web") as server:
        found = open_labelled(f"{server.url}/a.tar")
        assert (found.classes, found.label_ids.tolist()) == (["ant", "dog"], [1, 0, 1])
        assert_same(list(found.batches(16, workers=1)), list(here.batches(16)))
        assert list((home / ".cache" / "catclip").glob("*.tar"))
        with pytest.raises(UserError, match=r"missing\.tar"):
            open_labelled(f"{server.url}/missing.tar")


@given(st.lists(st.binary(max_size=4) | st.integers(-1, 3).map(lambda label: str(label).encode()), max_size=5))
def test_whatever_stands_in_cls_is_read_or_said(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("cls") / "a.tar"
    with tarfile.open(path, "w") as tar:
        for number, label in enumerate(labels):
            member = tarfile.TarInfo(f"{number}.cls")
            member.size = len(label)
            tar.addfile(member, io.BytesIO(label))
    try:
        found = open_labelled(path)
    except UserError:
        return
    texts = [label.decode().strip() for label in labels]
    names = [found.classes[label] for label in found.label_ids]
    assert names == texts or list(map(int, names)) == list(map(int, texts))

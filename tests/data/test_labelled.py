"""Class folders give their pictures in order, and a picture that cannot be read is named."""

import pytest
import torch
from PIL import Image

from catclip.data.images import to_tensor
from catclip.data.labelled import ClassFolder
from catclip.errors import UserError
from tests.data.making import encode, picture


@pytest.fixture
def folder(tmp_path):
    """Three classes with 3, 2 and 1 pictures, made in no particular order."""
    for name, count in (("dog", 3), ("ant", 2), ("cat", 1)):
        for number in reversed(range(count)):
            path = tmp_path / "train" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(picture(10 * len(name) + number, 16, 16), "PNG"))
    return tmp_path / "train"


def test_classes_and_pictures_are_sorted(folder):
    found = ClassFolder.open(folder)
    assert found.classes == ["ant", "cat", "dog"]
    assert [(path.relative_to(folder).as_posix(), index) for path, index in found.pictures] == [
        ("ant/0.png", 0), ("ant/1.png", 0), ("cat/0.png", 1), ("dog/0.png", 2), ("dog/1.png", 2), ("dog/2.png", 2)
    ]  # fmt: skip


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_pictures_in_order(folder, workers):
    found = ClassFolder.open(folder)
    batches = list(found.batches(size=16, batch=4, workers=workers))
    assert [len(labels) for _, labels in batches] == [4, 2]
    assert torch.cat([labels for _, labels in batches]).tolist() == [0, 0, 1, 2, 2, 2]
    expected = torch.stack([to_tensor(Image.open(path)) for path, _ in found.pictures])
    assert torch.equal(torch.cat([images for images, _ in batches]), expected)


def test_the_embedded_probe_set(glyphs):
    train, test = ClassFolder.open_splits(glyphs / "probe")
    assert train.classes == test.classes
    assert len(train.pictures) == 2 * len(train.classes)
    images, labels = next(train.batches(size=32, batch=8))
    assert images.shape == (8, 3, 32, 32)
    assert labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_what_is_no_picture_is_left_out(folder):
    for name in ("notes.txt", "._0.png", "Thumbs.db"):
        (folder / "ant" / name).write_bytes(b"x")
    (folder / ".cache").mkdir()
    (folder / "README.md").touch()
    (folder / "cat" / "1.JPG").write_bytes(encode(picture()))
    found = ClassFolder.open(folder)
    assert found.classes == ["ant", "cat", "dog"]
    assert [path.name for path, index in found.pictures if index < 2] == ["0.png", "1.png", "0.png", "1.JPG"]


def test_expected_classes_decide_the_indices(folder):
    found = ClassFolder.open(folder, ["dog", "cat", "ant"])
    assert found.classes == ["dog", "cat", "ant"]
    assert {path.parent.name: index for path, index in found.pictures} == {"dog": 0, "cat": 1, "ant": 2}


@pytest.mark.parametrize("classes", [["ant", "cat"], ["ant", "cat", "dog", "emu"], ["ant", "cat", "emu"]])
def test_other_classes_than_expected_are_named(folder, classes):
    with pytest.raises(UserError, match=r"other classes than expected: .*(dog|emu)"):
        ClassFolder.open(folder, classes)


def test_splits_must_have_the_same_classes(folder):
    (folder.parent / "test" / "ant").mkdir(parents=True)
    with pytest.raises(UserError, match="cat, dog"):
        ClassFolder.open_splits(folder.parent)


def test_missing_folders_are_said(folder, tmp_path):
    with pytest.raises(UserError, match=r"No folder .*nowhere"):
        ClassFolder.open(tmp_path / "nowhere")
    with pytest.raises(UserError, match="No class folders"):
        ClassFolder.open(folder / "ant")
    (tmp_path / "empty" / "a").mkdir(parents=True)
    with pytest.raises(UserError, match="No pictures"):
        ClassFolder.open(tmp_path / "empty")


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("damage", ["broken", "gone"])
def test_an_unreadable_picture_is_named_and_nothing_else_is_said(folder, workers, damage):
    found = ClassFolder.open(folder)
    bad = folder / "cat" / "0.png"
    if damage == "broken":
        bad.write_bytes(b"no picture")
    else:
        bad.unlink()
    with pytest.raises(UserError) as caught:
        list(found.batches(size=16, batch=2, workers=workers))
    assert str(caught.value).startswith(f"{bad} cannot be decoded: ")
    assert "Traceback" not in str(caught.value)

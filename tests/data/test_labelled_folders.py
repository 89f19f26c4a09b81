"""Class folders give their pictures in order."""

import pytest

from catclip.config import LabelledConfig
from catclip.data.labelled import open_labelled
from catclip.errors import UserError
from tests.data.making import encode, picture


@pytest.fixture
def folder(tmp_path):
    """Classes ant, cat and dog with the pictures 0.png and 1.png each."""
    for name in ("dog", "ant", "cat"):
        (tmp_path / name).mkdir()
        for number in (1, 0):
            (tmp_path / name / f"{number}.png").write_bytes(encode(picture(number), "PNG"))
    return tmp_path


def names(found) -> list[str]:
    return [found.pictures.path(number).relative_to(found.pictures.folder).as_posix() for number in range(len(found))]


def test_classes_and_pictures_are_sorted(folder):
    found = open_labelled(folder)
    assert found.classes == ["ant", "cat", "dog"]
    assert names(found) == ["ant/0.png", "ant/1.png", "cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"]
    assert found.label_ids.tolist() == [0, 0, 1, 1, 2, 2]


def test_what_is_no_picture_is_left_out(folder):
    for name in ("notes.txt", "._0.png", "Thumbs.db"):
        (folder / "ant" / name).write_bytes(b"x")
    (folder / ".cache").mkdir()
    (folder / "README.md").touch()
    (folder / "cat" / "2.JPG").write_bytes(encode(picture()))
    found = open_labelled(folder)
    assert found.classes == ["ant", "cat", "dog"]
    assert names(found)[:5] == ["ant/0.png", "ant/1.png", "cat/0.png", "cat/1.png", "cat/2.JPG"]


def test_pictures_lie_in_folders_of_their_class_or_below(folder):
    """As in Tiny ImageNet: train/n01443537/images/n01443537_0.JPEG."""
    (folder / "cat" / "images" / "b").mkdir(parents=True)
    (folder / "cat" / "images" / "a.JPEG").write_bytes(encode(picture()))
    (folder / "cat" / "images" / "b" / "c.webp").write_bytes(encode(picture(), "WEBP"))
    assert names(open_labelled(folder))[2:6] == ["cat/0.png", "cat/1.png", "cat/images/a.JPEG", "cat/images/b/c.webp"]


def test_names_that_are_no_text_are_read(folder):
    odd = bytes(folder) + b"/ant/\xff\xe9.png"
    with open(odd, "wb") as file:
        file.write(encode(picture(7), "PNG"))
    assert open_labelled(folder)[2] == (encode(picture(7), "PNG"), 0)


def test_expected_classes_decide_the_indices(folder):
    for found in (
        open_labelled(folder, classes=["dog", "cat", "ant"]),
        open_labelled(folder, LabelledConfig(classes=["dog", "cat", "ant"])),
    ):
        assert found.classes == ["dog", "cat", "ant"]
        assert names(found)[0] == "dog/0.png"
        assert found.label_ids.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("classes", [["ant", "cat"], ["ant", "cat", "dog", "emu"], ["ant", "cat", "emu"]])
def test_other_classes_than_expected_are_named(folder, classes):
    with pytest.raises(UserError, match=r"other classes than expected: .*(dog|emu)"):
        open_labelled(folder, classes=classes)
    with pytest.raises(UserError, match="Two of the class names are the same"):
        open_labelled(folder, classes=["ant", "cat", "dog", "ant"])


def test_empty_folders_are_said(folder, tmp_path):
    with pytest.raises(UserError, match=r"No file matches .*nowhere"):
        open_labelled(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"No class folders in .*ant: labelled pictures lie in .*ant/<class>/"):
        open_labelled(folder / "ant")
    (folder / "emu").mkdir()
    (folder / "emu" / "notes.txt").touch()
    with pytest.raises(UserError, match="No pictures in the class folders emu of"):
        open_labelled(folder)

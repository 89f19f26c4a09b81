import pytest

from catclip.errors import UserError
from catclip.files import write_atomically, writing


def test_what_cannot_take_its_place_leaves_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder cannot be written"), writing(tmp_path / "folder"):
        write_atomically(tmp_path / "folder", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_errors_without_a_number_say_why(tmp_path):
    with pytest.raises(UserError, match="picture cannot be written: encoder error"), writing(tmp_path / "picture"):
        raise OSError("encoder error")

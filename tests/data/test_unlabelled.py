import pytest
import torch

from catclip.data.annotate import annotate
from catclip.data.images import held_out_picture
from catclip.data.unlabelled import find_pictures, picture_batches
from catclip.errors import UserError
from tests.data.making import encode, picture


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(["a.jpg", "b/c.PNG", "b/d.jpg", "e.txt", ".hidden.jpg"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encode(picture(number), "PNG" if name.endswith("PNG") else "JPEG"))
    return tmp_path


def test_files_folders_and_globs(folder):
    a, c, d = folder / "a.jpg", folder / "b" / "c.PNG", folder / "b" / "d.jpg"
    assert find_pictures(folder) == [a, c, d]
    assert find_pictures([str(d), f"{folder}/**/*.jpg"]) == [d, a]
    assert find_pictures(folder / "e.txt") == [folder / "e.txt"], "what is named is taken at its word"
    (folder / "empty").mkdir()
    for pattern, message in [("empty", "no pictures in it"), ("x.jpg", "does not exist"), ("*.gif", "matches no file")]:
        with pytest.raises(UserError, match=message):
            find_pictures(folder / pattern)
    with pytest.raises(UserError, match="images is empty"):
        find_pictures([])


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_what_evaluation_sees_without_what_is_broken(folder, workers):
    (folder / "b" / "d.jpg").write_bytes(b"no picture")
    paths = [*find_pictures(folder), folder / "gone.jpg"]
    batches = list(picture_batches(paths, 16, 2, workers))
    assert [batch.paths for batch in batches] == [paths[:2], []]
    for path, image in zip(paths, batches[0].images, strict=False):
        assert torch.equal(image, held_out_picture(path.read_bytes(), 16))
    assert batches[1].images.shape == (0, 3, 16, 16)
    assert list(batches[1].bad) == paths[2:]
    assert "no picture" in batches[1].bad[paths[2]]
    assert "0x" not in batches[1].bad[paths[2]]
    assert batches[1].bad[paths[3]] == "No such file or directory"


def test_labels_are_drawn_in_the_corner():
    image = picture(1, 640, 480)
    drawn = annotate(image, [("dog", 0.93), ("traffic light", 0.1)])
    assert drawn.size == image.size
    assert drawn.mode == "RGB"
    box = (320, 240, 640, 480)
    assert drawn.crop(box).tobytes() == image.crop(box).tobytes(), "the rest is as it was"
    assert drawn.crop((0, 0, 200, 60)).getextrema() != image.crop((0, 0, 200, 60)).getextrema()
    assert annotate(image, [("собака", 0.9)]).tobytes() != annotate(image, [("кошка", 0.9)]).tobytes(), "no boxes"
    assert annotate(picture(1, 40, 32), []).size == (400, 320)
    assert annotate(picture(1, 3000, 8), []).size == (6000, 16), "no JPEG is wider than 65,500 pixels"
    assert annotate(picture(1, 9000, 8), []).size == (9000, 8)

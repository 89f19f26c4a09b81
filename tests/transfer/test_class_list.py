import pytest

from catclip.errors import UserError
from catclip.transfer.class_list import read_class_list, spoken_name


def test_files_of_the_data_sets(shared):
    """As Places365, ADE20k and COCO ship them."""
    places = read_class_list(shared / "facts" / "places365.txt")
    assert (len(places), places[0], places[8]) == (365, "airfield", "apartment_building/outdoor")
    ade = read_class_list(shared / "facts" / "ade20k150.txt")
    assert (len(ade), ade[1]) == (150, "building, edifice")
    assert len(read_class_list(shared / "facts" / "coco80.txt")) == 80


def test_imagenet_and_folders(tmp_path):
    assert read_class_list("imagenet-1k")[:2] == ["n01440764", "n01443537"]
    for name in ("dog", "cat", ".hidden"):
        (tmp_path / "train" / name).mkdir(parents=True)
    assert read_class_list(tmp_path) == read_class_list(tmp_path / "train") == ["cat", "dog"]
    with pytest.raises(UserError, match="no class folders"):
        read_class_list(tmp_path / "train" / "dog")
    (tmp_path / "devkit").mkdir()
    (tmp_path / "train" / "train").mkdir()  # CIFAR-100 has that class
    assert read_class_list(tmp_path) == read_class_list(tmp_path / "train") == ["cat", "dog", "train"]


def test_what_is_no_list_is_said(tmp_path):
    with pytest.raises(UserError, match="give imagenet-1k"):
        read_class_list(tmp_path / "missing.txt")
    table = tmp_path / "table.txt"
    table.write_text("Idx\tName\n1\twall\n2\n")
    with pytest.raises(UserError, match=r"Line 3 .* has no Name"):
        read_class_list(table)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("n02012849", "crane bird"),
        ("n02084071", "dog"),
        ("traffic_light", "traffic light"),
        ("sofa, couch", "sofa"),
        ("n99999999", "n99999999"),
        ("n02085620-Chihuahua", "Chihuahua"),
        ("n02084071 my dog", "dog"),
        ("crane.n.05", "crane bird"),
        ("traffic_light.n.01", "traffic light"),
        ("dogg.n.01", "dogg.n.01"),
    ],
)
def test_names_for_sentences(name, said):
    assert spoken_name(name) == said

"""The labels of a COCO instances file are the categories of its objects; a file that contradicts itself is said."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.json as pa_json
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catclip.config import LabelledConfig
from catclip.data.labelled import open_labelled, open_splits
from catclip.errors import UserError
from tests.data.making import encode, picture


@pytest.fixture
def folder(tmp_path):
    """Pictures in val/, and annotations of them in annotations/."""
    for name in ("val", "annotations"):
        (tmp_path / name).mkdir()
    for number in range(4):
        (tmp_path / "val" / f"{number}.jpg").write_bytes(encode(picture(number)))
    return tmp_path


def content(**changes: Any) -> dict[str, Any]:
    """Four pictures; categories by their ids are dog, ant and cat."""

    def annotation(image: int, category: int, crowd: int = 0) -> dict[str, Any]:
        outline = {"counts": [1, 2], "size": [4, 4]} if crowd else [[1.5, 2.5, 3.5, 4.5, 5.5, 6.5]]
        return {
            "image_id": image,
            "category_id": category,
            "iscrowd": crowd,
            "segmentation": outline,
            "bbox": [0, 1, 2, 3],
        }

    return {
        "images": [{"id": id_, "file_name": f"{number}.jpg"} for number, id_ in enumerate((30, 10, 0, 20))],
        "categories": [{"id": 7, "name": "ant"}, {"id": 1, "name": "dog"}, {"id": 90, "name": "cat"}],
        "annotations": [annotation(*each) for each in ((20, 90), (30, 7), (20, 1), (30, 7), (10, 1, 1), (20, 90, 1))],
    } | changes


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "annotations" / "instances_val.json"
    path.write_text(json.dumps(content(**changes)))
    return path


def labels(found) -> list[list[int]]:
    return [found.label(number) for number in range(len(found))]


def test_labels_are_the_categories_of_objects_and_crowds_once_each(folder):
    found = open_labelled(write(folder))
    assert found.multilabel
    assert found.classes == ["dog", "ant", "cat"], "by rising id"
    assert labels(found) == [[1], [0], [], [0, 2]]
    assert [found[number][0] for number in range(4)] == [encode(picture(number)) for number in range(4)]


def test_expected_categories_decide_the_indices(folder):
    found = open_labelled(write(folder), classes=["ant", "cat", "dog"])
    assert (found.classes, labels(found)) == (["ant", "cat", "dog"], [[0], [2], [], [1, 2]])
    other = content(categories=[{"id": 1, "name": "dog"}, {"id": 7, "name": "ant"}, {"id": 90, "name": "cat"}])
    # Other ids of the same names: a picture of one split means the same in the other.
    train = folder / "instances_train.json"
    train.write_text(
        json.dumps(
            other | {"categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "ant"}, {"id": 90, "name": "dog"}]}
        )
    )
    splits = open_splits(LabelledConfig(train=str(train), test=str(write(folder)), images=str(folder / "val")))
    assert splits.train.classes == splits.test.classes == ["cat", "ant", "dog"]
    assert labels(splits.train) == [[1], [0], [], [0, 2]]
    assert labels(splits.test) == [[1], [2], [], [0, 2]]


@pytest.mark.parametrize("place", ["val", "annotations/val", "annotations", "."])
def test_pictures_are_found_near_the_annotations(folder, place):
    if place != "val":
        (folder / place).mkdir(exist_ok=True)
        for file in list((folder / "val").iterdir()):
            file.rename(folder / place / file.name)
    assert len(open_labelled(write(folder))) == 4


def test_a_bare_name_beside_the_file(folder, monkeypatch):
    """As `data.test=instances_val.json` in COCO's annotations/."""
    (folder / "annotations").mkdir(exist_ok=True)
    file = write(folder)
    monkeypatch.chdir(Path(file).parent)
    assert len(open_labelled(Path(file).name)) == 4


@pytest.mark.parametrize("images", ["elsewhere", "elsewhere/val"])
def test_the_folder_of_the_pictures_can_be_given(folder, images):
    (folder / "elsewhere").mkdir()
    (folder / "val").rename(folder / "elsewhere" / "val")
    with pytest.raises(UserError, match=r"0\.jpg is in none of .*/val, .* Give their folder as data\.images="):
        open_labelled(write(folder))
    assert len(open_labelled(write(folder), LabelledConfig(images=str(folder / images)))) == 4


def test_listed_twice_is_listed_once(folder):
    images = content()["images"]
    found = open_labelled(write(folder, images=[*images, images[0]]))
    assert labels(found) == [[1], [0], [], [0, 2]]


def more(part: str, **entry: Any) -> dict[str, Any]:
    return {part: [*content()[part], entry]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": []}, "lists no images"),
        ({"categories": []}, "lists no categories"),
        ({"images": [{"id": 1, "file_name": "0.jpg"}]}, "annotates image 20, which it does not list"),
        (more("annotations", image_id=10, category_id=0), "annotates category 0, which it does not list"),
        (more("annotations", image_id=-1, category_id=1), "annotates image -1, which it does not list"),
        (more("categories", id=2, name="dog"), r"Two categories of .* have the same name"),
        (more("images", id=30, file_name="x.jpg"), r"lists two of its images with id 30: 0\.jpg and x\.jpg"),
        (more("images", id=3, file_name="x.jpg"), r"1 of the 5 pictures .* missing; the first is .*val/x\.jpg"),
        ({"images": [{"id": 3, "coco_url": "http://a/b.jpg"}]}, "each of its images needs id and file_name"),
        (more("annotations", image_id=20, caption="a"), "each of its annotations needs image_id and category_id"),
        ({"annotations": 3}, "each of its annotations needs"),
    ],
)
def test_what_contradicts_itself_is_said(folder, changes, said):
    with pytest.raises(UserError, match=said):
        open_labelled(write(folder, **changes))


def test_what_is_no_such_file_is_said(folder, shared):
    path = write(folder)
    with pytest.raises(UserError, match="other classes than expected: cat, emu"):
        open_labelled(path, classes=["dog", "ant", "emu"])
    path.write_text(path.read_text()[:-9])
    with pytest.raises(UserError, match=r"instances_val\.json is no JSON: "):
        open_labelled(path)
    path.write_text("[" * 100_000)
    with pytest.raises(UserError, match="is no JSON: "):
        open_labelled(path)
    with pytest.raises(UserError, match="is no COCO instances file: it needs images, annotations and categories"):
        open_labelled(shared / "data" / "coco-mini" / "annotations" / "captions_val2017.json")


ANY = (
    st.none()
    | st.booleans()
    | st.integers(-1, 3)
    | st.sampled_from(["", "0.jpg", "a\0b", "\ud800", "a"])
    | st.just(1.5)
)
ENTRY = st.dictionaries(st.sampled_from(["id", "name", "file_name", "image_id", "category_id"]), ANY, max_size=5) | ANY
GOOD = st.fixed_dictionaries(
    {"id": st.integers(0, 2), "name": ANY, "file_name": ANY, "image_id": ANY, "category_id": ANY}
)


@given(
    st.fixed_dictionaries(
        dict.fromkeys(("images", "annotations", "categories"), st.lists(GOOD | ENTRY, max_size=3) | ANY)
    )
)
def test_whatever_json_is_read_or_said(tmp_path_factory, anything):
    path = tmp_path_factory.mktemp("coco") / "x.json"
    path.write_text(json.dumps(anything))
    (path.parent / "0.jpg").touch()
    try:
        found = open_labelled(path)
    except UserError:
        return
    assert len(found) == 1, "there is but one picture"
    assert found.label(0) == sorted(set(found.label(0)))


def read_frames(path: Path) -> list[pl.DataFrame]:
    """Images, annotations and categories, as Arrow reads them."""
    fields = {
        "images": [("id", pa.int64()), ("file_name", pa.string())],
        "annotations": [("image_id", pa.int64()), ("category_id", pa.int64()), ("iscrowd", pa.int64())],
        "categories": [("id", pa.int64()), ("name", pa.string())],
    }
    schema = pa.schema([(part, pa.list_(pa.struct(columns))) for part, columns in fields.items()])
    options = pa_json.ParseOptions(schema, newlines_in_values=True, unexpected_field_behavior="ignore")
    whole = pa_json.ReadOptions(block_size=path.stat().st_size + 1)
    table = pa_json.read_json(path, whole, options)
    return [pl.DataFrame(pa.Table.from_struct_array(table[part].chunk(0).flatten())) for part in fields]


def test_the_real_files_say_what_another_reading_of_them_says(shared):
    folder = shared / "data" / "coco-mini"
    files = {split: folder / "annotations" / f"instances_{split}2017.json" for split in ("train", "val")}
    splits = open_splits(LabelledConfig(train=str(files["train"]), test=str(files["val"])))
    coco80 = (shared / "facts" / "coco80.txt").read_text().split("\n")
    assert splits.train.classes == [line.strip() for line in coco80 if line.strip()]
    for (split, path), found, crowds in zip(files.items(), splits, (8, 5), strict=True):
        images, annotations, categories = read_frames(path)
        assert annotations["iscrowd"].sum() == crowds
        named = annotations.join(categories, left_on="category_id", right_on="id")
        sets = named.group_by("image_id").agg(pl.col("name").unique())
        expected = images.join(sets, left_on="id", right_on="image_id", how="left", maintain_order="left")
        assert len(found) == len(expected)
        for number, (file, names) in enumerate(expected.select("file_name", "name").iter_rows()):
            data, label = found[number]
            assert {found.classes[each] for each in label} == set(names or [])
            assert data == (folder / f"{split}2017" / file).read_bytes()
    batch = next(splits.test.batches(32, 8))
    dense = np.zeros((8, 80), bool)
    dense[np.repeat(np.arange(8), batch["label_offsets"].diff()), batch["label_ids"]] = True
    assert np.array_equal(dense, splits.test.multi_hot()[:8])

"""Labelled pictures are the same whatever they come from; splits agree; a picture that cannot be read is named."""

import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from catclip.config import LabelledConfig
from catclip.data.labelled import LabelledImages, open_labelled, open_splits
from catclip.data.labelled.pictures import PictureFiles
from catclip.errors import UserError
from tests.data.making import encode, picture, to_tensor, write_shard


@pytest.fixture
def folder(tmp_path):
    """Three classes with 3, 2 and 1 pictures of 16 pixels, made in no particular order."""
    for name, count in (("dog", 3), ("ant", 2), ("cat", 1)):
        for number in reversed(range(count)):
            path = tmp_path / "set" / "train" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(picture(10 * len(name) + number, 16, 16), "PNG"))
    shutil.copytree(tmp_path / "set" / "train", tmp_path / "set" / "test")
    return tmp_path / "set" / "train"


FILES = ["ant/0.png", "ant/1.png", "cat/0.png", "dog/0.png", "dog/1.png", "dog/2.png"]
CLASS_IDS = [0, 0, 1, 2, 2, 2]


def any_classes(folder) -> LabelledImages:
    """The pictures of `folder` with labels [2, 0], [], [1], [1], [], [0]."""
    owners, ids = np.array([3, 0, 0, 0, 2, 5, 3]), np.array([1, 2, 0, 2, 1, 0, 1])
    return LabelledImages.of_any_classes("made", PictureFiles(folder, FILES), ["a", "b", "c"], owners, ids)


# ---- one object -----------------------------------------------------------------------------------------------------


def test_a_picture_is_its_bytes_and_its_class(folder):
    found = open_labelled(folder)
    assert [found[number] for number in range(len(found))] == [
        ((folder / name).read_bytes(), label) for name, label in zip(FILES, CLASS_IDS, strict=True)
    ]
    assert (found.classes, found.multilabel, found.counts().tolist()) == (["ant", "cat", "dog"], False, [2, 1, 3])
    assert found.multi_hot().argmax(axis=1).tolist() == CLASS_IDS
    for number in (-1, 6):
        with pytest.raises(IndexError):
            found[number]


def test_a_picture_may_have_any_number_of_classes(folder):
    found = any_classes(folder)
    assert [found[number][1] for number in range(6)] == [[0, 2], [], [1], [1], [], [0]]
    assert [found[number][0] for number in range(6)] == [(folder / name).read_bytes() for name in FILES]
    assert found.multilabel
    assert found.counts().tolist() == [2, 2, 1]
    assert found.multi_hot().astype(int).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 0]]


@given(st.lists(st.sets(st.integers(0, 6)), max_size=12), st.randoms())
def test_ragged_labels_are_the_sets_they_were_made_of(sets, random):
    pairs = [(owner, label) for owner, labels in enumerate(sets) for label in labels]
    pairs += random.choices(pairs, k=3) if pairs else []
    random.shuffle(pairs)
    owners, ids = np.array(pairs, np.int64).reshape(-1, 2).T
    files = PictureFiles(None, ["x"] * len(sets))
    found = LabelledImages.of_any_classes("made", files, list("abcdefg"), owners, ids)
    assert [found.label(number) for number in range(len(sets))] == [sorted(labels) for labels in sets]
    assert (found.label_ids.dtype, found.label_offsets.dtype) == (np.int64, np.int64)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_pictures_in_order(folder, workers):
    batches = list(open_labelled(folder).batches(size=16, batch=4, workers=workers))
    assert [batch["class_ids"].tolist() for batch in batches] == [CLASS_IDS[:4], CLASS_IDS[4:]]
    assert all(batch["class_ids"].dtype == torch.int64 for batch in batches)
    expected = torch.stack([to_tensor(Image.open(folder / name)) for name in FILES])
    assert torch.equal(torch.cat([batch["images"] for batch in batches]), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_any_classes_are_ragged(folder, workers):
    first, second = any_classes(folder).batches(size=8, batch=4, workers=workers)
    assert first["images"].shape == (4, 3, 8, 8)
    assert (first["label_ids"].tolist(), first["label_offsets"].tolist()) == ([0, 2, 1, 1], [0, 2, 2, 3, 4])
    assert (second["label_ids"].tolist(), second["label_offsets"].tolist()) == ([0], [0, 0, 1])
    assert {first["label_ids"].dtype, first["label_offsets"].dtype} == {torch.int64}
    assert "class_ids" not in first


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(("damage", "said"), [("broken", "cannot be decoded: "), ("gone", "cannot be read: ")])
def test_an_unreadable_picture_is_named_and_nothing_else_is_said(folder, workers, damage, said):
    found = open_labelled(folder)
    bad = folder / "cat" / "0.png"
    if damage == "broken":
        bad.write_bytes(b"no picture")
    else:
        bad.unlink()
    with pytest.raises(UserError) as caught:
        list(found.batches(size=16, batch=2, workers=workers))
    assert str(caught.value).startswith(f"{bad} {said}")
    assert "Traceback" not in str(caught.value)


# ---- sources and splits ---------------------------------------------------------------------------------------------


def test_the_embedded_probe_set(glyphs):
    train, test = open_splits(glyphs / "probe")
    assert train.classes == test.classes
    assert len(train) == 2 * len(train.classes)
    batch = next(train.batches(size=32, batch=8))
    assert batch["images"].shape == (8, 3, 32, 32)
    assert batch["class_ids"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_val_stands_in_for_test(folder):
    (folder.parent / "test").rename(folder.parent / "val")
    (folder.parent / "val" / "ant" / "1.png").unlink()
    train, test = open_splits(str(folder.parent))
    assert (len(train), len(test), test.source) == (6, 5, str(folder.parent / "val"))
    shutil.copytree(folder, folder.parent / "test")
    assert len(open_splits(LabelledConfig(folder=str(folder.parent))).test) == 6


def test_splits_must_have_the_same_classes(folder):
    shutil.rmtree(folder.parent / "test" / "cat")
    with pytest.raises(UserError, match=r"set/test has other classes than expected: cat\."):
        open_splits(folder.parent)


def test_splits_of_different_kinds_agree_by_the_names_of_their_classes(folder, tmp_path):
    table = tmp_path / "test.csv"
    table.write_text("path,class\nset/test/dog/0.png,dog\nset/test/ant/0.png,ant\n")
    _, test = open_splits(LabelledConfig(train=str(folder), test=str(table)))
    assert test.classes == ["ant", "cat", "dog"]
    assert [test.label(number) for number in range(2)] == [2, 0]
    table.write_text("path,class\nset/test/dog/0.png,hog\n")
    with pytest.raises(UserError, match=r"has class 'hog', which is none of the 3 classes\. Did you mean 'dog'\?"):
        open_splits(LabelledConfig(train=str(folder), test=str(table)))


def test_splits_must_both_have_one_class_or_any_number(folder, tmp_path):
    table = tmp_path / "test.jsonl"
    table.write_text('{"path": "set/test/dog/0.png", "label": ["dog", "ant"]}\n')
    one, many = str(folder), str(table)
    with pytest.raises(UserError, match=r"data\.train has one class for each picture, data\.test any number"):
        open_splits(LabelledConfig(train=one, test=many))
    table.write_text(table.read_text().replace('"ant"', '"ant", "cat"'))
    with pytest.raises(UserError, match=r"data\.test has one class for each picture, data\.train any number"):
        open_splits(LabelledConfig(train=many, test=one))


def test_a_class_without_training_pictures_is_named(folder, tmp_path):
    classes = tmp_path / "classes.txt"
    classes.write_text("ant\ncat\nemu\ndog\n")
    table = tmp_path / "train.csv"
    table.write_text("path,class\n" + "".join(f"set/train/{name},{name[:3]}\n" for name in FILES))
    with pytest.raises(UserError, match=r"train\.csv has no pictures of emu"):
        open_splits(LabelledConfig(train=str(table), test=str(table), classes=str(classes)))
    assert open_labelled(table).classes == ["ant", "cat", "emu", "dog"], "a test set need not show all of them"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "Give labelled pictures as data=FOLDER"),
        ({"train": "x"}, "Give labelled pictures as data=FOLDER"),
        ({"folder": "x", "train": "x", "test": "x"}, "Give labelled pictures as data=FOLDER"),
        ({"folder": "nowhere"}, "No folder nowhere/train"),
        ({"folder": "."}, r"No folder test\."),
        ({"train": "train", "test": "nowhere.json"}, r"No file matches nowhere\.json"),
        ({"train": "train", "test": "notes.txt"}, r"notes\.txt: labelled pictures come as"),
        ({"train": "train", "test": "*.txt"}, r"names more\.txt, notes\.txt: give shards, or a single table"),
        (
            {"train": "train", "test": "train", "label_key": "x", "images": "y"},
            "data.label_key, data.images: of no use for class folders",
        ),
    ],
)
def test_wrong_sources_are_said(folder, monkeypatch, given, said):
    monkeypatch.chdir(folder.parent)
    shutil.rmtree("test")
    for name in ("notes.txt", "more.txt"):
        (folder.parent / name).write_text("x")
    with pytest.raises(UserError, match=said):
        open_splits(LabelledConfig(**given))


def test_folders_of_shards_are_splits_too(folder, tmp_path):
    for split, labels in (("train", (0, 1)), ("test", (1,))):
        (tmp_path / "shards" / split).mkdir(parents=True)
        samples = [[(f"{i}.png", encode(picture(i), "PNG")), (f"{i}.cls", str(i).encode())] for i in labels]
        write_shard(tmp_path / "shards" / split / "0.tar", *samples)
    train, test = open_splits(tmp_path / "shards")
    assert (train.classes, train.label_ids.tolist(), test.label_ids.tolist()) == (["0", "1"], [0, 1], [1])


# ---- real data ------------------------------------------------------------------------------------------------------


def test_real_pictures_are_the_same_from_folders_shards_and_tables(shared, tmp_path):
    folder = shared / "data" / "cifar10" / "test"
    folders = open_labelled(folder)
    names = folders.classes
    assert (len(folders), folders.counts().tolist()) == (1000, [100] * 10)
    assert set(names) == {path.name for path in folder.iterdir()}
    paths = [path for name in names for path in sorted((folder / name).iterdir())]
    samples = [
        [(f"{i:05d}.jpg", path.read_bytes()), (f"{i:05d}.cls", str(names.index(path.parent.name)).encode())]
        for i, path in enumerate(paths)
    ]
    for shard in range(4):
        write_shard(tmp_path / f"{shard}.tar", *samples[250 * shard : 250 * shard + 250])
    (tmp_path / "classes.txt").write_text("\n".join(names))
    (tmp_path / "cifar.csv").write_text("file,label\n" + "".join(f"{path},{path.parent.name}\n" for path in paths))
    for source in (str(tmp_path / "{0..3}.tar"), tmp_path / "cifar.csv"):
        found = open_labelled(source)
        assert found.classes == names
        assert np.array_equal(found.label_ids, folders.label_ids)
        assert all(found[number] == folders[number] for number in range(1000))
    batch = next(open_labelled(str(tmp_path / "3.tar"), classes=names).batches(32, 50))
    assert torch.equal(batch["images"], torch.stack([to_tensor(Image.open(path)) for path in paths[750:800]]))

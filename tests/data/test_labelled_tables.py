"""Tables give their rows in order, whatever they are written as; a row that is no labelled picture is named."""

import csv
import gzip
import io
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catclip.config import LabelledConfig
from catclip.data.labelled import open_labelled
from catclip.errors import UserError
from tests.data.making import encode, picture

ROWS = [("pictures/2.jpg", "dog"), ("pictures/0.jpg", "ant"), ("pictures/1.jpg", "hot dog")]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        (tmp_path / "pictures" / f"{number}.jpg").write_bytes(encode(picture(number)))
    return tmp_path


def write(path: Path, rows, columns=("path", "label")) -> Path:
    """Rows of a picture and a label, with a column of no interest between them."""
    columns = [columns[0], "source", columns[1]]
    rows = [(image, 'a "flickr" user', label) for image, label in rows]
    kind = path.name.split(".")[1]
    if kind == "parquet":
        pl.DataFrame(rows, schema=columns, orient="row", strict=False).write_parquet(path)
        return path
    if kind == "jsonl":
        text = "".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows)
    elif kind == "tsv":
        text = "".join(
            "\t".join("" if value is None else str(value) for value in row) + "\n" for row in [columns, *rows]
        )
    else:
        buffer = io.StringIO()
        csv.writer(buffer).writerows([columns, *rows])
        text = buffer.getvalue()
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def labels(found) -> list:
    return [found.label(number) for number in range(len(found))]


KINDS = ["t.csv", "t.tsv", "t.jsonl", "t.parquet", "t.csv.gz", "t.jsonl.gz"]


@pytest.mark.parametrize("name", KINDS)
def test_one_class_a_row(folder, name):
    found = open_labelled(write(folder / name, ROWS))
    assert (found.classes, found.multilabel, labels(found)) == (["ant", "dog", "hot dog"], False, [1, 0, 2])
    assert [found[number][0] for number in range(3)] == [encode(picture(number)) for number in (2, 0, 1)]


@pytest.mark.parametrize("name", KINDS)
def test_classes_may_be_numbers(folder, name):
    path = write(folder / name, [(image, number) for (image, _), number in zip(ROWS, (1, 0, 1), strict=True)])
    found = open_labelled(path)
    assert (found.classes, labels(found)) == (["0", "1"], [1, 0, 1])
    (folder / "classes.txt").write_text("ant\ndog\nemu")
    found = open_labelled(path)
    assert (found.classes, labels(found)) == (["ant", "dog", "emu"], [1, 0, 1])
    assert labels(open_labelled(path, LabelledConfig(classes=["x", "y"]))) == [1, 0, 1]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.parquet"])
def test_several_labels_are_separated_by_a_delimiter(folder, name):
    rows = [(ROWS[0][0], "dog; ant;dog"), (ROWS[1][0], None), (ROWS[2][0], "hot dog")]
    found = open_labelled(write(folder / name, rows), LabelledConfig(delimiter=";"))
    assert found.multilabel
    assert (found.classes, labels(found)) == (["ant", "dog", "hot dog"], [[0, 1], [], [2]])
    with pytest.raises(UserError, match=r"Row 2 of .* \(pictures/0\.jpg\) has no label"):
        open_labelled(folder / name)
    with pytest.raises(UserError, match="delimiter is empty"):
        open_labelled(folder / name, LabelledConfig(delimiter=""))


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet"])
@pytest.mark.parametrize("numbers", [False, True])
def test_several_labels_are_a_list(folder, name, numbers):
    lists = [[1, 0], [], [1]] if numbers else [["dog", "ant"], [], ["dog"]]
    rows = [(image, value) for (image, _), value in zip(ROWS, lists, strict=True)]
    found = open_labelled(write(folder / name, rows))
    assert found.multilabel
    assert (found.classes, labels(found)) == (["0", "1"] if numbers else ["ant", "dog"], [[0, 1], [], [1]])


def test_lists_and_single_labels_may_be_mixed(folder):
    rows = [(ROWS[0][0], "dog"), (ROWS[1][0], ["ant", "dog"]), (ROWS[2][0], None)]
    assert labels(open_labelled(write(folder / "t.jsonl", rows))) == [[1], [0, 1], []]


def test_columns_are_the_usual_ones_or_given(folder):
    path = write(folder / "t.csv", ROWS, columns=("filename", "class"))
    assert labels(open_labelled(path)) == [1, 0, 2]
    path = write(folder / "t.csv", ROWS, columns=("where", "what"))
    with pytest.raises(UserError, match=r"no column image, .*: choose data\.image_key among where, source, what"):
        open_labelled(path)
    with pytest.raises(UserError, match=r"no column label, .*: choose data\.label_key among where, source, what"):
        open_labelled(path, LabelledConfig(image_key="where"))
    with pytest.raises(UserError, match=r"no column who: choose data\.label_key among"):
        open_labelled(path, LabelledConfig(image_key="where", label_key="who"))
    assert labels(open_labelled(path, LabelledConfig(image_key="where", label_key="what"))) == [1, 0, 2]


def test_pictures_lie_beside_the_table_or_in_a_given_folder_or_anywhere(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "t.csv"
    write(elsewhere, ROWS)
    with pytest.raises(UserError, match=r"3 of the 3 pictures .* missing; the first is .*elsewhere.*pictures/2\.jpg"):
        open_labelled(elsewhere)
    assert open_labelled(elsewhere, LabelledConfig(images=str(folder)))[0] == (encode(picture(2)), 1)
    write(elsewhere, [(str(folder / image), label) for image, label in ROWS])
    assert open_labelled(elsewhere)[0] == (encode(picture(2)), 1)


def test_empty_lines_are_no_rows(folder):
    (folder / "t.csv").write_text("\ufeffpath,label\r\n\r\npictures/2.jpg,dog\r\n\r\npictures/0.jpg,ant\r\n\r\n")
    first, second = ({"path": f"pictures/{number}.jpg", "label": label} for number, label in ((2, "dog"), (0, "ant")))
    (folder / "t.jsonl").write_text(f"\n{json.dumps(first)}\n\n{json.dumps(second)}")
    (folder / "t.tsv").write_text("path\tlabel\n\npictures/2.jpg\tdog\npictures/0.jpg\tant\n\n")
    for name in ("t.csv", "t.jsonl", "t.tsv"):
        assert labels(open_labelled(folder / name)) == [1, 0]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", "", "cannot be read: "),
        ("t.jsonl", "", "has no rows"),
        ("t.csv", "path,label\n", "has no rows"),
        ("t.csv", "path,label\npictures/0.jpg\n", r"Row 1 of .*t\.csv \(pictures/0\.jpg\) has no label"),
        ("t.csv", "path,label\npictures/0.jpg,\n", "has no label"),
        ("t.csv", "path,label\npictures/0.jpg,ant,1\n", "cannot be read: found more fields"),
        ("t.csv", "path,label\n,ant\n", "Row 1 of .* has no picture: None is no file name"),
        ("t.csv", "path,label\npictures/0.jpg,ant\n\npictures/1.jpg,emu\n", r"Row 3 .*1\.jpg\) has class 'emu'"),
        ("t.csv", "path,label\npictures/0.jpg,9\n", "Row 1 .* has label 9: there are 2 classes, numbered from 0"),
        ("t.csv", "path,label\npictures/0.jpg,ant\npictures/0.jpg,dog\n", r"is in rows 1 and 2 of .*a data\.delimiter"),
        ("t.csv", "path,label\npictures/9.jpg,ant\n", r"1 of the 1 pictures .* missing; the first is .*9\.jpg"),
        ("t.csv", 'path,label\npictures/0.jpg,"ant\n', "cannot be read: "),
        ("t.jsonl", '{"path": "pictures/0.jpg", "label": "ant"}\n{"path": \n', r"Line 2 of .*t\.jsonl is no JSON"),
        ("t.jsonl", '["pictures/0.jpg", "ant"]\n', "Line 1 of .* is no JSON object"),
        ("t.jsonl", '{"path": "pictures/0.jpg", "label": 1.5}\n', r"has label 1\.5: labels are class names"),
        ("t.jsonl", '{"path": "pictures/0.jpg", "label": true}\n', "has label True: labels are"),
        ("t.jsonl", '{"path": "pictures/0.jpg", "label": ["ant", null]}\n', "has label None: labels are"),
        ("t.jsonl", '{"path": "pictures/0.jpg", "label": ["ant", " "]}\n', "Row 1 of .* has an empty label in"),
        ("t.jsonl", '{"path": 3, "label": "ant"}\n', "has no picture: 3 is no file name"),
        ("t.parquet", "path", "cannot be read: "),
    ],
)  # fmt: skip
def test_wrong_rows_are_named(folder, name, content, said):
    (folder / name).write_text(content)
    with pytest.raises(UserError, match=said) as caught:
        open_labelled(folder / name, classes=["ant", "dog"])
    assert "\n" not in str(caught.value)


def test_tables_without_any_label_have_no_classes(folder):
    write(folder / "t.jsonl", [(ROWS[0][0], []), (ROWS[1][0], None)])
    with pytest.raises(UserError, match=r"No row of .* has a label"):
        open_labelled(folder / "t.jsonl")
    assert labels(open_labelled(folder / "t.jsonl", classes=["ant"])) == [[], []]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.parquet"])
@given(content=st.binary(max_size=40) | st.text(max_size=60).map(str.encode))
def test_whatever_stands_in_a_table_is_read_or_said(tmp_path_factory, name, content):
    path = tmp_path_factory.mktemp("table") / name
    head = {"t.csv": b"path,label\n", "t.tsv": b"path\tlabel\n"}.get(name, b"")
    path.write_bytes(head + content)
    with pytest.raises(UserError):  # there are no pictures
        open_labelled(path)


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).map(str.strip).filter(len)


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
@given(names=st.lists(TEXT.filter(lambda name: not name.lstrip("-").isdecimal()), min_size=1, max_size=3))
def test_any_class_name_survives_its_table(tmp_path_factory, name, names):
    folder = tmp_path_factory.mktemp("names")
    rows = [(f"{number}.jpg", each) for number, each in enumerate(names)]
    for image, _ in rows:
        (folder / image).touch()
    found = open_labelled(write(folder / name, rows))
    assert [found.classes[label] for label in found.label_ids] == names

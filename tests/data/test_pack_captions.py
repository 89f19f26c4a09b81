"""Where packing finds captions: tables of every kind, COCO's JSON, and the names of pictures in them."""

import csv
import gzip
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.data.packing.inventory import Inventory, take_inventory
from catclip.errors import UserError

NAMES = ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/3.x.png"]


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        touch(tmp_path / "in" / name)
    return tmp_path / "in"


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def captions_of(inventory: Inventory) -> dict[str, list[str] | None]:
    return {each.path: each.captions for each in inventory.candidates}


def reasons_of(inventory: Inventory) -> dict[str, str]:
    return dict(inventory.skipped)


# ---- kinds of tables ------------------------------------------------------------------------------------------------

ROWS = [("a/1.jpg", 'a "big" dog, left'), ("b/1.jpg", "a cat"), ("a/1.jpg", "a dog"), ("b/3.x.png", "a café")]
EXPECTED = {"a/1.jpg": ['a "big" dog, left', "a dog"], "b/1.jpg": ["a cat"], "b/3.x.png": ["a café"]}


def write_csv(path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([("image", "id", "caption"), *((name, 7, text) for name, text in ROWS)])


def write_tsv(path: Path) -> None:
    path.write_text("File_Name\tTEXT\r\n" + "".join(f"{name}\t{text}\r\n" for name, text in ROWS))


def write_jsonl(path: Path) -> None:
    lines = [{"url": "http://x"}, *({"filepath": name, "text": text} for name, text in ROWS)]
    path.write_text("\n\n".join(map(json.dumps, lines)))


def write_gzipped(path: Path) -> None:
    lines = [
        {"image": "a/1.jpg", "caption": ["", *EXPECTED["a/1.jpg"]]},
        *({"image": n, "caption": t} for n, t in ROWS[1::2]),
    ]
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))


def write_parquet(path: Path) -> None:
    names, texts = zip(*ROWS, strict=True)
    pictures = pa.array([{"bytes": b"x", "path": name} for name in names])
    pq.write_table(pa.table({"image": pictures, "path": pa.array(names).dictionary_encode(), "caption": texts}), path)


def write_lists(path: Path) -> None:
    table = {"image_path": list(EXPECTED), "caption": [[*texts, None, " "] for texts in EXPECTED.values()]}
    pq.write_table(pa.table(table), path, row_group_size=2)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("t.csv", write_csv),
        ("t.tsv", write_tsv),
        ("t.jsonl", write_jsonl),
        ("t.jsonl.gz", write_gzipped),
        ("t.parquet", write_parquet),
        ("t.parquet", write_lists),
    ],
)
def test_tables(folder, name, write):
    write(folder.parent / name)
    inventory = take_inventory(folder, folder.parent / name)
    assert captions_of(inventory) == EXPECTED
    assert reasons_of(inventory).pop("a/2.jpg") == "no caption"
    assert [each.path for each in inventory.candidates] == sorted(EXPECTED)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), st.lists(st.text(min_size=1, max_size=20), max_size=3), min_size=1))
def test_any_captions_come_through_json_and_parquet(captions):
    """Against Python's own reading."""
    expected = {
        name: kept
        for name, texts in sorted(captions.items())
        if (kept := [text.strip() for text in texts if text.strip()])
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "in"
        for name in NAMES:
            touch(folder / name)
        rows = [{"image": name, "caption": text} for name, texts in captions.items() for text in texts]
        (folder.parent / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
        lists = pa.table({"image": list(captions), "caption": pa.array(captions.values(), pa.list_(pa.string()))})
        pq.write_table(lists, folder.parent / "t.parquet")
        for table in ("t.jsonl", "t.parquet"):
            if expected:
                assert captions_of(take_inventory(folder, folder.parent / table)) == expected
            else:
                with pytest.raises(UserError):
                    take_inventory(folder, folder.parent / table)


def test_columns_can_be_given(folder):
    table = folder.parent / "t.csv"
    table.write_text("image,where,caption,title\nx,a/1.jpg,no,a dog\nx,b/1.jpg,no,a cat\n")
    found = take_inventory(folder, table, image_key="where", caption_key="title")
    assert captions_of(found) == {"a/1.jpg": ["a dog"], "b/1.jpg": ["a cat"]}
    with pytest.raises(
        UserError, match=r"has no column titel\. Did you mean 'title'. Choose caption_key among: image, "
    ):
        take_inventory(folder, table, "where", "titel")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        (
            "image,name\n",
            "has none of the columns caption, captions, text, TEXT. Choose caption_key among: image, name",
        ),
        ("caption\n", "has none of the columns image, .*Choose image_key among: caption"),
        ("image,caption\n", "has no captions"),
        ("image,caption\na/1.jpg, \n", "has no captions but empty ones"),
        ("image,caption\nc/9.jpg,a dog\n", r"none of the 4 pictures .* c/9\.jpg \(no such picture\).*a/1\.jpg"),
        ('image,caption\na/1.jpg,"a dog' + "x" * 200_000, "Was a quotation mark left open"),
    ],
)
def test_tables_that_say_nothing(folder, content, message):
    (folder.parent / "t.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        take_inventory(folder, folder.parent / "t.csv")


def test_other_files_are_refused(folder):
    (folder.parent / "captions.txt").write_text("image,caption\n")
    with pytest.raises(UserError, match=r"captions are read from tables .*needs one of these"):
        take_inventory(folder, folder.parent / "captions.txt")
    (folder.parent / "t.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match=r"t\.parquet cannot be read"):
        take_inventory(folder, folder.parent / "t.parquet")
    pq.write_table(pa.table({"file": NAMES, "caption": [1.5] * 4, "text": [{"a": 1}] * 4}), folder.parent / "t.parquet")
    with pytest.raises(UserError, match=r"text struct<a: int64>, not names and text"):
        take_inventory(folder, folder.parent / "t.parquet", caption_key="text")


def test_rows_that_cannot_be_used_are_told(folder):
    table = folder.parent / "t.csv"
    table.write_text("image,caption\na/1.jpg,a dog\nb/1.jpg\n,a cat\nb/9.jpg,x\nb/9.jpg,y\n1.jpg,which?\nb/3.x.png,\n")
    assert reasons_of(take_inventory(folder, table)) == {
        f"{table}, row 3": "row too short",
        f"{table}, row 4": "no picture is named",
        "b/9.jpg": "no such picture",
        "1.jpg": "several pictures of that name",
        "a/2.jpg": "no caption",
        "b/1.jpg": "no caption",
        "b/3.x.png": "empty caption",
    }
    lines = folder.parent / "t.jsonl"
    lines.write_text('{"image": "a/1.jpg", "caption": "a dog"}\n{"image": \n[]\n{"image": null, "caption": "x"}\n')
    told = reasons_of(take_inventory(folder, lines))
    assert [told[f"{lines}, line {number}"] for number in (2, 3, 4)] == ["invalid JSON"] * 2 + ["no picture is named"]


# ---- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("a/1.jpg", "a/1.jpg"),
        ("./a//1.jpg", "a/1.jpg"),
        ("a\\1.jpg", "a/1.jpg"),
        ("in/b/1.jpg", "b/1.jpg"),  # as seen from the table
        ("../in/b/1.jpg", "b/1.jpg"),
        ("2.jpg", "a/2.jpg"),
        ("2", "a/2.jpg"),
        ("3.x", "b/3.x.png"),
        ("b/3.x", "b/3.x.png"),
        ("in/b/1", "b/1.jpg"),
        ("a\\2", "a/2.jpg"),
        ("./2", None),
        ("c/2.jpg", None),  # a name with another folder in it is another picture
        ("other/a/1.jpg", None),
        ("1.jpg", None),
        ("3", None),
        ("a", None),
        ("", None),
        ("/", None),
        ("\0", None),
    ],
)
def test_names_of_pictures(folder, name, picture):
    table = folder.parent / "t.jsonl"
    rows = [{"image": name, "caption": "this one"}, {"image": "a/1.jpg", "caption": "first"}]
    table.write_text("\n".join(map(json.dumps, rows)))
    found = captions_of(take_inventory(folder, table))
    assert {path for path, captions in found.items() if "this one" in captions} == ({picture} if picture else set())


def test_a_whole_path_is_a_name_and_so_is_a_number(folder):
    table = folder.parent / "t.jsonl"
    rows = [{"image": str(folder / "a" / "1.jpg"), "caption": "one"}, {"image": 2, "caption": "two"}]
    table.write_text("\n".join(map(json.dumps, rows)))
    assert captions_of(take_inventory(folder, table)) == {"a/1.jpg": ["one"], "a/2.jpg": ["two"]}


def test_accents_may_be_written_in_either_way(folder):
    touch(folder / "cafe\N{COMBINING ACUTE ACCENT}.jpg")
    touch(folder / "b" / "cafe\N{COMBINING ACUTE ACCENT}.jpg")
    rows = "caf\N{LATIN SMALL LETTER E WITH ACUTE}.jpg,a cup\nb/caf\N{LATIN SMALL LETTER E WITH ACUTE}.jpg,a mug\n"
    (folder.parent / "t.csv").write_text(f"image,captions\n{rows}")
    assert sorted(captions_of(take_inventory(folder, folder.parent / "t.csv")).values()) == [["a cup"], ["a mug"]]


# ---- COCO -----------------------------------------------------------------------------------------------------------


def write_coco(folder: Path, images: list, annotations: list) -> Path:
    path = folder.parent / "captions.json"
    path.write_text(json.dumps({"info": {}, "images": images, "annotations": annotations}))
    return path


def test_coco_captions(folder):
    images = [
        {"id": 5, "file_name": "b/1.jpg"},
        {"id": "x", "file_name": "2.jpg"},
        {"id": 6, "file_name": "gone.jpg"},
        {"id": 8},
    ]
    said = [(5, " a cat\n"), ("x", "a dog"), (5, ""), (5, "a kitten"), (6, "a bird"), (7, "a cow"), (8, "a fish")]
    path = write_coco(folder, images, [{"image_id": id_, "caption": text} for id_, text in said])
    inventory = take_inventory(folder, path)
    assert captions_of(inventory) == {"a/2.jpg": ["a dog"], "b/1.jpg": ["a cat", "a kitten"]}
    assert reasons_of(inventory) == {
        "gone.jpg": "no such picture",
        f"{path}, image 7": "no such image in the file",
        f"{path}, image 8": "no picture is named",
        "a/1.jpg": "no caption",
        "b/3.x.png": "no caption",
    }


@pytest.mark.parametrize(
    "content", ["{}", "[]", '{"images": [], "annotations": {}}', '{"images": [1], "annotations": []}']
)
def test_other_json_is_refused(folder, content):
    (folder.parent / "c.json").write_text(content)
    with pytest.raises(UserError, match="has not the lists `images` and `annotations`"):
        take_inventory(folder, folder.parent / "c.json")


def test_broken_json_and_instances_are_refused(folder):
    (folder.parent / "c.json").write_text('{"image": 1}\n{"image": 2}')
    with pytest.raises(UserError, match=r"no valid JSON: .*JSON lines go by the ending \.jsonl"):
        take_inventory(folder, folder.parent / "c.json")
    path = write_coco(folder, [{"id": 5, "file_name": "b/1.jpg"}], [{"image_id": 5, "category_id": 1}])
    with pytest.raises(UserError, match="have no captions: give the file captions_"):
        take_inventory(folder, path)

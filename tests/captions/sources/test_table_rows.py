"""Every row of a table is there, in order, whatever its kind, and keeps its key."""

import bz2
import csv
import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catclip.captions.sources import rows as rows_module
from catclip.captions.sources import table_rows as table_rows_module
from catclip.captions.sources.table_rows import caption_column, table_rows
from catclip.errors import UserError


def read(path, caption_key=None, first_only=True) -> list[tuple[str | None, list[str]]]:
    """(key, captions) of each row."""
    found = []
    for rows in table_rows(str(path), caption_key, first_only):
        captions = [[] for _ in range(len(rows.keys))]
        for owner, caption in zip(rows.owners, rows.captions.to_pylist(), strict=True):
            captions[owner].append(caption)
        assert rows.bad.total() == captions.count([])
        found += zip(rows.keys.to_pylist(), captions, strict=True)
    return found


def reasons(path) -> dict[str, int]:
    counted = [rows.bad for rows in table_rows(str(path), None, True)]
    return dict(sum(counted[1:], counted[0]))


# ---- Parquet --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[1, 3, 1 << 14])
def batches(request, monkeypatch):
    """Few rows at once, so that there are several batches."""
    for module in (rows_module, table_rows_module):
        monkeypatch.setattr(module, "ROWS", request.param)


def test_a_parquet_row_without_a_caption_stays_a_row(tmp_path, batches):
    captions = ["a dog", None, "  ", " a cat ", ""]
    pq.write_table(pa.table({"text": captions, "url": list("abcde")}), tmp_path / "x.parquet", row_group_size=2)
    expected = [("0", ["a dog"]), ("1", []), ("2", []), ("3", ["a cat"]), ("4", [])]
    assert read(tmp_path / "x.parquet") == expected


@pytest.mark.parametrize("name", ["key", "__key__"])
@pytest.mark.parametrize("kind", [pa.string(), pa.binary(), pa.dictionary(pa.int8(), pa.string())])
def test_a_key_column_gives_the_keys(tmp_path, name, kind, batches):
    table = pa.table({name: pa.array(["x", None, "z"]).cast(kind), "caption": ["a", "b", None]})
    pq.write_table(table, tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet") == [("x", ["a"]), (None, ["b"]), ("z", [])]


def test_number_keys_become_text_and_keys_may_be_the_captions(tmp_path):
    pq.write_table(pa.table({"key": [7, 8], "caption": ["a", "b"]}), tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet") == [("7", ["a"]), ("8", ["b"])]
    pq.write_table(pa.table({"key": ["a dog", "b"]}), tmp_path / "y.parquet")
    assert read(tmp_path / "y.parquet", "key") == [("0", ["a dog"]), ("1", ["b"])]


def test_lists_in_parquet_give_the_first_or_all(tmp_path, batches):
    lists = [["", "a dog", "a cat"], [], None, [None, " b "]]
    pq.write_table(pa.table({"captions": lists}), tmp_path / "x.parquet")
    firsts, every = (read(tmp_path / "x.parquet", "captions", first_only) for first_only in (True, False))
    assert firsts == [("0", ["a dog"]), ("1", []), ("2", []), ("3", ["b"])]
    assert every == [("0", ["a dog", "a cat"]), ("1", []), ("2", []), ("3", ["b"])]


# ---- text -----------------------------------------------------------------------------------------------------------

# What any text table can hold: no control characters, but newlines where CSV quotes them.
fields = st.text(st.characters(blacklist_categories=["Cs", "Cc"]) | st.just("\n"), max_size=8)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(fields, fields), min_size=1, max_size=8))
def test_csv_rows_are_those_that_were_written(tmp_path, written):
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([("key", "caption"), *written])
    (tmp_path / "x.csv").write_text(buffer.getvalue(), encoding="utf-8", newline="")
    assert read(tmp_path / "x.csv") == [(key, [caption.strip()] * bool(caption.strip())) for key, caption in written]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(fields, st.none() | fields | st.lists(fields, max_size=3)), min_size=1, max_size=8))
def test_json_rows_are_those_that_were_written(tmp_path, written):
    lines = [json.dumps({"key": key, "caption": value}) for key, value in written]
    (tmp_path / "x.jsonl").write_text("\n\n".join(lines))
    expected = []
    for key, value in written:
        texts = value if isinstance(value, list) else [value or ""]
        expected.append((key, [text.strip() for text in texts if text.strip()]))
    assert read(tmp_path / "x.jsonl", first_only=False) == expected
    assert read(tmp_path / "x.jsonl") == [(key, captions[:1]) for key, captions in expected]


def test_the_same_rows_of_any_kind_compressed_or_not(tmp_path, batches):
    captions = ["a dog", "", 'a "cat"', "x"]
    files = {
        "x.csv": 'n,caption\n1,a dog\n2,\n\n3,"a ""cat"""\n4,x\n',
        "x.tsv": 'n\tcaption\r\n1\ta dog\r\n2\t\r\n\r\n3\ta "cat"\r\n4\tx',
        "x.jsonl": "".join(json.dumps({"caption": caption}) + "\n" for caption in captions),
        "x.txt": "\ufeffa dog\n\na \"cat\"\nx\n",
    }  # fmt: skip
    expected = [(str(row), [caption] if caption else []) for row, caption in enumerate(captions)]
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode())
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        (tmp_path / f"{name}.bz2").write_bytes(bz2.compress(text.encode()))
        for ending in ("", ".gz", ".bz2"):
            assert read(tmp_path / (name + ending)) == expected, name + ending


def test_a_table_without_a_header_starts_at_its_first_row(tmp_path):
    (tmp_path / "cc.tsv").write_text("a dog\thttp://a\na cat\thttp://b\n")
    assert read(tmp_path / "cc.tsv") == [("0", ["a dog"]), ("1", ["a cat"])]
    assert caption_column(str(tmp_path / "cc.tsv"), None) == "the only one of text"


def test_broken_rows_stay_rows(tmp_path):
    (tmp_path / "x.csv").write_text("key,n,caption\na,1,one\nb\nc,3,three,more\n")
    assert read(tmp_path / "x.csv") == [("a", ["one"]), ("b", []), ("c", ["three"])]
    assert reasons(tmp_path / "x.csv") == {"row too short": 1}
    (tmp_path / "x.jsonl").write_text('{"caption": "one"}\n{"capt\n[1]\n{"key": 9, "caption": 5}\n{"key": null}\n')
    assert read(tmp_path / "x.jsonl") == [("0", ["one"]), ("1", []), ("2", []), ("9", []), ("4", [])]
    assert reasons(tmp_path / "x.jsonl") == {"invalid JSON": 1, "no caption": 3}
    (tmp_path / "x.txt").write_bytes(b"caf\xe9\n")
    assert read(tmp_path / "x.txt") == [("0", ["caf\ufffd"])]


def test_a_quotation_mark_left_open_is_told(tmp_path):
    (tmp_path / "x.csv").write_text('caption\n"a dog\n' + "and more\n" * 20_000)
    with pytest.raises(UserError, match=r"x\.csv cannot be read.*quotation mark left open"):
        read(tmp_path / "x.csv")


# ---- columns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet", "txt"])
def test_the_column_of_the_captions(tmp_path, ending):
    path = tmp_path / f"x.{ending}"
    separator = "\t" if ending == "tsv" else ","
    if ending == "parquet":
        pq.write_table(pa.table({"n": ["1"], "text": ["a"]}), path)
    elif ending == "jsonl":
        path.write_text('{"n": "1", "text": "a"}\n')
    else:
        path.write_text(f"n{separator}text\n1{separator}a\n")
    assert caption_column(str(path), None) == ("line" if ending == "txt" else "text")
    if ending != "txt":
        assert caption_column(str(path), "n") == "n"
        with pytest.raises(UserError, match=f"x.{ending} has no column m: choose data.caption_key among n, text"):
            caption_column(str(path), "m")


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.parquet"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"" if name == "x.parquet" else b"\x1f\x8bnothing" * 3)
    if name == "x.csv":
        (tmp_path / name).unlink()
    for attempt in (caption_column, lambda path, key: list(table_rows(path, key, True))):
        with pytest.raises(UserError, match=rf"{name} cannot be read"):
            attempt(str(tmp_path / name), None)


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.jsonl", "x.txt"])
def test_an_empty_table_has_no_rows(tmp_path, name):
    (tmp_path / name).write_text("")
    assert read(tmp_path / name) == []

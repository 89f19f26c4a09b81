"""Captions out of files of every kind, whole, compressed and in spans."""

import gzip
import json
from collections import Counter
from itertools import pairwise
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.captions.sources import lines, tables
from catclip.captions.sources.reading import Span, read_captions
from catclip.errors import UserError
from tests.captions.making import COMPRESSIONS, FORMATS, file_of, read, tar_of, write_shard

CAPTIONS = ["a dog", "ein Käfer 🐞", 'a "cat", 3" tall', "2 couches", "x" * 3000, "nul\0byte"] * 7


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_captions(tmp_path, form, compression):
    if form == "parquet" and compression:
        pytest.skip("Parquet compresses itself")
    path = tmp_path / f"captions.{form}{compression}"
    path.write_bytes(COMPRESSIONS[compression](file_of(CAPTIONS, form)))
    assert read(path) == (CAPTIONS, {})
    assert sum(chunk.size for chunk in read_captions(str(path))) <= path.stat().st_size


# Control characters and lone carriage returns end lines in some of the formats and not in others.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=40).map(str.strip).filter(bool)


@settings(max_examples=40, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=30), st.integers(1, 200))
def test_formats_agree_on_any_captions(tmp_path_factory, captions, block):
    folder = tmp_path_factory.getbasetemp()
    for form in FORMATS:
        path = folder / f"any.{form}"
        path.write_bytes(file_of(captions, form))
        with patch.object(lines, "BLOCK", block):
            assert read(path) == (captions, {}), form


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_are_captions_or_a_clear_error(tmp_path_factory, content, block):
    folder = tmp_path_factory.getbasetemp()
    for form in FORMATS:
        for compression, compress in COMPRESSIONS.items():
            for data in {content, compress(content)}:
                path = folder / f"wild.{form}{compression}"
                path.write_bytes(data)
                try:
                    with patch.object(lines, "BLOCK", block):
                        captions, _ = read(path)
                except UserError:
                    continue
                assert all(captions)


# ---- spans ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["txt", "tsv", "jsonl"]),
    st.lists(TEXT, min_size=1, max_size=20),
    st.lists(st.integers(1, 600), max_size=4),
    st.integers(1, 50),
    st.booleans(),
)
def test_spans_give_each_line_once(tmp_path_factory, form, captions, cuts, block, ends_in_newline):
    path = tmp_path_factory.getbasetemp() / f"spans.{form}"
    path.write_bytes(file_of(captions, form).removesuffix(b"" if ends_in_newline else b"\n"))
    size = path.stat().st_size
    bounds = sorted({0, size, *(cut for cut in cuts if cut < size)})
    with patch.object(lines, "BLOCK", block):
        found = [read(path, span=Span(start, stop))[0] for start, stop in pairwise(bounds)]
    assert [caption for each in found for caption in each] == captions


@pytest.mark.parametrize("form", ["txt", "tsv", "jsonl"])
def test_a_file_may_be_cut_at_any_byte(tmp_path, form):
    captions = ["a dog", "b", "ein Käfer", "c"]
    path = tmp_path / f"cut.{form}"
    path.write_bytes(file_of(captions, form))
    size = path.stat().st_size
    for block in (3, 1 << 20):
        with patch.object(lines, "BLOCK", block):
            for cut in range(1, size):
                assert read(path, span=Span(0, cut))[0] + read(path, span=Span(cut, size))[0] == captions


def test_row_groups_are_spans(tmp_path):
    path = tmp_path / "t.parquet"
    path.write_bytes(file_of([str(i) for i in range(10)], "parquet"))
    groups = [read(path, span=Span(i, i + 1))[0] for i in range(pq.read_metadata(path).num_row_groups)]
    assert len(groups) > 1
    assert [caption for group in groups for caption in group] == [str(i) for i in range(10)]
    assert read(path, span=Span(1, 3))[0] == groups[1] + groups[2]


# ---- text -----------------------------------------------------------------------------------------------------------


def test_text(tmp_path):
    path = tmp_path / "captions.txt"
    path.write_bytes("\ufeffa dog\r\n\n b\u00e9 \n".encode() + b"\xff")
    assert read(path) == (["a dog", "b\u00e9", "\ufffd"], {"empty line": 1})


def test_text_in_small_blocks_repairs_what_is_no_utf8(tmp_path):
    path = tmp_path / "captions.txt"
    content = "\ufeffä dog\n".encode() + b"\xc3\n\xa4 \xe2\x82\nlast \xf0\x9f"
    path.write_bytes(content)
    expected = [line.strip() for line in content.decode("utf-8-sig", errors="replace").split("\n")]
    for block in range(1, 20):
        with patch.object(lines, "BLOCK", block):
            assert read(path)[0] == expected


def test_a_long_caption_is_a_caption_and_an_endless_one_an_error(tmp_path):
    for form in FORMATS:
        path = tmp_path / f"long.{form}"
        path.write_bytes(file_of(["a dog", "cat " * 250_000, "end"], form))
        assert list(map(len, read(path)[0])) == [5, 999_999, 3], form
    path = tmp_path / "endless.txt"
    path.write_bytes(b"x" * 5000)
    with (
        patch.object(lines, "LONGEST_LINE", 4000),
        patch.object(lines, "BLOCK", 1000),
        pytest.raises(UserError, match="line of more than"),
    ):
        read(path)


def test_a_file_cut_short_is_an_error(tmp_path):
    for compression, compress in COMPRESSIONS.items():
        if compression:
            path = tmp_path / f"captions.txt{compression}"
            path.write_bytes(compress(b"a dog\n" * 10_000)[:-12])
            with pytest.raises(UserError, match=rf"captions\.txt\{compression} cannot be read"):
                read(path)


def test_files_put_together_after_compression(tmp_path):
    for compression, compress in COMPRESSIONS.items():
        path = tmp_path / f"captions.txt{compression}"
        path.write_bytes(compress(b"a dog\n") + compress(b"a cat\n"))
        assert read(path)[0] == ["a dog", "a cat"], compression


def test_unknown_ending_is_refused(tmp_path):
    for name in ("captions.xlsx", "captions.gz", "captions.parquet.gz"):
        with pytest.raises(UserError, match="ending"):
            read(tmp_path / name)


def test_empty_files(tmp_path):
    for form in ("txt", "csv", "tsv", "jsonl"):
        path = tmp_path / f"empty.{form}"
        path.touch()
        assert read(path) == ([], {})


# ---- tables ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["caption", "text", "TEXT"])
def test_csv_finds_its_column(tmp_path, column):
    path = tmp_path / "table.csv"
    path.write_text(f'url,{column}\nu,"a dog, a ""cat"""\nu\nu,\nu,a fox,more\n')
    captions, skipped = read(path)
    assert sorted(captions) == ['a dog, a "cat"', "a fox"]
    assert skipped == {"row too short": 1, "empty caption": 1}


def test_csv_with_newlines_in_quotes(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b'\xef\xbb\xbf"cap\ntion",caption\r\n1,"a dog\r\non a mat"\r\n2,"\xff\n"\r\n3,last')
    assert read(path) == (["a dog\r\non a mat", "\ufffd", "last"], {})
    assert read(path, "cap\ntion")[0] == ["1", "2", "3"]


def test_ragged_rows_that_are_no_utf8(tmp_path):
    for form, sign in (("csv", b","), ("tsv", b"\t")):
        path = tmp_path / f"table.{form}"
        path.write_bytes(b"u,caption\nsh\xffort\nu,a \xff dog,x\nu,fine\n".replace(b",", sign))
        captions, skipped = read(path)
        assert sorted(captions) == ["a \ufffd dog", "fine"]
        assert skipped == {"row too short": 1}


def test_a_quotation_mark_left_open_is_told(tmp_path):
    path = tmp_path / "table.csv"
    for header, row, more in (("caption", "a dog", ""), ("n,caption", "1,a dog", "2,"), ("caption,n", "a dog,1", "")):
        path.write_text(f'{header}\n{row}\n{more}"a cat\n{row}\n')
        assert read(path) == (["a dog"], {"rows after a quotation mark left open": 1})
    with patch.object(tables, "_LONGEST_ROW", 100):
        path.write_text('caption\na dog\n"a cat' + "\na fox" * 100)
        with pytest.raises(UserError, match=r"table\.csv cannot be read"):
            read(path)


def test_column_by_name(tmp_path):
    for form, sign in (("csv", ","), ("tsv", "\t")):
        path = tmp_path / f"table.{form}"
        path.write_text(f"url{sign}alt\nu{sign}a dog\n")
        assert read(path, "alt") == (["a dog"], {})
        for key in (None, "caption"):
            with pytest.raises(UserError, match="among url, alt"):
                read(path, key)


@pytest.mark.parametrize(
    "rows", ['a "dog\thttp://x/1.jpg\na cat\thttps://x/2.jpg\n', 'http://x\ta "dog\nhttp://y\ta cat']
)
def test_conceptual_captions_have_no_header(tmp_path, rows):
    path = tmp_path / "cc3m.tsv"
    path.write_text(rows)
    assert read(path) == (['a "dog', "a cat"], {})


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_usual_columns_may_have_capitals(tmp_path, form):
    (tmp_path / "lower").write_bytes(file_of(["a dog"], form))
    path = tmp_path / f"A.{form.upper()}"
    if form == "parquet":
        pq.write_table(pa.table({"n": [3], "Caption": ["a dog"]}), path)
    else:
        path.write_bytes((tmp_path / "lower").read_bytes().replace(b"caption", b"Caption"))
    assert read(path) == (["a dog"], {})
    with pytest.raises(UserError, match="has no column caption"):
        read(path, "caption")


def test_what_only_looks_like_conceptual_captions_needs_a_header(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text("a dog\t3\n")
    with pytest.raises(UserError, match="has no column"):
        read(path)
    for row in ("http://x\thttp://y", "a dog\thttp://x\t3", "a dog on a couch", "1\ta dog on a couch\t3"):
        path.write_text(f"{row}\n")
        for key in (None, "text"):
            with pytest.raises(UserError, match=r"table\.tsv has no header: its first row is .*names the columns"):
                read(path, key)
    path.write_text("caption\thttp://x\na dog\thttp://y\n")
    assert read(path, "caption")[0] == ["a dog"]


# ---- JSON lines -----------------------------------------------------------------------------------------------------


def reference(rows: list[bytes], key: str, first_only: bool):
    """JSON lines as Python reads them."""
    captions, skipped = [], Counter()
    for row in rows:
        if not row.strip():
            continue
        try:
            value = json.loads(row)
        except ValueError:
            skipped["invalid JSON"] += 1
            continue
        value = value.get(key) if isinstance(value, dict) else None
        found = [text.strip() for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
        found = [
            text.encode("utf-8", "replace").decode().replace("?", "\ufffd") if "\ud800" in text else text
            for text in found
            if text
        ]
        captions += found[:1] if first_only else found
        skipped["no caption"] += not found
    return captions, dict(+skipped)


VALUE = st.one_of(TEXT, TEXT, st.just(" "), st.lists(TEXT, max_size=3), st.none(), st.integers(), st.just("a\ud800b"))
ROW = st.one_of(
    st.fixed_dictionaries({"text": VALUE}, optional={"n": VALUE}).map(json.dumps),
    st.fixed_dictionaries({"text": TEXT}).map(json.dumps),
    st.sampled_from(
        ["", "{", "[1]", '"text"', '{"n": NaN}', '{"text": "a"} {"text": "b"}', '{"text": "a", "text": "b"}']
    ),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=8), st.booleans(), st.integers(1, 100))
def test_json_lines_are_what_python_reads(tmp_path_factory, rows, first_only, block):
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    data = [b'{"text": "first"}', *(row.encode() for row in rows)]
    path.write_bytes(b"\n".join(data))
    with patch.object(lines, "BLOCK", block):
        assert read(path, first_only=first_only) == reference(data, "text", first_only)


def test_json_field_by_name(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"alt": ["a dog", "a cat"], "n": 1}\n{"alt": [" "], "n": "x"}\n{"alt": []}\n')
    assert read(path, "alt") == (["a dog"], {"no caption": 2})
    assert read(path, "alt", first_only=False) == (["a dog", "a cat"], {"no caption": 2})
    with pytest.raises(UserError, match="among alt, n"):
        read(path)


# ---- Parquet --------------------------------------------------------------------------------------------------------

TYPES = [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string()), pa.string_view()]


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_parquet_texts_of_any_type(tmp_path, kind):
    values = pa.array(["a dog", None, " ", " a cat"]).cast(kind)
    pq.write_table(pa.table({"n": [1, 2, 3, 4], "TEXT": values}), tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet") == (["a dog", "a cat"], {"empty caption": 2})


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.list_(pa.string(), 3)], ids=str
)
def test_parquet_lists(tmp_path, kind):
    values = pa.array([["a dog", "", "a cat"], None, [" ", None, " a fox"], ["", "", ""]], kind)
    pq.write_table(pa.table({"text": values}), tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet") == (["a dog", "a fox"], {"empty caption": 2})
    assert read(tmp_path / "t.parquet", first_only=False) == (["a dog", "a cat", "a fox"], {"empty caption": 2})


def test_parquet_that_is_no_utf8(tmp_path):
    raw = pa.array([b"a \xff dog", b"fine"], pa.binary())
    wrong = pa.StringArray.from_buffers(2, raw.buffers()[1], raw.buffers()[2])
    pq.write_table(pa.table({"text": wrong}), tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet")[0] == ["a \ufffd dog", "fine"]


def test_parquet_columns_that_cannot_be_captions(tmp_path):
    pq.write_table(pa.table({"n": [1], "alt": ["a dog"]}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match="among n, alt"):
        read(tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"Column n of .* holds int64, not text"):
        read(tmp_path / "t.parquet", "n")
    assert read(tmp_path / "t.parquet", "alt")[0] == ["a dog"]


# ---- shards ---------------------------------------------------------------------------------------------------------


def test_shard_with_text(tmp_path):
    members = [
        ("a.jpg", b"x"),
        ("a.txt", b"a dog"),
        ("b.jpg", b"x"),
        ("c.txt", b""),
        ("d.txt", b"a cat"),
        ("dir/", b""),
    ]
    for compression, compress in COMPRESSIONS.items():
        path = tmp_path / f"s.tar{compression}"
        path.write_bytes(compress(tar_of(members)))
        assert read(path) == (["a dog", "a cat"], {"no caption": 2})


def test_shard_with_json(tmp_path):
    fields = json.dumps({"caption": "a cat", "captions": ["a", "b"], "n": 3}).encode()
    samples = [
        ("a.json", fields),
        ("b.json", b"{"),
        ("c.json", b'{"captions": []}'),
        ("d.json", b'{"caption": "\\ud800"}'),
    ]
    path = write_shard(tmp_path / "s.tar", samples)
    assert read(path) == (["a cat", "\ufffd"], {"invalid JSON": 1, "no caption": 1})
    assert read(path, "json.captions") == (["a"], {"invalid JSON": 1, "no caption": 2})
    assert read(path, "json.captions", first_only=False) == (["a", "b"], {"invalid JSON": 1, "no caption": 2})


def test_shard_without_the_key_lists_what_it_has(tmp_path):
    path = write_shard(tmp_path / "s.tar", [("a.jpg", b"x"), ("a.json", b'{"alt": "a dog"}')])
    for key in (None, "cap", "json.caption"):
        with pytest.raises(UserError, match=r"jpg \(1\), json \(1\)"):
            read(path, key)
    with pytest.raises(UserError, match=r"json\.alt \(1\)"):
        read(path)
    assert read(path, "json.alt") == (["a dog"], {})


def test_a_large_shard_is_given_in_chunks(tmp_path):
    path = write_shard(tmp_path / "s.tar", [(f"{i}.txt", b"a dog") for i in range(5000)])
    chunks = list(read_captions(path))
    assert [len(chunk.captions) for chunk in chunks] == [4096, 904]
    assert sum(chunk.size for chunk in chunks) > 5000 * 1024


@pytest.mark.parametrize("size", [20 * 1024 + 700, 20 * 1024])
@pytest.mark.parametrize("way", ["here", "compressed", "web"])
def test_damaged_shard_is_read_up_to_the_damage(tmp_path, server, size, way):
    path = tmp_path / ("s.tar.gz" if way == "compressed" else "s.tar")
    whole = tar_of([(f"{i:04d}.txt", b"a dog") for i in range(50)])
    end_mark = bytes(1024)
    for damaged in (whole[:size], whole[:size] + b"\x07" * 3000, whole[: 20 * 1024] + end_mark + whole[20 * 1024 :]):
        path.write_bytes(gzip.compress(damaged) if way == "compressed" else damaged)
        captions, skipped = read(f"{server}/s.tar" if way == "web" else path)
        assert captions in (["a dog"] * 20, ["a dog"] * 21)
        assert skipped["damaged shard, read up to the damage"] == 1


@pytest.mark.parametrize("way", ["here", "compressed", "web"])
def test_a_whole_shard_is_no_damaged_one(tmp_path, server, way):
    path = tmp_path / ("s.tar.gz" if way == "compressed" else "s.tar")
    names = ["a" * 200, "b", "é", "c" * 99]  # those take headers of their own
    whole = tar_of([(f"{name}.{ending}", b"a dog" * 300) for name in names for ending in ("jpg", "txt", "cls")])
    path.write_bytes(gzip.compress(whole) if way == "compressed" else whole)
    captions, skipped = read(f"{server}/s.tar" if way == "web" else path)
    assert captions == ["a dog" * 300] * 4
    assert not skipped


def test_what_is_no_tar_is_refused(tmp_path):
    path = tmp_path / "s.tar"
    for content in (b"", b"not a tar" * 1000):
        path.write_bytes(content)
        with pytest.raises(UserError, match="no readable tar"):
            read(path)


# ---- addresses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["c.txt", "c.csv.gz", "c.tsv.zst", "c.jsonl.bz2", "c.parquet", "c.tar", "c.tar.gz"])
def test_files_on_a_web_server(tmp_path, server, name):
    form, _, compression = name.removeprefix("c.").partition(".")
    data = COMPRESSIONS[f".{compression}" if compression else ""](file_of(CAPTIONS, form))
    (tmp_path / name).write_bytes(data)
    assert read(f"{server}/{name}") == (CAPTIONS, {})


def test_a_large_text_on_a_web_server_that_sends_no_ranges(tmp_path, server):
    (tmp_path / "large.txt").write_bytes(b"a dog on a couch\n" * 1_000_000)
    assert sum(len(chunk.captions) for chunk in read_captions(f"{server}/large.txt")) == 1_000_000


def test_what_is_not_on_the_server(server):
    with pytest.raises(UserError, match=r"none\.txt cannot be read: there is no such file"):
        read(f"{server}/none.txt")


def test_gzip_written_by_others(tmp_path):
    path = tmp_path / "captions.txt.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("a dog\n")
    assert read(path) == (["a dog"], {})

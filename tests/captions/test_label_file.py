"""What is written into a label file is read out of it; what is no label file, or another's, is told."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catclip.captions import Vocabulary, label_file
from catclip.captions.label_file import Labelling
from catclip.errors import UserError

LABELLING = Labelling("0" * 32, "default", "lexicon", "visual", "abc", "first", "txt", 1234)


def batch(keys, ids) -> pa.RecordBatch:
    return pa.record_batch({"key": pa.array(keys, pa.string()), "ids": pa.array(ids, pa.list_(pa.int32()))})


samples = st.lists(st.tuples(st.text(max_size=5), st.none() | st.lists(st.integers(0, 2**31 - 1), max_size=4)))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(samples, max_size=3))
def test_what_is_written_is_read(tmp_path, parts):
    path = tmp_path / "x.labels.parquet"
    tables = [batch([key for key, _ in part], [ids for _, ids in part]) for part in parts]
    label_file.write(path, LABELLING, tables, Counter({"empty": 3}))
    every = [sample for part in parts for sample in part]
    labels = label_file.read(path)
    assert labels.keys.to_pylist() == [key for key, _ in every]
    given_back = [labels.ids[labels.offsets[i] : labels.offsets[i + 1]].tolist() for i in range(len(every))]
    assert given_back == [ids or [] for _, ids in every]
    assert label_file.read_labelling(path) == LABELLING
    assert label_file.read_bad(path) == (len(every), Counter({"empty": 3}))
    # Null where there is no caption, for whoever reads the file without us.
    assert pq.read_table(path).column("ids").to_pylist() == [ids for _, ids in every]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.labels.parquet"
    label_file.write(path, LABELLING, [batch(["a"], [[1]])], Counter())
    before = path.read_bytes()

    def breaks_off():
        yield batch(["b"], [[2]])
        raise UserError("no more")

    with pytest.raises(UserError, match="no more"):
        label_file.write(path, LABELLING, breaks_off(), Counter())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"PAR1 but no more", None])
def test_what_is_no_label_file_is_told(tmp_path, content):
    path = tmp_path / "x.labels.parquet"
    if content is None:
        pq.write_table(pa.table({"key": ["a"]}), path)
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.labels\.parquet is no label file: remove it"):
        label_file.read_labelling(path)


def test_a_damaged_file_is_told(tmp_path):
    path = tmp_path / "x.labels.parquet"
    label_file.write(path, LABELLING, [batch([str(i) for i in range(999)], [[i] for i in range(999)])], Counter())
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.labels\.parquet is damaged: remove it"):
        label_file.read(path)


@pytest.mark.parametrize(
    ("source", "folder", "expected"),
    [
        ("a/00000.tar", None, "a/00000.labels.parquet"),
        ("a/b.c.csv.gz", None, "a/b.c.labels.parquet"),
        ("a/x.parquet", "out", "out/x.labels.parquet"),
    ],
)
def test_where_labels_lie(source, folder, expected):
    assert label_file.label_path(source, folder) == Path(expected)


def test_differences_name_each_key_in_the_users_words():
    other = replace(LABELLING, tagger="nltk", source_size=99)
    assert LABELLING.differences(LABELLING) == ""
    assert LABELLING.differences(other) == "captions.tagger was lexicon, is nltk; size in bytes was 1234, is 99"


def test_a_labelling_is_the_vocabularys():
    made = {"rule": "default", "tagger": "spacy", "sense": "first", "lexicon": "l"}
    vocabulary = Vocabulary(["n02084071"], ["dog.n.01"], [3], made)
    assert Labelling.of(vocabulary, "all", "txt", 7) == Labelling(
        vocabulary.digest, "default", "spacy", "first", "l", "all", "txt", 7
    )
    with pytest.raises(UserError, match="does not say how its captions were read: no tagger, sense"):
        Labelling.of(Vocabulary([], [], [], {"rule": "default"}), "all", "txt", 7)

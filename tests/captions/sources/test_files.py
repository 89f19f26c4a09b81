"""Files out of patterns, on this machine and at addresses."""

import fsspec
import pytest

from catclip.captions.sources import expand
from catclip.errors import UserError

# ---- patterns -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    for name in ("train-00000.tar", "train-00001.tar", "train-00002.tar", "val-00000.tar", "notes.txt", "x.parquet"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("train-00001.tar", ["train-00001.tar"]),
        ("train-{00000..00002}.tar", ["train-00000.tar", "train-00001.tar", "train-00002.tar"]),
        ("train-*.tar", ["train-00000.tar", "train-00001.tar", "train-00002.tar"]),
        ("{train,val}-*0.tar", ["train-00000.tar", "val-00000.tar"]),
        ("", ["train-00000.tar", "train-00001.tar", "train-00002.tar", "val-00000.tar"]),
    ],
)
def test_expand(folder, pattern, expected):
    assert expand(f"{folder}/{pattern}") == [str(folder / name) for name in expected]


def test_expand_list_is_sorted_and_without_repeats(folder):
    patterns = [f"{folder}/val*", f"{folder}/train-00000.tar", f"{folder}/val-00000.tar"]
    assert expand(patterns) == [str(folder / "train-00000.tar"), str(folder / "val-00000.tar")]


def test_folder_without_shards_gives_its_texts(tmp_path):
    read = ("a.csv", "b.txt", "c.tsv.gz", "d.jsonl.zst", "e.parquet", "f.txt.bz2")
    for name in (*read, "g.jpg", "h.gz", "i.parquet.gz"):
        (tmp_path / name).touch()
    assert expand(str(tmp_path)) == [str(tmp_path / name) for name in read]


@pytest.mark.parametrize("pattern", ["trian-*.tar", "train-{00000..00003}.tar", "none/here/*.tar", "{a.tar"])
def test_pattern_without_match_is_named(folder, pattern):
    with pytest.raises(UserError) as error:
        expand(f"{folder}/{pattern}")
    assert pattern[:6].strip("{") in str(error.value)
    if "{a" not in pattern:
        assert "train-00000.tar" in str(error.value)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (
            "trian-{00000..00002}.tar",
            r"matches \S+trian-\{00000\.\.00002\}\.tar, from \S+trian-00000\.tar to \S+2\.tar\. In",
        ),
        ("train-{00000..00003}.tar", r"matches \S+train-00003\.tar of the 4 in \S+train-\{00000\.\.00003\}\.tar\. In"),
        ("train-{00001..00005}.tar", r"matches \S+train-00003\.tar and 2 more of the 5 in \S+train-\{"),
        ("trian-*.tar", r"matches \S+trian-\*\.tar\. In \S+ there is: notes\.txt, train-00000\.tar"),
    ],
)
def test_a_brace_range_is_named_whole(folder, pattern, said):
    with pytest.raises(UserError, match=said):
        expand([f"{folder}/val-00000.tar", f"{folder}/{pattern}"])


def test_empty_list_is_refused():
    with pytest.raises(UserError, match="empty"):
        expand([])


def test_a_file_address_is_a_path(folder):
    assert expand(f"file://{folder}/val-*.tar") == [str(folder / "val-00000.tar")]


# ---- addresses ------------------------------------------------------------------------------------------------------


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    for name in ("a-0.txt", "a-1.txt", "b.txt.gz", "c.jpg"):
        files.pipe(f"/corpus/{name}", b"a dog\n")
    yield files
    files.rm("/corpus", recursive=True)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a-0.txt", ["a-0.txt"]),
        ("a-*.txt", ["a-0.txt", "a-1.txt"]),
        ("a-{0..1}.txt", ["a-0.txt", "a-1.txt"]),
        ("", ["a-0.txt", "a-1.txt", "b.txt.gz"]),
    ],
)
def test_expand_addresses(memory, pattern, names):
    assert expand(f"memory://corpus/{pattern}".rstrip("/")) == [f"memory:///corpus/{name}" for name in names]


def test_an_address_without_match_says_what_lies_beside(memory):
    for pattern in ("memory://corpus/none.txt", "memory://corpus/none-*.txt"):
        with pytest.raises(UserError, match=r"No file matches memory://corpus/none.*there is: a-0\.txt, a-1\.txt"):
            expand(pattern)


def test_what_a_service_needs_is_named():
    with pytest.raises(UserError, match=r"s3://bucket/a\.txt needs a package that is not installed.*pip install s3fs"):
        expand("s3://bucket/a.txt")
    with pytest.raises(UserError, match="nosuch"):
        expand("nosuch://a.txt")


def test_what_a_web_server_lists(server, tmp_path):
    for name in ("a-0.tsv", "a-1.tsv.gz", "b.txt", "c.jpg"):
        (tmp_path / name).write_text("a dog")
    assert expand(f"{server}/a-*") == [f"{server}/a-0.tsv", f"{server}/a-1.tsv.gz"]
    assert expand(f"{server}/a-{{0..0}}.tsv") == [f"{server}/a-0.tsv"]
    assert expand(f"{server}/") == [f"{server}/a-0.tsv", f"{server}/a-1.tsv.gz", f"{server}/b.txt"]
    assert expand(f"{server}/b.txt?download=1") == [f"{server}/b.txt?download=1"]
    with pytest.raises(UserError, match=r"No file matches .*/none\.txt.* there is: a-0\.tsv, a-1"):
        expand(f"{server}/none.txt")


def test_a_server_that_does_not_answer_is_named():
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:1/a\.txt cannot be read"):
        expand("http://127.0.0.1:1/a.txt")

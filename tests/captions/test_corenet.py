"""CoreNet's pickled vocabularies: exchanged exactly, and nothing of a hostile file is run."""

import os
import pickle
import resource
import struct
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from catclip.captions import Vocabulary
from catclip.captions.lexicon import load_lexicon
from catclip.errors import UserError

# As its documentation shows it: the keys are not padded, and ties stand in no order.
PUBLISHED = {"n5928118": 90, "n13333833": 70, "n4960277": 70, "n2084071": 8, "n1740": 8}
SYNSETS = st.sampled_from(load_lexicon().wnids())


def written(path, content, protocol=4):
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_import_keeps_the_indices(tmp_path, protocol):
    vocabulary = Vocabulary.from_corenet_pickle(written(tmp_path / "vocab.pkl", PUBLISHED, protocol))
    assert vocabulary.wnids == ["n05928118", "n13333833", "n04960277", "n02084071", "n00001740"]
    assert vocabulary.counts == [90, 70, 70, 8, 8]
    assert vocabulary.names == ["image.n.01", "stock.n.01", "black.n.01", "dog.n.01", "entity.n.01"]
    assert vocabulary.metadata["rule"] == "reference"
    assert vocabulary.metadata["tau"] == "8"
    assert vocabulary.labels("a black dog, an image of an automobile") == [0, 2, 3]
    assert vocabulary.prune(70).wnids == vocabulary.wnids[:3]
    vocabulary.save(tmp_path / "vocab.tsv")
    assert Vocabulary.load(tmp_path / "vocab.tsv").wnids == vocabulary.wnids


@given(st.dictionaries(SYNSETS, st.integers(1, 2**40), min_size=1, max_size=30))
def test_export_is_what_corenet_reads(tmp_path_factory, counts):
    path = tmp_path_factory.getbasetemp() / "exported.pkl"
    vocabulary = Vocabulary.from_counts(counts, {})
    vocabulary.to_corenet_pickle(path)
    content = pickle.loads(path.read_bytes())
    assert type(content) is dict
    assert content == {f"n{int(wnid[1:])}": count for wnid, count in counts.items()}
    assert [f"n{int(key[1:]):08}" for key in content] == vocabulary.wnids
    again = Vocabulary.from_corenet_pickle(path)
    assert (again.wnids, again.counts) == (vocabulary.wnids, vocabulary.counts)
    first = path.read_bytes()
    again.to_corenet_pickle(path)
    assert path.read_bytes() == first


def test_a_rollup_is_not_exported(tmp_path):
    counts = {"n02084071": 5, "n02110341": 1}
    with pytest.raises(UserError, match="prune=drop"):
        Vocabulary.from_counts(counts, {}).prune(2, how="rollup").to_corenet_pickle(tmp_path / "v.pkl")
    assert not (tmp_path / "v.pkl").exists()


# ---- what is refused ------------------------------------------------------------------------------------------------


class Command:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Counter(n2084071=3), "more than a dict"),
        ({"n2084071": 3.0}, "more than a dict"),
        ({"n2084071": None}, "more than a dict"),
        ({"n2084071": [3]}, "more than a dict"),
        ({b"n2084071": 3}, "more than a dict"),
        ({"n2084071": {}}, "more than one dict"),
        ({"n2084071": True}, "more than a dict"),
        ([("n2084071", 3)], "more than a dict"),
        ("n2084071", "but a str"),
        ({}, "without synsets"),
        ({"n02084071": 3}, "the key 'n02084071' is not"),
        ({"v2084071": 3}, "the key 'v2084071' is not"),
        ({2084071: 3}, "the key 2084071 is not"),
        ({"n": 3}, "the key 'n' is not"),
        ({"n2084071": 0}, "no count"),
        ({"n2084071": -3}, "no count"),
        ({"n2084071": "3"}, "no count"),
        ({"n2084071": 10**400}, "no count"),
        ({"n2084071": 3, "n5928118": 4}, "n5928118 is more frequent"),
        ({"n2084072": 3}, "n02084072 is no noun synset"),
        (b"", "is no pickle"),
        (b"hello", "is no pickle|more than a dict"),
        (b"\x80\x04}.extra", "without synsets"),
    ],
)
def test_what_is_no_vocabulary_is_refused(tmp_path, content, message):
    path = written(tmp_path / "vocab.pkl", content)
    with pytest.raises(UserError, match=message):
        Vocabulary.from_corenet_pickle(path)


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_run(tmp_path, protocol):
    ran = tmp_path / "ran"
    for content in (Command(f"touch {ran}"), {"n2084071": Command(f"touch {ran}")}):
        with pytest.raises(UserError, match="has not been done"):
            Vocabulary.from_corenet_pickle(written(tmp_path / "vocab.pkl", content, protocol))
    assert not ran.exists()


def test_unreadable_files(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        Vocabulary.from_corenet_pickle(tmp_path / "none.pkl")
    with pytest.raises(UserError, match="more than 8 MiB"):
        Vocabulary.from_corenet_pickle(written(tmp_path / "large.pkl", b"\x80\x04}" + b"0" * (8 << 20)))


HUGE = 0x7FFFFFFF
BOMBS = [
    b"\x80\x04}r" + struct.pack("<I", HUGE) + b".",  # a memo of that number: the unpickler would make room for all
    b"}p%d\n." % HUGE,
    b"\x80\x04X" + struct.pack("<I", HUGE) + b"n.",  # a string of that length
    b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b"n.",
    b"\x80\x04\x8b" + struct.pack("<i", HUGE) + b"1.",  # a whole number of that length
    b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"}.",  # a frame of that length
    b"\x80\x04" + b"}" * 4_000_000 + b".",  # dicts without end
    b"\x80\x04" + b"(" * 4_000_000 + b".",  # marks
    b"\x80\x04}\x94" + b"h\x00" * 4_000_000 + b".",  # one object again and again
    b"I" + b"9" * 1_000_000 + b"\n.",
]


@pytest.mark.parametrize("bomb", range(len(BOMBS)))
def test_a_small_file_takes_little_memory(tmp_path, bomb):
    path = written(tmp_path / "bomb.pkl", BOMBS[bomb])
    code = """
import re, sys
from catclip.captions import Vocabulary
from catclip.errors import UserError
def peak():  # the kernel's own account: getrusage also counts the process that started this one
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
before = peak()
try:
    Vocabulary.from_corenet_pickle(sys.argv[1])
except UserError as error:
    print(peak() - before)
"""
    limit = 4 << 30  # of address space, or a test that fails would take the machine with it
    said = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert int(said.stdout) < 300_000  # KiB


@given(st.binary(max_size=200))
@example(pickle.dumps(PUBLISHED, 0))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    read_or_refuse(tmp_path_factory.getbasetemp() / "fuzz.pkl", data)


@given(st.data())
def test_any_damage_is_read_or_refused(tmp_path_factory, data):
    whole = bytearray(pickle.dumps(PUBLISHED, data.draw(st.integers(0, 5))))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
        whole[place] = data.draw(st.integers(0, 255))
    read_or_refuse(
        tmp_path_factory.getbasetemp() / "damaged.pkl", bytes(whole[: data.draw(st.integers(0, len(whole)))])
    )


def read_or_refuse(path, data):
    try:
        vocabulary = Vocabulary.from_corenet_pickle(written(path, data))
    except UserError:
        return
    assert all(type(count) is int for count in vocabulary.counts)

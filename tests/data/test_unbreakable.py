"""What strangers' shards are like: nothing hangs, nothing crashes, nothing is lost but what is broken."""

import io
import os
import random
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.captions import SynsetExtractor
from catclip.captions.counting import count, make_vocabulary
from catclip.config import DataConfig
from catclip.data.loader import HeldOutBatches, Loader
from catclip.data.pairs import Pairs
from catclip.data.shards import Shards
from catclip.data.targets import LabelTargets
from catclip.errors import UserError
from tests.data.making import encode, picture, sample, tar_bytes, write_shard

MEMBER = 512  # a header, and what contents are padded to


@pytest.fixture(scope="module")
def labels() -> LabelTargets:
    extractor = SynsetExtractor()
    return LabelTargets(make_vocabulary(count(["a dog", "a cat"], extractor), extractor, 1, "test"))


def read(path: Path | str, labels: LabelTargets, workers: int = 0) -> tuple[dict[str, np.ndarray], Counter[str]]:
    """Every sample that can be read, its picture by its key, and the reasons of the others."""
    pairs = Pairs(str(path), DataConfig())
    batches = HeldOutBatches(pairs, [labels], 16, 64)
    loader = Loader(batches, 0, len(batches), workers=workers, max_bad=1.0)
    found = {key: image.numpy() for batch in loader for key, image in zip(batch["keys"], batch["images"], strict=True)}
    return found, loader.bad


def lying(size: int) -> bytes:
    """A tar whose first member says to be larger than it is."""
    content = bytearray(tar_bytes([*sample("lies"), *sample("next")]))
    content[124:136] = b"%011o\0" % size
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    return bytes(content)


def with_link(target: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, target
        tar.addfile(link)
        for name, content in [*sample("../../up"), *sample("/root")]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


GOOD = [sample(f"good{i}", seed=i) for i in range(4)]
HOSTILE = {
    "an error page": b"<!DOCTYPE html><title>503</title>" * 400,
    "empty": b"",
    "zeros": bytes(20_000),
    "noise": random.Random(0).randbytes(50_000),
    "a member that leaves the file": lying(1 << 40),
    "a member over its neighbour": lying(4000),
    "links and paths": with_link("/etc/passwd"),
    "zero bytes": tar_bytes([("z.jpg", b""), ("z.txt", b""), *sample("y", jpg=b"")]),
    "a picture that lies about its type": tar_bytes([*sample("a", jpg=encode(picture(), "PNG"))]),
    "no picture": tar_bytes([*sample("b", jpg=b"%PDF-1.4"), *sample("c", jpg=b"<html>")]),
    "captions of a megabyte": tar_bytes([*sample("a", txt=b"a dog " * 170_000), *sample("b", txt=b"x" * 1_000_000)]),
    "no text at all": tar_bytes([*sample("a", txt=b"\xff\xfe\0\x80"), *sample("b", txt=b"a\0dog" * 9)]),
    "missing partners": tar_bytes([("a.jpg", encode(picture())), ("b.txt", b"a dog"), ("c.json", b"{}")]),
    "one key twice": tar_bytes([*sample("a"), *sample("a", seed=1)]),
    "odd order": tar_bytes([("b.txt", b"a dog"), *sample("a"), ("b.jpg", encode(picture()))]),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("workers", [0, 1])
def test_beside_anything_good_samples_are_read(tmp_path: Path, labels: LabelTargets, name: str, workers: int):
    write_shard(tmp_path / "good.tar", *GOOD)
    (tmp_path / "hostile.tar").write_bytes(HOSTILE[name])
    found, _ = read(tmp_path / "*.tar", labels, workers)
    expected, _ = read(tmp_path / "good.tar", labels)
    for key, image in expected.items():
        assert np.array_equal(found[key], image)


def test_what_is_readable_of_the_hostile_is_read(tmp_path: Path, labels: LabelTargets):
    (tmp_path / "s.tar").write_bytes(HOSTILE["links and paths"])
    assert set(read(tmp_path / "s.tar", labels)[0]) == {"../../up", "root"}
    (tmp_path / "s.tar").write_bytes(HOSTILE["odd order"])
    assert set(read(tmp_path / "s.tar", labels)[0]) == {"a", "b"}
    (tmp_path / "s.tar").write_bytes(HOSTILE["captions of a megabyte"])
    assert set(read(tmp_path / "s.tar", labels)[0]) == {"a", "b"}


@pytest.fixture
def as_somebody() -> Iterator[Path]:
    """Be a user whom modes concern, for the superuser may read everything; a folder that this user finds."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        own = os.geteuid()
        write_shard(Path(folder) / "good.tar", *GOOD)
        write_shard(Path(folder) / "shut.tar", sample("shut")).chmod(0)
        if own == 0:
            os.seteuid(65534)
        yield Path(folder)
        os.seteuid(own)


def test_a_shard_that_may_not_be_read_is_a_problem(as_somebody: Path, labels: LabelTargets):
    with pytest.raises(UserError, match="Permission denied"):
        Shards(str(as_somebody / "shut.tar"))
    shards = Shards(str(as_somebody / "*.tar"))
    assert shards.problems == {str(as_somebody / "shut.tar"): "Permission denied"}
    assert set(read(as_somebody / "*.tar", labels)[0]) == set(read(as_somebody / "good.tar", labels)[0])


# ---- mutations ------------------------------------------------------------------------------------------------------


def members_of(content: bytes) -> list[tuple[str, int, int]]:
    """(name, begin of the header, end of the padded content) of each member, by tarfile."""
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return [(member.name, member.offset, member.offset_data + -(-member.size // MEMBER) * MEMBER) for member in tar]


def mutated(content: bytes, edits: list[tuple[int, bytes]]) -> tuple[bytes, set[str]]:
    """The tar with some bytes overwritten, and the keys of the samples that were hit."""
    changed = bytearray(content)
    hit = set()
    for place, data in edits:
        end = min(place + len(data), len(content))
        changed[place:end] = data[: end - place]
        hit |= {name.partition(".")[0] for name, first, last in members_of(content) if first < end and place < last}
    return bytes(changed), hit


def check_mutated(path: Path, content: bytes, edits: list[tuple[int, bytes]], labels: LabelTargets) -> int:
    """Nothing is lost but samples that were hit, or that a damaged header before them names anew."""
    changed, hit = mutated(content, edits)
    path.write_bytes(changed)
    keys = {name.partition(".")[0] for name, _, _ in members_of(content)}
    try:
        found, _ = read(path, labels)
    except UserError:
        assert keys <= hit
        return len(keys)
    assert keys - hit <= set(found)
    return len(keys)


SHARD = tar_bytes([member for i in range(12) for member in sample(f"{i:03}", seed=i)])
EDITS = st.lists(st.tuples(st.integers(0, len(SHARD) - 1), st.binary(min_size=1, max_size=700)), max_size=4)


@settings(max_examples=150, deadline=None)
@given(edits=EDITS)
def test_nothing_is_lost_but_what_is_broken(tmp_path_factory, labels: LabelTargets, edits: list[tuple[int, bytes]]):
    path = tmp_path_factory.getbasetemp() / "mutated.tar"
    check_mutated(path, SHARD, edits, labels)


@pytest.mark.slow
def test_a_hundred_thousand_samples_of_mutated_shards(tmp_path: Path, labels: LabelTargets):
    chance = random.Random(1)
    samples = 0
    while samples < 100_000:
        edits = [
            (chance.randrange(len(SHARD)), chance.randbytes(chance.choice([1, 1, 8, 100, 600, 3000])))
            for _ in range(chance.randrange(1, 5))
        ]
        samples += check_mutated(tmp_path / "s.tar", SHARD, edits, labels)

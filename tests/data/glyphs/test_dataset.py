"""The data set as a whole: what is written, that it is the same each time, and what refuses to be overwritten."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from PIL import Image

from catclip.data.glyphs import make_glyphs
from catclip.data.glyphs.objects import KINDS
from catclip.errors import UserError

SMALL = {"train": 25, "val": 5, "shard_size": 10, "probe_train": 2, "probe_test": 1}


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def samples(shard: Path) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(shard) as tar:
        for member in tar:
            key, _, extension = member.name.partition(".")
            content = tar.extractfile(member)
            assert content is not None
            found.setdefault(key, {})[extension] = content.read()
    return found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("glyphs") / "small"
    make_glyphs(out, workers=1, **SMALL)
    return out


def test_shards_hold_pictures_captions_and_true_objects(small: Path):
    assert sorted(p.name for p in small.glob("*.tar")) == [
        "train-00000.tar", "train-00001.tar", "train-00002.tar", "val-00000.tar"
    ]  # fmt: skip
    train = {key: sample for shard in small.glob("train-*.tar") for key, sample in samples(shard).items()}
    assert len(train) == 25
    for key, sample in train.items():
        meta = json.loads(sample["json"])
        assert meta["key"] == key
        assert sample["txt"].decode() == meta["caption"] == meta["captions"][0] != meta["captions"][1]
        picture = Image.open(io.BytesIO(sample["jpg"]))
        assert (picture.size, picture.mode) == ((64, 64), "RGB")
        assert 1 <= len(meta["objects"]) <= 4
        assert all({"name", "wnid", "colour", "box"} <= placed.keys() for placed in meta["objects"])


def test_shards_are_read_by_webdataset(small: Path):
    webdataset = pytest.importorskip("webdataset")
    read = list(webdataset.WebDataset(str(small / "val-00000.tar"), shardshuffle=False).decode("pil"))
    assert len(read) == 5
    assert read[0]["jpg"].size == (64, 64)
    assert read[0]["json"]["caption"] == read[0]["txt"]


def test_every_kind_has_its_labelled_folders(small: Path):
    for split, count in (("train", 2), ("test", 1)):
        folders = {path.name: len(list(path.glob("*.jpg"))) for path in (small / "probe" / split).iterdir()}
        assert folders == {kind.name: count for kind in KINDS}


def test_no_picture_is_in_two_splits(small: Path):
    pictures = [sample["jpg"] for shard in small.glob("*.tar") for sample in samples(shard).values()]
    pictures += [path.read_bytes() for path in small.glob("probe/**/*.jpg")]
    assert len(pictures) == 30 + 3 * len(KINDS)
    assert len(set(pictures)) == len(pictures)


def test_bytes_depend_on_the_seed_and_not_on_the_workers(small: Path, tmp_path: Path):
    made: list[int] = []
    make_glyphs(tmp_path / "two", workers=2, progress=made.append, **SMALL)
    assert hashes(tmp_path / "two") == hashes(small)
    assert sum(made) == 30 + 3 * len(KINDS)
    make_glyphs(tmp_path / "other", seed=1, workers=1, **SMALL)
    assert not set(hashes(tmp_path / "other").values()) & set(hashes(small).values())


def test_what_is_there_with_the_same_settings_is_left_alone(small: Path):
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*")}
    make_glyphs(small, workers=1, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in small.rglob("*")} == before


def test_other_settings_are_refused(small: Path):
    with pytest.raises(UserError, match="other settings"):
        make_glyphs(small, workers=1, **{**SMALL, "train": 26})


def test_a_folder_with_something_else_is_refused_and_kept(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="not empty"):
        make_glyphs(tmp_path, workers=1, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_lost_shard_is_noticed(tmp_path: Path):
    tiny = {**SMALL, "probe_train": 0, "probe_test": 0}
    make_glyphs(tmp_path / "out", workers=1, **tiny)
    (tmp_path / "out" / "train-00001.tar").unlink()
    with pytest.raises(UserError, match=r"train-00001\.tar"):
        make_glyphs(tmp_path / "out", workers=1, **tiny)


@pytest.mark.parametrize("wrong", [{"train": 0}, {"size": 8}, {"shard_size": 0}, {"workers": 0}])
def test_numbers_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, int]):
    with pytest.raises(UserError, match=next(iter(wrong))):
        make_glyphs(tmp_path / "out", **{"workers": 1, **SMALL, **wrong})


def test_a_failure_leaves_nothing_behind(tmp_path: Path):
    def give_up(count: int) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        make_glyphs(tmp_path / "out", workers=1, progress=give_up, **SMALL)
    assert not list(tmp_path.iterdir())


def _start_long_run(out: Path) -> subprocess.Popen[bytes]:
    # A shell's background jobs, and all that they start, ignore Ctrl-C unless told otherwise.
    code = """if True:
        import pathlib, signal, sys
        from catclip.data.glyphs import make_glyphs
        signal.signal(signal.SIGINT, signal.default_int_handler)
        make_glyphs(pathlib.Path(sys.argv[1]))
        """
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(out)],
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    _wait_until(lambda: any(out.with_name(out.name + ".partial").glob("*.tar")), "the first shard is begun")
    return process


def _wait_until(condition, what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.05)


def _group_is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals to a process group")
@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_run_and_no_half_data_set_stays(tmp_path: Path, kill: signal.Signals):
    process = _start_long_run(tmp_path / "out")
    if kill == signal.SIGINT:
        os.killpg(process.pid, kill)  # Ctrl-C in a terminal reaches every process
    else:
        process.kill()
    process.communicate(timeout=30)
    _wait_until(lambda: _group_is_gone(process.pid), "all workers have ended")
    assert not (tmp_path / "out").exists()
    assert kill == signal.SIGKILL or not list(tmp_path.iterdir())

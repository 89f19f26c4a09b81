"""`catclip data check` and `catclip data preview`: what they write, what they say, and how they end."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from catclip.config import DataCheckConfig, DataConfig, DataPreviewConfig
from catclip.data.index import index_path
from catclip.errors import UserError
from catclip.verbs import data_check, data_preview
from tests import tiny
from tests.data.making import sample, write_shard


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def say(capsys, tmp_path):
    """Run a check, and return what is printed and what is in check.json."""

    def checked(data: DataConfig, **changes) -> tuple[str, dict]:
        data_check.run(DataCheckConfig(data=data, out=str(tmp_path / "out"), workers=1, **changes))
        said = capsys.readouterr().out
        assert all(len(line) <= 80 for line in said.splitlines() if str(tmp_path) not in line)
        return said, json.loads((tmp_path / "out" / "check.json").read_text())

    return checked


def test_a_sound_data_set(say, glyphs, tmp_path):
    said, found = say(tiny.data_config(glyphs), size=40)
    assert re.search(r"^48 samples in 3 shards \(.*\), read in .* samples/s$", said, re.MULTILINE)
    assert "Every sample is good." in said
    assert "48 (100.0%) have a side shorter than 40 pixels" in said
    assert re.search(r"^width, pixels +32 +32 +32 +32 +32 +32 +32 +32\.0$", said, re.MULTILINE)
    assert f"{found['vocabulary_labels_seen']} of the vocabulary's {found['vocabulary_labels']}" in " ".join(
        said.split()
    )
    assert "under json.captions" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"bad.tsv", "check.json", "contact.png"}
    assert (tmp_path / "out" / "bad.tsv").read_text() == "shard\tkey\treason\tdetail\n"
    sheet = Image.open(tmp_path / "out" / "contact.png")
    assert sheet.width > 1500
    assert not list(glyphs.glob("*.index.parquet"))


def test_bad_samples_and_damaged_shards(say, tmp_path):
    bad = [sample(f"b{n}", jpg=b"?") for n in range(3)]
    write_shard(tmp_path / "a.tar", sample("1"), *bad, sample("2", " "))
    for n in range(12):
        (tmp_path / f"page{n:02}.tar").write_bytes(b"<html>404</html>" * 99)
    said, found = say(DataConfig(sources=str(tmp_path / "*.tar")))
    assert "4 samples (80.00%) cannot be read:" in said
    assert re.search(r"^ +3  picture cannot be decoded\n +1  empty caption$", said, re.MULTILINE)
    assert "4 more shards are damaged: check.json lists them." in said
    assert sum("404" in str(key) or "page" in key for key in found) == 12
    assert (found["damaged_shards"], found["bad_samples"], found["good_samples"]) == (12, 4, 1)
    assert len((tmp_path / "out" / "bad.tsv").read_text().splitlines()) == 5


def test_without_a_good_sample_it_says_so_and_ends_well(say, tmp_path):
    said, found = say(DataConfig(sources=str(write_shard(tmp_path / "a.tar", sample("1", jpg=b"?")))))
    assert "1 sample (100.00%) cannot be read:" in said
    assert found["good_samples"] == 0
    assert "Pictures" not in said


def test_what_cannot_be_read_at_all_is_an_error(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"no tar")
    out = tmp_path / "out"
    with pytest.raises(UserError, match="No samples"):
        data_check.run(DataCheckConfig(data=DataConfig(sources=str(tmp_path / "a.tar")), out=str(out)))
    with pytest.raises(UserError, match="No file matches"):
        data_check.run(DataCheckConfig(data=DataConfig(sources=str(tmp_path / "b.tar")), out=str(out)))
    assert not out.exists()


@pytest.mark.parametrize("change", [{"size": 0}, {"pictures": 0}, {"seed": -1}, {"workers": 0}])
def test_numbers_that_make_no_sense(change, tmp_path):
    (key, value) = next(iter(change.items()))
    with pytest.raises(UserError, match=f"^{key}={value} must be at least"):
        data_check.run(DataCheckConfig(data=DataConfig(sources=str(tmp_path)), **change))
    if key != "workers":
        with pytest.raises(UserError, match=f"^{key}={value} must be at least"):
            data_preview.run(DataPreviewConfig(data=DataConfig(sources=str(tmp_path)), **change))


def test_indexes_are_written_when_asked_for(say, tmp_path):
    paths = [write_shard(tmp_path / f"{name}.tar", sample("1")) for name in "ab"]
    said, _ = say(DataConfig(sources=str(tmp_path / "*.tar")), index=True)
    assert "Wrote an index beside 2 shards." in said
    assert all(index_path(path).is_file() for path in paths)


def test_the_sheet_is_the_same_for_a_seed(say, glyphs, tmp_path):
    sheets = []
    for seed in (0, 0, 1):
        say(tiny.data_config(glyphs), pictures=6, seed=seed)
        sheets.append((tmp_path / "out" / "contact.png").read_bytes())
    assert sheets[0] == sheets[1] != sheets[2]


def test_real_photographs(say, shared, tmp_path):
    data = DataConfig(sources=str(shared / "data/flickr8k/val-00000.tar"), caption_key="json.captions")
    said, found = say(data, size=112)
    assert (found["samples"], found["bad_samples"], found["pictures.JPEG"]) == (1000, 0, 1000)
    assert (found["captions"], found["captions_per_sample_min"], found["captions_per_sample_max"]) == (5000, 5, 5)
    assert found["picture_width_pixels_min"] == found["picture_height_pixels_max"] == 128
    assert 10 < found["caption_words_mean"] < 13
    assert 0 < found["repeated_captions_share"] < 0.02
    assert "None has a side shorter than 112 pixels." in said


# ---- preview --------------------------------------------------------------------------------------------------------


def test_a_preview_is_a_sheet_of_the_first_pictures(glyphs, tmp_path, capsys):
    out = tmp_path / "deep" / "preview.png"
    data_preview.run(DataPreviewConfig(data=tiny.data_config(glyphs), size=32, pictures=6, out=str(out)))
    assert capsys.readouterr().out == f"Drew the first 6 training pictures: {out}\n"
    assert Image.open(out).width == 6 * 256 + 5 * 26 + 2 * 36


def test_a_preview_that_lacks_samples_says_why(tmp_path, capsys):
    path = write_shard(tmp_path / "s.tar", sample("1"), sample("2", jpg=b"?"))
    data_preview.run(DataPreviewConfig(DataConfig(sources=str(path)), pictures=2, out=str(tmp_path / "p.png")))
    said = capsys.readouterr().out
    assert re.match(r"Skipped \d of \d samples \(.*%\): picture cannot be decoded: \d\.\n", said)


def test_a_preview_is_a_png(tmp_path):
    with pytest.raises(UserError, match=r"ends in \.png"):
        data_preview.run(DataPreviewConfig(DataConfig(sources=str(tmp_path)), out=str(tmp_path)))


# ---- as users start them --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_from_a_shell(glyphs, tmp_path):
    script = Path(sys.executable).parent / "catclip"
    if not script.exists():
        pytest.skip("catclip is not installed as a script")

    def call(*arguments: str) -> subprocess.CompletedProcess:
        command = [script, "data", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)

    (tmp_path / "shards").symlink_to(glyphs)
    keys = ["data=glyphs", "data.sources=shards/train-{00000..00002}.tar", "data.vocabulary=null", "size=32"]
    checked = call("check", *keys, "workers=2")
    assert (checked.returncode, checked.stderr) == (0, "")
    (folder,) = (tmp_path / "runs" / "data_check").iterdir()
    found = json.loads((folder / "check.json").read_text())
    assert (found["samples"], found["processes"]) == (48, 2)
    shown = call("preview", *keys)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert len(list((tmp_path / "runs" / "data_preview").glob("*.png"))) == 1
    missing = call("check", "data.sources=nowhere/*.tar")
    assert (missing.returncode, missing.stdout) == (2, "")

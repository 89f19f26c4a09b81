"""`catclip bench captions`: the table, bench.json, and what is said when something is missing."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from catclip.compare.captions_quality import TARGETS
from catclip.config import BenchCaptionsConfig
from catclip.errors import UserError
from catclip.verbs import bench_captions, bench_quality

COCO = Path(__file__).resolve().parents[2] / "benchmarks" / "coco80.tsv"


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    """Run it and return the figures of bench.json and what was printed."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(**settings):
        out = tmp_path / "out"
        bench_captions.run(BenchCaptionsConfig(**({"quality": True, "coco": str(COCO), "out": str(out)} | settings)))
        said = capsys.readouterr().out
        assert max(map(len, said.splitlines()[-8:-1])) <= 80  # the table
        return json.loads((out / "bench.json").read_text()), said

    return run


@pytest.fixture(autouse=True)
def few_classes(monkeypatch):
    """ImageNet's classes are measured elsewhere; here they would take long."""
    figures = {"imagenet_names": 921, "imagenet_reachable": 949}
    monkeypatch.setattr(bench_quality, "imagenet_figures", lambda extractor: dict(figures))


@pytest.fixture
def captions(tmp_path):
    file = tmp_path / "captions.txt"
    file.write_text("This one is never judged.\n" + "A man walks his two dogs.\nA hot dog on a couch.\n\n" * 10)
    return str(file)


def test_everything_is_measured_and_written(bench, shared, captions):
    import nltk

    nltk.data.path.insert(0, str(shared / "nltk_data"))
    results, said = bench(captions=captions, count=20, pipeline=str(shared / "spacy_model"))
    environment = results.pop("environment")
    assert {"commit", "versions", "cpu", "cores"} <= environment.keys()
    assert all(isinstance(value, (int, float)) for value in results.values())
    for key, target in TARGETS.items():
        assert results[f"target.{key}"] == target
        assert f"default.{key}" in results
        assert f"published.{key}" in results
    assert results["captions"] == 20
    assert results["words"] == 12 * 10
    assert results["default.noun_precision"] == 1
    assert results["default.labels_a_caption"] == 2
    assert "ImageNet: reachable" in said
    rows = {line[:24].strip(): line[24:].split() for line in said.splitlines() if line[:24].strip()}
    assert rows["nouns: precision"][-3:] == ["≥", "98.0%", "100.0%"]
    assert rows["labels that are no nouns"][-3:] == ["≤", "4.0%", "0.0%"]
    assert rows["ImageNet: by first name"] == ["921", "921", "921", "≥", "900", "921"]


def test_rows_without_data_stay_empty_and_say_why(bench):
    results, said = bench(coco=None)
    assert "The first three rows need captions=FILE." in said
    assert "The row of COCO's classes needs coco=FILE" in said
    assert not [key for key in results if "noun" in key and not key.startswith("target.")]
    assert re.search(r"nouns: recall +≥ 96.5% *\n", said)


def test_outside_the_sources_only_the_row_of_coco_stays_empty(bench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results, said = bench(coco=BenchCaptionsConfig.coco)
    assert "The row of COCO's classes needs coco=FILE: benchmarks/coco80.tsv of the sources." in said
    assert results["default.imagenet_names"] == 921
    assert "default.coco_classes" not in results


# As on a machine that has neither torch nor what needs it.
WITHOUT_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "timm"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from catclip.config import BenchCaptionsConfig
from catclip.compare import captions_speed
from catclip.verbs import bench_captions
captions_speed._FILE_SIZE = 50
bench_captions.run(BenchCaptionsConfig(quality=True, out="quality"))
bench_captions.run(BenchCaptionsConfig(captions="captions.txt", out="speed", rounds=1, slow=2, total=1))
"""


def test_everything_works_without_torch(tmp_path, captions):
    (tmp_path / "captions.txt").write_text("a dog\n")
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ImageNet's rows stay empty: timm, which lists them, is not installed: pip install timm" in done.stdout
    for folder in ("quality", "speed"):
        environment = json.loads((tmp_path / folder / "bench.json").read_text())["environment"]
        assert environment["torch_threads"] is environment["gpu"] is None
        assert environment["cores"] >= 1


def test_a_missing_tagger_leaves_its_rows_empty_with_the_command(bench, captions, monkeypatch, tmp_path):
    import nltk

    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    results, said = bench(captions=captions, count=20)
    assert "python -m nltk.downloader averaged_perceptron_tagger_eng" in said
    assert said.index("nltk.downloader") < said.index("nouns: precision")
    assert "default.noun_precision" not in results
    assert results["default.coco_classes"] >= 78


def test_wrong_input_is_refused_before_any_work(bench, captions, tmp_path, monkeypatch):
    monkeypatch.setattr(bench_quality, "make_extractors", lambda: pytest.fail("worked before it looked"))
    with pytest.raises(UserError, match="captions=nowhere is no file"):
        bench(captions="nowhere")
    with pytest.raises(UserError, match="has 21 captions: count=22"):
        bench(captions=captions, count=22)
    with pytest.raises(UserError, match="is no file"):
        bench(coco="nowhere")
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / "bench.json").write_text("{}")
    with pytest.raises(UserError, match="has results already"):
        bench()


def test_speed(tmp_path, monkeypatch, capsys, captions):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("catclip.compare.captions_speed._FILE_SIZE", 50)
    out = tmp_path / "speed"
    bench_captions.run(BenchCaptionsConfig(captions=captions, out=str(out), rounds=1, slow=5, total=100))
    results = json.loads((out / "bench.json").read_text())
    said = capsys.readouterr().out
    assert results["captions"] == 21
    assert results["count.captions"] == 100
    for side in ("default", "reference", "none", "count_text"):
        assert results[f"{side}.captions_per_second"] > 0
    assert "tagger=none" in said
    assert max(map(len, said.splitlines()[-10:-1])) <= 80


@pytest.mark.parametrize("content", [None, "", "\n\n"])
def test_speed_needs_captions(tmp_path, content):
    file = tmp_path / "captions.txt"
    if content is not None:
        file.write_text(content)
    for given in (None, str(file)):
        with pytest.raises(UserError, match="captions"):
            bench_captions.run(BenchCaptionsConfig(captions=given, out=str(tmp_path / "speed")))
    assert not (tmp_path / "speed").exists()

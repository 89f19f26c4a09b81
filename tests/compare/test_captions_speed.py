"""The measurements of speed: what is measured does what it says, and the figures say what was measured."""

import json
import time
from pathlib import Path

import pytest

from catclip.captions import SynsetExtractor
from catclip.compare import captions_speed
from catclip.compare.captions_speed import PublishedRule, counting_figures, labelling_figures, ratios
from catclip.compare.memory import PeakMemory

CAPTIONS = ["Two dogs on a couch.", "a hot dog and ice cream", "no 1 here"] * 5


@pytest.fixture
def nltk_data(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nltk

    monkeypatch.setattr(nltk.data, "path", [str(shared / "nltk_data")])


def test_the_published_rule_gives_the_published_labels(shared: Path, nltk_data: None):
    rule = PublishedRule()
    file = sorted((shared / "data" / "reference-labels").glob("*.jsonl"))[0]
    for line in file.read_text().splitlines()[:100]:
        row = json.loads(line)
        assert rule(row["caption"]) == row["wnids"]


def test_labelling_figures():
    sides = {"none": SynsetExtractor(tagger="none").extract_many}
    results = labelling_figures(CAPTIONS, sides, rounds=2, slow=3)
    assert {"default.captions_per_second", "none.captions_per_second", "none.spread"} <= results.keys()
    assert results["default.captions_per_second"] > 0
    results["published.captions_per_second"] = results["none.captions_per_second"] / 4
    assert ratios(results)["ratio.none_to_published"] == pytest.approx(4)


def test_without_the_published_rule_there_is_no_ratio():
    assert ratios({"default.captions_per_second": 10.0}) == {}


def test_counting_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(captions_speed, "_FILE_SIZE", 40)
    results = counting_figures(CAPTIONS, 80, tmp_path, workers=1)
    assert results["count.captions"] == 80
    assert results["count_text.captions_per_second"] > 0
    assert results["count_parquet.peak_memory_bytes"] > 1 << 20
    assert (tmp_path / "captions.txt").read_text().splitlines()[:2] == CAPTIONS[:2]


def test_peak_memory_sees_what_is_freed_again():
    with PeakMemory() as small:
        pass
    with PeakMemory() as large:
        block = b"x" * (200 << 20)
        time.sleep(0.5)
        del block
    assert small.peak is not None
    assert large.peak is not None
    assert large.peak - small.peak > 150 << 20

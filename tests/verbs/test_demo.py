"""The demo, on the tiny drawn data set."""

from dataclasses import fields
from pathlib import Path

import pytest

import catclip.verbs.compare as compare
from catclip.captions import Vocabulary
from catclip.config import DemoConfig, GlyphsConfig
from catclip.errors import UserError
from catclip.verbs import demo
from tests.verbs.test_compare import COSTS, config_for


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(compare, "measure_costs", lambda _: COSTS)
    monkeypatch.setattr(demo, "is_made", lambda *_: True)


def demo_config(glyphs: Path, out: Path, vocabulary: Path) -> DemoConfig:
    """Of two steps; the drawn pictures are there already."""
    comparison = config_for(glyphs, out, steps=2)
    comparison.data.vocabulary = str(vocabulary)
    comparison.objectives["categorical"]["vocabulary"] = str(vocabulary)
    groups = {field.name: getattr(comparison, field.name) for field in fields(comparison)}
    return DemoConfig(**groups, glyphs=GlyphsConfig(out=str(glyphs)), tau=2)


def test_it_ends_with_the_table_and_where_the_plot_is(glyphs, tmp_path, capsys):
    demo.run(demo_config(glyphs, tmp_path / "run", tmp_path / "vocab.tsv"))
    said = capsys.readouterr().out
    assert said.count("GFLOPs an image") == 1
    probe, table = said.index("A linear probe of"), said.index("GFLOPs an image")
    assert probe < table < said.index("compare.png") < said.index("your own shards")
    assert len(said[said.index("compare.png") :].splitlines()) < 6


def test_a_vocabulary_of_the_users_is_not_overwritten(glyphs, tmp_path):
    mine = tmp_path / "mine.tsv"
    Vocabulary.from_counts({"n02084071": 7}, {"tau": "1"}).save(mine)
    before = mine.read_bytes()
    with pytest.raises(UserError, match=r"data\.vocabulary=.*mine\.tsv holds other labels"):
        demo.run(demo_config(glyphs, tmp_path / "run", mine))
    assert mine.read_bytes() == before
    assert not (tmp_path / "run").exists()

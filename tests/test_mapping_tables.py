"""The tables of docs/transfer.md are what the figures on record say, and these what real captions give today."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("mapping_tables", ROOT / "scripts" / "write_mapping_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_has_the_figures_on_record(script):
    on_record = json.loads(script.RESULTS.read_text())
    assert script.text(on_record) in (ROOT / "docs" / "transfer.md").read_text()
    for task in script.TASKS:
        for vocabulary in ("tau=5", "tau=1", "tau=5,prune=rollup"):
            found = [on_record.get(f"{vocabulary}.{task}.{how}", 0) for how in ("exact", "rollup", "nearest", "none")]
            assert sum(found) == pytest.approx(1)


@pytest.mark.slow
def test_the_figures_on_record_are_todays(script, shared):
    on_record = json.loads(script.RESULTS.read_text())
    del on_record["commit"]
    assert script.figures(shared / "data" / "text", shared / "facts") == pytest.approx(on_record)

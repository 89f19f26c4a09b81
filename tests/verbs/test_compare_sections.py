"""`catclip compare`'s sections: measured once, kept, and refused where they make no sense."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from catclip.compare import parts
from catclip.compare.parts import PARTS
from catclip.config import CompareConfig, MeasureConfig, SensitivityConfig
from catclip.errors import UserError
from catclip.verbs import compare_sections
from catclip.verbs.compare import compare, show
from tests import tiny


def config_for(glyphs, out, sections, batch=8, **changes) -> CompareConfig:
    one = tiny.config("categorical", glyphs, batch=batch)
    named = {name: tiny.objective_config(name, glyphs) for name in tiny.OBJECTIVES}
    measure = MeasureConfig(sections=sections, **({"rounds": 2, "steps": 1} | changes))
    run = replace(one.run, out=str(out))
    return CompareConfig(
        one.data, one.backbone, named, one.optim, one.track, run, one.evaluators, compare=measure
    )  # fmt: skip


def quiet() -> Console:
    return Console(file=io.StringIO(), width=80)


@pytest.fixture
def memory(monkeypatch):
    """A process of its own for each measurement takes seconds."""
    monkeypatch.setattr(parts, "peak_memory_bytes", lambda config, _: 100 + len(config.objective))


def test_a_step_in_parts_beside_others(glyphs, tmp_path, memory, monkeypatch):
    config, out, console = config_for(glyphs, tmp_path / "run", ["step"]), tmp_path / "run", quiet()
    results = compare(config, console)
    show(results, out, console)
    for name in tiny.OBJECTIVES:
        times = [results[f"step.{name}.{part}.milliseconds"] for part in PARTS]
        assert sum(time > 0 for time in times) == len(PARTS) - (2 if name == "categorical" else 1)
        assert results[f"step.{name}.flops"] == sum(results[f"step.{name}.{part}.flops"] for part in PARTS)
        assert results[f"step.{name}.images_per_second"] == pytest.approx(8000 / results[f"step.{name}.milliseconds"])
        assert f"step.{name}.mfu" not in results  # of a CPU no peak rate is known
    assert results["step.timm.milliseconds"] > 0
    assert results["step.open_clip.milliseconds"] > 0
    assert results["step.ratio.contrastive_to_categorical.flops"] > 1
    assert "step.ratio.timm_to_categorical.milliseconds.verdict" in results
    written = json.loads((out / "compare.json").read_text())
    assert written.pop("environment")["versions"]["torch"]
    assert written.pop("environments")["step"]["commit"]
    assert written == json.loads(json.dumps(results, allow_nan=False))
    said = console.file.getvalue()
    assert "timm, dense targets ÷ categorical" in said
    assert max(map(len, said.splitlines())) <= 80

    def never(*_):
        raise AssertionError

    monkeypatch.setattr(compare_sections, "step_figures", never)
    assert compare(config, quiet()) == json.loads((out / "compare.json").read_text())
    with pytest.raises(UserError, match="another configuration"):
        compare(config_for(glyphs, out, ["step"], batch=4), quiet())


def test_another_section_joins_what_is_there(glyphs, tmp_path, monkeypatch):
    monkeypatch.setattr(compare_sections, "step_figures", lambda *_: {"step.x": 1})
    monkeypatch.setattr(compare_sections, "batch_figures", lambda *_: {"batch.x": 2})
    monkeypatch.setattr(compare_sections, "labeller_figures", lambda *_: {"labeller.note": "none"})
    out = tmp_path / "run"
    compare(config_for(glyphs, out, ["step"]), quiet())
    results = compare(config_for(glyphs, out, ["batch"], memory="1GB"), quiet())  # which steps know nothing of
    assert results["sections"] == ["step", "batch"]
    assert not (out / "compare.png").exists()  # accuracy against time, of which there is none
    assert " seed" not in (out / "compare.html").read_text()
    assert (results["step.x"], results["batch.x"], results["labeller.note"]) == (1, 2, "none")
    with pytest.raises(UserError, match=r"compare\.batch\.json was measured with another configuration"):
        compare(config_for(glyphs, out, ["step", "batch"], memory="2GB"), quiet())


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"sections": []}, "compare.sections is empty"),
        ({"sections": ["steps"]}, "compare.sections"),
        ({"sections": ["step"], "rounds": 0}, "compare.rounds=0"),
        ({"sections": ["step"], "sensitivity": SensitivityConfig(precision=["int8"])}, "int8"),
        ({"sections": ["step"], "sensitivity": SensitivityConfig(workers=[0, -1])}, r"sensitivity\.workers=\[0, -1\]"),
        ({"sections": ["step"], "sensitivity": SensitivityConfig(text_length=[0])}, r"sensitivity\.text_length=\[0\]"),
        ({"sections": ["step"], "sensitivity": SensitivityConfig(vocabulary=[-5])}, r"sensitivity\.vocabulary=\[-5\]"),
        ({"sections": ["step", "batch"], "memory": "much"}, "compare.memory=much is no size"),
    ],
)
def test_what_there_is_not_is_refused(glyphs, tmp_path, changes, wrong):
    with pytest.raises(UserError, match=wrong):
        compare(config_for(glyphs, tmp_path / "run", **changes), quiet())
    assert not (tmp_path / "run").exists()

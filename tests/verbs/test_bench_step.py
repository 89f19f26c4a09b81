"""`catclip bench step`: the table, bench.json, and what is refused."""

import json

import pytest

from catclip.compare.full_step import LIMITS
from catclip.config import BackboneConfig, BenchStepConfig
from catclip.errors import UserError
from catclip.verbs import bench_step
from tests import tiny


def config(tmp_path, **changes) -> BenchStepConfig:
    settings = {"batch": 4, "labels": 50, "precision": "fp32", "device": "cpu", "steps": 1, "rounds": 1, "bce_batch": 8}
    backbone = BackboneConfig("vit_tiny_patch16_224", tiny.SIZE, tiny.OPTIONS)
    return BenchStepConfig(backbone, dict(tiny.TEXT), **(settings | {"out": str(tmp_path / "out")} | changes))


def test_bench(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    # A process of its own for each memory takes seconds.
    monkeypatch.setattr(
        "catclip.compare.label_loss.in_fresh_process", lambda _, form, *__: {"ragged": 10}.get(form, 25)
    )
    bench_step.run(config(tmp_path))
    results = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert "versions" in results.pop("environment")
    assert not any(isinstance(value, (dict, list)) for value in results.values())
    for key, limit in LIMITS.items():
        assert results[key] > 0
        assert results[f"limit.{key}"] == limit
    assert results["ratio.bce_dense_to_ragged_peak_memory_bytes"] == 2.5
    assert results["images_per_second"] == pytest.approx(4000 / results["step.milliseconds"])
    assert "mfu" not in results  # of a CPU no peak rate is known
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines()[:5])) <= 80
    assert "timm's step" in said
    assert "25 bytes in place of 10 bytes" in said
    with pytest.raises(UserError, match="has results already"):
        bench_step.run(config(tmp_path))


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"batch": 0}, {"precision": "int8"}, {"device": "abacus"}])
def test_wrong_input_is_refused(tmp_path, wrong):
    ((key, value),) = wrong.items()
    with pytest.raises(UserError, match=f"{key}={value}"):
        bench_step.run(config(tmp_path, **wrong))

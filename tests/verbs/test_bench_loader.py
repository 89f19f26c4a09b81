"""`catclip bench loader`: the table, bench.json, shards made for it, and what is refused."""

import json
import re
from pathlib import Path

import pytest
import torch

from catclip.compare.loader import LIMITS, TARGETS, step_rate
from catclip.config import BenchLoaderConfig, DataConfig
from catclip.errors import UserError
from catclip.verbs import bench_loader
from tests.data.making import encode, picture, sample, write_shard


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    """Run it and return the figures of bench.json and what was printed."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(sources=None, **settings):
        given = {"size": 16, "batch": 4, "rounds": 1, "out": str(tmp_path / "out")} | settings
        bench_loader.run(BenchLoaderConfig(data=DataConfig(sources=sources), **given))
        return json.loads(Path(given["out"], "bench.json").read_text()), capsys.readouterr().out

    return run


@pytest.fixture
def shards(tmp_path: Path) -> str:
    (tmp_path / "shards").mkdir()
    for number in range(2):
        write_shard(tmp_path / "shards" / f"{number}.tar", *(sample(f"{row}", "a dog", row) for row in range(3)))
    return str(tmp_path / "shards" / "*.tar")


def test_given_shards(bench, shards):
    results, said = bench(shards)
    assert results["samples"] == 6
    assert (results["picture.median_width"], results["picture.median_height"]) == (40, 32)
    for key, value in (TARGETS | LIMITS).items():
        assert results[f"target.{key}"] == value
        assert results[key] > 0
    assert "versions" in results.pop("environment")
    assert all(isinstance(value, (int, float)) for value in results.values())
    assert max(map(len, said.splitlines()[:-1])) <= 80
    assert re.search(r"crop 0\.08–1 +\d+\.\d\d +≥ 2 .*%", said)
    # A label each, and 1,025 offsets, of 8 bytes.
    assert "Labels of 1,024 pictures: 16.4 kB as ids, 99.6 MB as 24,320 numbers each." in said


def test_a_folder_is_packed_and_repeated(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(bench_loader, "_SAMPLES", 7)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(3):
        (folder / f"{seed}.jpg").write_bytes(encode(picture(seed, 90, 70)))
        (folder / f"{seed}.txt").write_text("a dog on a couch")
    before = sorted(path.name for path in folder.iterdir())
    results, said = bench(pictures=str(folder))
    assert results["samples"] == 9
    assert results["picture.median_width"] == 90
    assert "9 pictures of 90 × 70 pixels" in said
    assert results["batch.labels"] == 2 * 1024
    assert sorted(path.name for path in folder.iterdir()) == before


def test_cores_that_feed_a_gpu(bench, shards, tmp_path):
    results, said = bench(shards, gpu_images_per_second=5000)
    assert results["gpu.cores"] == 5000 / results["crop_08.images_per_second"]
    assert results["gpu.cores_undecoded"] == 5000 / results["undecoded.images_per_second"]
    assert f"fed by {results['gpu.cores']:.1f} cores" in said
    if not torch.cuda.is_available():
        without, said = bench(shards, out=str(tmp_path / "without"))
        assert not any(key.startswith(("gpu", "undecoded")) for key in without)
        assert "GPU" not in said


def test_the_rate_of_a_step():
    assert step_rate("vit_tiny_patch16_224", 32, 2, torch.device("cpu")) > 0


def test_wrong_input_is_refused(bench, shards, tmp_path):
    with pytest.raises(UserError, match="Give shards"):
        bench()
    with pytest.raises(UserError, match="Give shards"):
        bench(shards, pictures=str(tmp_path))
    with pytest.raises(UserError, match="gpu_images_per_second=0"):
        bench(shards, gpu_images_per_second=0)
    with pytest.raises(UserError, match="rounds=0"):
        bench(shards, rounds=0)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "bench.json").write_text("{}")
    with pytest.raises(UserError, match="has results already"):
        bench(shards)

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catclip.compare.results import collect, seconds_to


def test_seconds_to_by_hand():
    seconds, accuracies = [0.0, 10.0, 20.0, 30.0], [0.1, 0.3, 0.2, 0.6]
    assert seconds_to(0.1, seconds, accuracies) == 0.0
    assert seconds_to(0.2, seconds, accuracies) == pytest.approx(5.0)
    assert seconds_to(0.3, seconds, accuracies) == pytest.approx(10.0)
    assert seconds_to(0.5, seconds, accuracies) == pytest.approx(27.5)
    assert seconds_to(0.7, seconds, accuracies) is None
    assert seconds_to(0.5, [], []) is None


curves = st.lists(st.tuples(st.floats(0.01, 100), st.floats(0, 1)), min_size=1, max_size=12)


@given(curves, st.floats(0, 1))
def test_seconds_to_is_the_first_crossing_of_straight_lines(points, accuracy):
    seconds, clock = [], 0.0
    for pause, _ in points:
        clock += pause
        seconds.append(clock)
    accuracies = [value for _, value in points]
    found = seconds_to(accuracy, seconds, accuracies)
    reached = [index for index, value in enumerate(accuracies) if value >= accuracy]
    if not reached:
        assert found is None
        return
    first = reached[0]
    assert found is not None
    if first == 0:
        assert found == seconds[0]
        return
    assert seconds[first - 1] <= found <= seconds[first] * (1 + 1e-9)
    # On the line between the two points, the accuracy at that time is the one asked for.
    share = (found - seconds[first - 1]) / (seconds[first] - seconds[first - 1])
    value = accuracies[first - 1] + share * (accuracies[first] - accuracies[first - 1])
    assert value == pytest.approx(accuracy, abs=1e-6)


def fake_run(folder: Path, name: str, curve: list[tuple[float, float]], **figures):
    """What `collect` looks at of a finished run."""
    path = folder / name
    path.mkdir()
    rows: list[dict] = [{"step": 1, "samples": 8, "seconds": 0.5, "loss": 3.0}]
    rows += [{"step": i, "samples": 8 * i, "seconds": s, "probe_accuracy": a} for i, (s, a) in enumerate(curve)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = {"name": name, "steps": 9, "images_per_second": 100.0, "step_milliseconds": 80.0, **figures}
    return SimpleNamespace(name=name, folder=SimpleNamespace(path=path), summary=lambda: dict(summary))


@pytest.fixture
def runs(tmp_path):
    return [
        fake_run(tmp_path, "categorical", [(0, 0.1), (10, 0.5), (20, 0.7)], map=0.4, images_per_second=200.0),
        fake_run(tmp_path, "contrastive", [(0, 0.1), (30, 0.4), (60, 0.6), (90, 0.5)], parameters=300),
    ]


COSTS = {
    "categorical": {"flops_per_image": 2e9, "peak_memory_bytes": 1000},
    "contrastive": {"flops_per_image": 3e9, "peak_memory_bytes": 2500},
}


def test_collect_by_hand(runs):
    results = collect(runs, COSTS)
    assert results["objectives"] == ["categorical", "contrastive"]
    assert results["categorical.map"] == 0.4
    assert "contrastive.map" not in results
    assert results["contrastive.parameters"] == 300
    assert results["ratio.images_per_second"] == 0.5
    assert results["ratio.flops_per_image"] == 1.5
    assert results["ratio.peak_memory_bytes"] == 2.5
    assert results["ratio.step_milliseconds"] == 1.0
    assert "ratio.parameters" not in results  # only one of them has it
    assert results["contrastive.curve_seconds"] == [0, 30, 60, 90]
    assert results["contrastive.curve_samples"] == [0, 8, 16, 24]
    assert results["contrastive.curve_probe_accuracy"] == [0.1, 0.4, 0.6, 0.5]
    # The second's best is .6, after 60 s; the first crossed .6 half-way between 10 and 20 s.
    assert results["ratio.seconds_to_probe_accuracy"] == pytest.approx(60 / 15)
    assert all(key == "objectives" or key.split(".")[0] in ("categorical", "contrastive", "ratio") for key in results)


def test_no_ratio_of_times_where_the_first_never_gets_there(tmp_path):
    first = fake_run(tmp_path, "first", [(0, 0.1), (10, 0.2)])
    second = fake_run(tmp_path, "second", [(0, 0.1), (10, 0.3)])
    costs = {"first": COSTS["categorical"], "second": COSTS["contrastive"]}
    assert "ratio.seconds_to_probe_accuracy" not in collect([first, second], costs)


def test_no_ratio_of_times_where_the_second_was_best_untrained(tmp_path):
    first = fake_run(tmp_path, "first", [(0, 0.4), (10, 0.5)])
    second = fake_run(tmp_path, "second", [(0, 0.4), (10, 0.3)])
    costs = {"first": COSTS["categorical"], "second": COSTS["contrastive"]}
    assert "ratio.seconds_to_probe_accuracy" not in collect([first, second], costs)


def test_one_objective_has_no_ratios(runs):
    results = collect(runs[:1], COSTS)
    assert results["objectives"] == ["categorical"]
    assert not any(key.startswith("ratio") for key in results)


def test_without_a_probe_there_are_no_curves(tmp_path):
    results = collect([fake_run(tmp_path, "categorical", [])], COSTS)
    assert not any("curve" in key for key in results)

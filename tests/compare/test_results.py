import json
import math
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catclip.compare.results import collect, crossing
from catclip.compare.words import sentences


def test_crossing_by_hand():
    seconds, accuracies = [0.0, 10.0, 20.0, 30.0], [0.1, 0.3, 0.2, 0.6]
    assert crossing(0.1, seconds, accuracies) == 0.0
    assert crossing(0.2, seconds, accuracies) == pytest.approx(5.0)
    assert crossing(0.3, seconds, accuracies) == pytest.approx(10.0)
    assert crossing(0.5, seconds, accuracies) == pytest.approx(27.5)
    assert crossing(0.7, seconds, accuracies) is None
    assert crossing(0.5, [], []) is None


curves = st.lists(st.tuples(st.floats(0.01, 100), st.floats(0, 1)), min_size=1, max_size=12)


@given(curves, st.floats(0, 1))
def test_crossing_is_the_first_crossing_of_straight_lines(points, accuracy):
    seconds, clock = [], 0.0
    for pause, _ in points:
        clock += pause
        seconds.append(clock)
    accuracies = [value for _, value in points]
    found = crossing(accuracy, seconds, accuracies)
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


def fake_run(folder: Path, name: str, curve: list[tuple[float, float]], seed: int = 0, **figures) -> Path:
    """What `collect` looks at of a finished run."""
    path = folder / f"seed-{seed}" / name
    path.mkdir(parents=True)
    settings: dict = {"backbone": {}, "objective": {}, "optim": {}, "run": {"seed": seed}}
    (path / "config.yaml").write_text(json.dumps(settings))
    rows: list[dict] = [{"step": 1, "samples": 8, "seconds": 0.5, "loss": 3.0}]
    rows += [{"step": i, "samples": 8 * i, "seconds": s, "probe_accuracy": a} for i, (s, a) in enumerate(curve)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = {"name": name, "steps": 9, "images_per_second": 100.0, "step_milliseconds": 80.0, **figures}
    (path / "summary.json").write_text(json.dumps(summary))
    return path


@pytest.fixture
def runs(tmp_path):
    first = fake_run(tmp_path, "categorical", [(0, 0.1), (10, 0.5), (20, 0.7)], map=0.4, images_per_second=200.0)
    second = fake_run(tmp_path, "contrastive", [(0, 0.1), (30, 0.4), (60, 0.6), (90, 0.5)], parameters=300)
    return {"categorical": [first], "contrastive": [second]}


COSTS = {
    "categorical": {"flops_per_image": 2e9, "peak_memory_bytes": 1000},
    "contrastive": {"flops_per_image": 3e9, "peak_memory_bytes": 2500},
}


def test_collect_by_hand(runs):
    results = collect(runs, COSTS)
    assert results["objectives"] == ["categorical", "contrastive"]
    assert results["seeds"] == [0]
    assert results["categorical.map"] == 0.4
    assert "contrastive.map" not in results
    assert results["contrastive.parameters"] == 300
    assert results["ratio.images_per_second"] == 0.5
    assert results["ratio.flops_per_image"] == pytest.approx(1.5)
    assert results["ratio.peak_memory_bytes"] == pytest.approx(2.5)
    assert results["ratio.step_milliseconds"] == 1.0
    assert "ratio.parameters" not in results  # only one of them has it
    assert results["contrastive.curve_probe_accuracy_seconds"] == [0, 30, 60, 90]
    assert results["contrastive.curve_probe_accuracy_samples"] == [0, 8, 16, 24]
    assert results["contrastive.curve_probe_accuracy_flops"] == [0, 24e9, 48e9, 72e9]
    assert results["contrastive.curve_probe_accuracy"] == [0.1, 0.4, 0.6, 0.5]
    # The second's best is .6, after 60 s and 16 pictures; the first crossed .6 half-way between 10 and 20 s, 8 and 16.
    assert results["ratio.seconds_to_probe_accuracy"] == pytest.approx(60 / 15)
    assert results["ratio.samples_to_probe_accuracy"] == pytest.approx(16 / 12)
    assert results["ratio.flops_to_probe_accuracy"] == pytest.approx(16 * 3 / (12 * 2))
    assert results["contrastive.seconds_to_probe_accuracy"] == 60
    # Of one seed no spread is known.
    assert not any(key.endswith((".spread", ".low", ".high")) for key in results)


def test_over_seeds_by_hand(tmp_path):
    first = [
        fake_run(tmp_path, "a", [(0, 0.1), (end / 2, 0.3), (end, 0.5)], seed) for seed, end in enumerate((10, 11, 12))
    ]
    second = [fake_run(tmp_path, "b", [(0, 0.1), (end, best)], seed)
              for seed, (end, best) in enumerate(((40, 0.5), (44, 0.3), (48, 0.5)))]  # fmt: skip
    costs = {"a": COSTS["categorical"], "b": COSTS["contrastive"]}
    results = collect({"a": first, "b": second}, costs)
    assert results["seeds"] == [0, 1, 2]
    assert results["a.curve_probe_accuracy_seconds"] == [0, 5.5, 11]
    assert results["b.curve_probe_accuracy"] == [pytest.approx(0.1), pytest.approx(1.3 / 3)]
    assert results["b.curve_probe_accuracy.spread"] == [
        pytest.approx(0),
        pytest.approx(statistics.stdev([0.5, 0.3, 0.5])),
    ]
    # Each seed against its own baseline: 40 / 10, 44 / 5.5, 48 / 12.
    logs = [math.log(4), math.log(8), math.log(4)]
    half = 4.302653 * statistics.stdev(logs) / math.sqrt(3)  # of a t table: two degrees of freedom, 95 %
    assert results["ratio.seconds_to_probe_accuracy.low"] == pytest.approx(
        math.exp(statistics.fmean(logs) - half), 1e-6
    )
    assert results["ratio.seconds_to_probe_accuracy.high"] == pytest.approx(
        math.exp(statistics.fmean(logs) + half), 1e-6
    )
    assert "ratio.seconds_to_probe_accuracy" not in results  # too wide to print
    assert results["ratio.flops_per_image"] == pytest.approx(1.5)  # the same for all seeds
    assert results["reached.probe_accuracy"] == 1


def test_no_ratio_where_one_seed_never_gets_there(tmp_path):
    first = [fake_run(tmp_path, "a", [(0, 0.1), (10, best)], seed) for seed, best in enumerate((0.5, 0.2))]
    second = [fake_run(tmp_path, "b", [(0, 0.1), (20, 0.4)], seed) for seed in range(2)]
    results = collect({"a": first, "b": second}, {"a": COSTS["categorical"], "b": COSTS["contrastive"]})
    assert results["reached.probe_accuracy"] == 0.5
    assert not any(key.startswith("ratio.seconds_to") for key in results)


def test_no_ratio_where_it_was_passed_before_the_first_evaluation(tmp_path):
    first = fake_run(tmp_path, "first", [(0, 0.1), (10, 0.5), (20, 0.6)])
    costs = {"first": COSTS["categorical"], "second": COSTS["contrastive"]}
    second = fake_run(tmp_path, "second", [(0, 0.1), (25, 0.2), (50, 0.4)])
    results = collect({"first": [first], "second": [second]}, costs)
    assert results["too_coarse.probe_accuracy"]
    # The second got to .4 somewhere between 25 and 50 s, 8 and 16 pictures; the first before 10 s, and before 8.
    bounds = {key: value for key, value in results.items() if "_to_probe_accuracy" in key}
    assert bounds == {"at_least.seconds_to_probe_accuracy": 2.5}
    # Best at its first evaluation after the start, it may have been there at once.
    second = fake_run(tmp_path, "another", [(0, 0.1), (25, 0.4), (50, 0.3)])
    results = collect({"first": [first], "second": [second]}, costs)
    assert results["too_coarse.probe_accuracy"]
    assert not any("_to_probe_accuracy" in key for key in results)


def test_further_objectives_are_compared_too(tmp_path):
    curves = {"a": [(0, 0.1), (10, 0.2), (20, 0.6)], "b": [(0, 0.1), (20, 0.2), (40, 0.4)],
              "c": [(0, 0.1), (30, 0.2), (50, 0.4)]}  # fmt: skip
    runs = {name: [fake_run(tmp_path, name, curve, probe_accuracy=0.4)] for name, curve in curves.items()}
    costs = {
        name: {"flops_per_image": flops, "peak_memory_bytes": 1.0} for name, flops in zip("abc", (1, 2, 4), strict=True)
    }
    results = collect(runs, costs)
    assert results["ratio.seconds_to_probe_accuracy"] == pytest.approx(40 / 15)
    assert results["beside.c.ratio.seconds_to_probe_accuracy"] == pytest.approx(40 / 50)
    assert results["c.seconds_to_probe_accuracy"] == 50
    assert (results["ratio.flops_per_image"], results["beside.c.ratio.flops_per_image"]) == (2, 4)
    assert "c.flops_per_image.spread" not in results  # measured once
    text = " ".join(sentences(results))
    assert "To the best of b, b needs 2.67× the time that a needs." in text
    assert "To the best of b, c needs 1.25× the time that b needs." in text


def test_no_ratio_of_times_where_the_second_was_best_untrained(tmp_path):
    first = fake_run(tmp_path, "first", [(0, 0.4), (10, 0.5)])
    second = fake_run(tmp_path, "second", [(0, 0.4), (10, 0.3)])
    costs = {"first": COSTS["categorical"], "second": COSTS["contrastive"]}
    results = collect({"first": [first], "second": [second]}, costs)
    assert results["untrained.probe_accuracy"]
    assert not any("_to_probe_accuracy" in key or key.startswith("too_coarse") for key in results)


@pytest.mark.parametrize("labels", [54, 60])
def test_mean_average_precisions_of_other_labels_are_not_set_against_each_other(tmp_path, labels):
    runs = {}
    for name, seconds, own in (("a", 10, 54), ("b", 20, labels)):
        path = fake_run(tmp_path, name, [(0, 0.1), (seconds, 0.4)], labels_evaluated=own, map_prior=0.03, map=0.4)
        rows = (path / "metrics.jsonl").read_text().replace("probe_accuracy", "map")
        (path / "metrics.jsonl").write_text(rows.replace("0.4}", "0.4}\n"))
        runs[name] = [path]
    results = collect(runs, {"a": COSTS["categorical"], "b": COSTS["contrastive"]})
    assert ("ratio.seconds_to_map" in results) == (labels == 54)
    assert any("Their labels are not the same" in each for each in sentences(results)) == (labels == 60)


def test_one_objective_has_no_ratios(runs):
    results = collect({"categorical": runs["categorical"]}, COSTS)
    assert results["objectives"] == ["categorical"]
    assert not any(key.startswith("ratio") for key in results)


def test_without_a_probe_there_are_no_curves(tmp_path):
    results = collect({"categorical": [fake_run(tmp_path, "categorical", [])]}, COSTS)
    assert not any("curve" in key for key in results)

import json
from types import SimpleNamespace

import pytest
from PIL import Image
from rich.console import Console

from catclip.compare.label_efficiency import efficiency_figure, efficiency_table, lines
from catclip.compare.sweep import configurations, find_runs
from catclip.verbs.compare_runs import compare_runs
from tests.compare.test_sweep import write_run

VALUES = {
    ("transfer", 0.1): [0.5, 0.7],
    ("transfer", 1.0): [0.8, 0.8],
    ("random", 0.1): [0.2, 0.3],
    ("random", 1.0): [0.8],
}


@pytest.fixture
def sweep(tmp_path):
    for (init, fraction), values in VALUES.items():
        for seed, value in enumerate(values):
            folder = tmp_path / "runs" / f"{init},{fraction},{seed}"
            write_run(folder, [0.1], run__seed=seed, init=init, data={"fraction": fraction})
            (folder / "summary.json").write_text(json.dumps({"top_1": value, "seconds": 1.0}))
    write_run(tmp_path / "runs" / "unfinished", [0.1], False, run__seed=1, init="random", data={"fraction": 1.0})
    return tmp_path


def test_lines_by_hand(sweep):
    made = configurations(find_runs(str(sweep / "runs")))
    assert efficiency_figure(made) == "top_1"
    found = {line.name: line for line in lines(made, "top_1")}
    assert found.keys() == {"init=transfer", "init=random"}
    for init in ("transfer", "random"):
        values = {fraction: sorted(own) for (each, fraction), own in VALUES.items() if each == init}
        assert {fraction: sorted(own) for fraction, own in found[f"init={init}"].values.items()} == values
        assert list(found[f"init={init}"].values) == [0.1, 1.0]
    assert found["init=transfer"].means() == pytest.approx([0.6, 0.8])
    assert found["init=transfer"].spreads() == pytest.approx([0.02**0.5, 0])
    assert found["init=random"].spreads()[1] is None


def test_files_and_table(sweep, capsys):
    config = SimpleNamespace(runs=str(sweep / "runs"), run=SimpleNamespace(out=str(sweep / "out")))
    for _ in range(2):  # again each time
        compare_runs(config, Console(width=80, highlight=False))
    said = capsys.readouterr().out
    for part in ("10 %", "100 %", "0.600 ±0.141", "0.800", "label_efficiency.png"):
        assert part in said
    results = json.loads((sweep / "out" / "compare.json").read_text())
    assert results["label_efficiency.init=random.fractions"] == [0.1, 1.0]
    assert results["label_efficiency.init=random.top_1"] == pytest.approx([0.25, 0.8])
    assert results["label_efficiency.init=random.runs"] == [2, 1]
    with Image.open(sweep / "out" / "label_efficiency.png") as drawn:
        assert drawn.width > 500


def test_runs_of_one_fraction_have_no_such_plot(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / str(seed), [0.1], run__seed=seed, data={"fraction": 0.5})
    assert efficiency_figure(configurations(find_runs(str(tmp_path)))) is None


def test_a_fraction_alone_is_one_line(tmp_path):
    for fraction in (0.1, 1.0):
        write_run(tmp_path / str(fraction), [0.1], data={"fraction": fraction})
        (tmp_path / str(fraction) / "summary.json").write_text(json.dumps({"map": fraction}))
    made = configurations(find_runs(str(tmp_path)))
    (line,) = lines(made, "map")
    assert line.values == {0.1: [0.1], 1.0: [1.0]}
    assert len(efficiency_table([line], "map").rows) == 2

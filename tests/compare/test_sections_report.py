import io

import pytest
from rich.console import Console

from catclip.compare.parts import PARTS
from catclip.compare.ratios import ratio_figures
from catclip.compare.sections_report import section_grids, to_table

NAMES = ["categorical", "contrastive"]
STEADY, NOISY = [1.0, 1.01, 1.0, 0.99, 1.0], [0.5, 2.0, 0.4, 3.0, 1.0]


def everything() -> dict:
    """Made-up figures of every section, the steps' times steady and the memory's not."""
    figures = {"objectives": NAMES, "step.batch": 1024, "step.precision": "bf16", "batch.memory_bytes": 2**34}
    figures |= {"scaling.measured_ranks": [1, 2], "scaling.gpus": [8, 1024], "scaling.bandwidth": 50e9}
    figures |= {"scaling.batch_per_rank": 256, "labeller.note": "NLTK's data are missing"}
    figures |= ratio_figures("step.ratio.timm_to_categorical.milliseconds", [2 * each for each in STEADY], STEADY)
    figures |= ratio_figures("step.ratio.contrastive_to_categorical.milliseconds", STEADY, STEADY)
    figures |= ratio_figures("step.ratio.contrastive_to_categorical.peak_memory_bytes", NOISY, STEADY)
    figures |= ratio_figures("batch.ratio.contrastive_to_categorical.images_per_second", NOISY, STEADY)
    for name in NAMES:
        figures |= {f"step.{name}.{part}.{unit}": 1e9 for part in PARTS for unit in ("milliseconds", "flops", "bytes")}
        figures |= {f"step.{name}.{key}": 0.5 for key in ("milliseconds", "milliseconds.spread", "images_per_second")}
        figures |= {f"step.{name}.peak_memory_bytes": 2**31, f"step.{name}.flops_per_second": 5e11}
        figures |= {f"batch.{name}.largest": 1024, f"batch.{name}.limited_by": "memory"}
        figures |= {f"batch.{name}.images_per_second": 100.0, f"batch.{name}.images_per_second.spread": 0.1}
        for count in (1, 2):
            figures |= {f"scaling.{name}.seconds_at_{count}": 0.25, f"scaling.{name}.bytes_per_step_at_{count}": 2**20}
            figures |= {f"scaling.{name}.communication_seconds_at_{count}{end}": 0.1 for end in ("", ".low", ".high")}
        figures |= {f"scaling.{name}.communication_error_at_2": -0.25, f"scaling.{name}.bytes_error_at_2": 0.0}
        for count in (8, 1024):
            figures[f"scaling.{name}.predicted_images_per_second_at_{count}"] = 1000.0 * count
            figures[f"scaling.{name}.predicted_gpu_hours_per_billion_at_{count}"] = 278.0
        for key in ("", ".vocabulary=250000"):
            figures |= {f"sensitivity.{name}{key}.milliseconds": 1e5, f"sensitivity.{name}{key}.peak_memory_bytes": 1e9}
        ratio = f"sensitivity.{name}.vocabulary=250000.milliseconds.ratio"
        figures |= ratio_figures(ratio, [2.5 * each for each in STEADY], STEADY)
        figures[f"sensitivity.{name}.compile=true.note"] = "no compiler"
    return figures


@pytest.fixture(scope="module")
def cells() -> dict[str, dict[str, list[str]]]:
    """By the tables' titles and the rows' names."""
    return {grid.title: {row[0]: row[1:] for row in grid.rows} for grid in section_grids(everything())}


def test_a_ratio_only_where_the_rounds_support_it(cells):
    rows = cells["Steps side by side"]
    assert rows["timm, dense targets ÷ categorical"] == ["2.00×", "", ""]
    time, memory, _ = rows["contrastive ÷ categorical"]
    assert time == "equal (1.00–1.00×)"
    assert memory.startswith("unclear (")
    assert rows["captions/s: default ÷ published"][0] == "not measured"
    assert cells["Sensitivities of categorical"]["vocabulary=250000"][1] == "2.50×"
    assert cells["Sensitivities of contrastive"]["compile=true"][0] == "not measured"


def test_predictions_are_called_so(cells):
    (rows,) = (rows for title, rows in cells.items() if title.startswith("Ranks of 256"))
    assert rows["ms a step, 1 rank"] == ["250.0", "250.0"]
    assert rows["  MiB sent by a rank"] == ["1.00", "1.00"]
    assert rows["  the model's communication is off by"] == ["-25%", "-25%"]
    assert rows["  the model's MiB is off by"] == ["+0%", "+0%"]
    assert rows["PREDICTED images/s, 1,024"] == ["1,024,000", "1,024,000"]
    assert all(each.strip().startswith("PREDICTED") for each in rows if "images/s" in each or "hours" in each)


def test_every_table_is_at_most_80_wide():
    console = Console(file=io.StringIO(), width=200)
    for grid in section_grids(everything()):
        console.print(to_table(grid), width=80)
        assert len(to_table(grid).columns) == len(grid.head)
    said = console.file.getvalue()
    assert max(map(len, said.splitlines())) <= 80
    assert "…" not in said


def test_what_was_not_measured_has_no_table():
    assert section_grids({"objectives": NAMES}) == []

import io

import pytest
from PIL import Image
from rich.console import Console

from catclip.compare.report import ROWS, plot, table

FIGURES = {
    "images_per_second": 12345.6, "step_milliseconds": 1234.5, "peak_memory_bytes": 75 * 2**30, "parameters": 632.1e6,
    "flops_per_image": 334.56e9, "map": 0.123, "map_prior": 0.031, "precision_at_1": 0.456,
    "image_to_text_recall_at_1": 0.111, "image_to_text_recall_at_10": 0.222, "text_to_image_recall_at_10": 0.333,
    "probe_accuracy": 0.789, "zeroshot_top_1": 0.345, "retrieval_recall_at_1": 0.012, "retrieval_recall_at_10": 0.144,
}  # fmt: skip


def results(*names: str) -> dict:
    flat: dict = {"objectives": list(names)}
    for name in names:
        flat |= {f"{name}.{key}": value for key, value in FIGURES.items()}
        flat[f"{name}.curve_probe_accuracy_seconds"] = [0.0, 50.0, 100.0]
        flat[f"{name}.curve_probe_accuracy_samples"] = [0, 500, 1000]
        flat[f"{name}.curve_probe_accuracy"] = [0.1, 0.5, 0.789]
    costs = ("images_per_second", "step_milliseconds", "peak_memory_bytes", "parameters", "flops_per_image")
    return flat | dict.fromkeys((f"ratio.{key}" for key in costs), 123.45) | {"ratio.seconds_to_probe_accuracy": 12.3}


def rendered(figures: dict) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=80).print(table(figures))
    return out.getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize("names", [("categorical", "contrastive"), ("a", "b"), ("a" * 30, "b" * 30)])
def test_table_of_two_fits_in_80_columns_and_crops_nothing(names):
    lines = rendered(results(*names))
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    # Every figure, the untrained probe, and the time to accuracy, none of them broken into two lines.
    rows = next(index for index, line in enumerate(lines) if line.startswith("images a second"))
    assert len(lines) == rows + len(ROWS) + 2
    text = "\n".join(lines)
    for shown in (
        "12,346",
        "1,234.5",
        "75.00 GiB",
        "632.1 M",
        "334.56",
        "0.123",
        "0.789",
        "123.45×",
        "12.30×",
        "0.100",
    ):
        assert shown in text
    for label, _, _ in ROWS:
        assert any(line.strip().startswith(label.strip()) for line in lines)


def test_table_of_one_has_no_ratio():
    figures = {key: value for key, value in results("categorical").items() if not key.startswith("ratio")}
    lines = rendered(figures)
    assert "÷" not in lines[0]
    assert max(map(len, lines)) <= 80


def test_table_of_three_fits_too():
    lines = rendered(results("categorical", "contrastive", "siglip"))
    assert max(map(len, lines)) <= 80
    assert len(lines) == 1 + len(ROWS) + 2


def test_table_leaves_out_what_nobody_measured():
    figures = {"objectives": ["a", "b"], "a.map": 0.5, "a.images_per_second": 10.0, "b.images_per_second": 5.0}
    text = "\n".join(rendered(figures))
    assert "held-out mAP" in text
    assert "probe" not in text
    assert "recall" not in text


@pytest.mark.parametrize("names", [("categorical",), ("categorical", "contrastive"), ("a", "b", "c")])
def test_plot_writes_a_picture(names, tmp_path):
    plot(results(*names), tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        picture.load()
        assert picture.format == "PNG"
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(10**6)) > 50


def test_plot_without_a_probe_says_how_to_get_one(tmp_path):
    figures = {key: value for key, value in results("a", "b").items() if "curve" not in key}
    plot(figures, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        picture.verify()


def test_plot_without_any_figure_is_still_a_plot(tmp_path):
    plot({"objectives": ["a"]}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 0

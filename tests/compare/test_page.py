import re

import pytest
from PIL import Image

from catclip.compare.page import write_page
from catclip.compare.plots import PARTS, drawn, write_pngs
from catclip.compare.results import BUDGETS, LEARNED
from tests.browser import browse
from tests.compare.test_report import results

ENVIRONMENT = {
    "cpu": "a </p><script>",
    "cores": 2,
    "versions": {"torch": "2"},
    "torch_threads": 1,
    "commit": "abcdef01234",
}
GPUS = [1, 8, 64]


def everything() -> dict:
    figures = results("categorical", "contrastive<b>") | {"seeds": [0, 1], "step.batch": 8, "scaling.gpus": GPUS}
    figures |= {"scaling.measured_ranks": [1, 2], "scaling.bandwidth": 50e9, "scaling.batch_per_rank": 8}
    figures["step.precision"] = "bf16"
    for name in figures["objectives"]:
        figures[f"{name}.curve_probe_accuracy.spread"] = [0.0, 0.1, 0.05]
        figures[f"{name}.curve_probe_accuracy_flops"] = [0, 1e12, 2e12]
        units = ("milliseconds", "flops", "bytes")
        figures |= {f"step.{name}.{part}.{unit}": 3.0 for part in PARTS for unit in units}
        figures |= {f"scaling.{name}.predicted_images_per_second_at_{count}": 10.0 * count for count in GPUS}
        figures |= {f"scaling.{name}.predicted_gpu_hours_per_billion_at_{count}": 1.5 for count in GPUS}
        figures |= {f"scaling.{name}.seconds_at_{count}": 0.5 for count in (1, 2)}
        figures |= {f"scaling.{name}.bytes_per_step": 1e6, f"scaling.{name}.bytes_per_step_at_2": 1e6}
        figures |= {f"scaling.{name}.communication_seconds_at_2{end}": 0.1 for end in ("", ".low", ".high")}
    return figures


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    figures = drawn(everything())
    write_pngs(figures, folder)
    write_page(everything(), ENVIRONMENT, figures, folder / "compare.html")
    return folder


def test_a_plot_of_everything_measured_and_of_nothing_else(page):
    expected = {
        "probe-accuracy-seconds",
        "probe-accuracy-samples",
        "probe-accuracy-flops",
        "step-time",
        "memory",
        "scaling",
    }
    assert {path.stem.removeprefix("compare-") for path in page.glob("*.png")} == expected
    for path in page.glob("*.png"):
        with Image.open(path) as picture:
            assert picture.width > 900
    assert drawn({"objectives": ["a"]}) == {}


def test_every_figure_that_is_learned_has_its_plot_and_caption(tmp_path):
    figures = {"objectives": ["a", "b"]}
    for figure in LEARNED:
        for budget in BUDGETS:
            figures |= {f"a.curve_{figure}": [0.1, 0.2], f"a.curve_{figure}_{budget}": [0.0, 1.0]}
    plots = drawn(figures)
    assert {f"{figure}-seconds".replace("_", "-") for figure in LEARNED} <= set(plots)
    write_page(figures, ENVIRONMENT, plots, tmp_path / "compare.html")
    assert (tmp_path / "compare.html").read_text().count("<figcaption>") == len(plots)


def test_names_and_machines_are_text_and_nothing_is_asked_of_the_network(page):
    text = (page / "compare.html").read_text()
    assert "<script" not in text
    assert "contrastive<b>" not in text
    assert not re.findall(r"(?:src|href)=[\"'](?!data:|#)", text.replace("xlink:href", "href"))
    assert "{{" not in text


def test_predictions_are_labelled_on_the_page(page):
    text = (page / "compare.html").read_text()
    assert "PREDICTED" in text
    assert "Prediction, not measured" in text


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_narrow_and_wide_windows_in_light_and_dark(page, dark):
    with browse() as tab:
        columns = {}
        for width in (360, 1200):
            tab.open((page / "compare.html").as_uri(), width, 800, dark)
            assert tab.run("document.documentElement.scrollWidth") == width
            columns[width] = tab.run(
                "getComputedStyle(document.querySelector('.plots')).gridTemplateColumns.split(' ').length"
            )
            ink = tab.run("getComputedStyle(document.querySelector('figure svg text')).fill")
            channels = [int(each) for each in re.findall(r"\d+", ink)[:3]]
            assert (sum(channels) > 500) == dark  # what is written can be read on its ground
        assert columns == {360: 1, 1200: 2}
        assert tab.errors == []
        assert {url.split(":")[0] for url in tab.requests} <= {"file", "data"}

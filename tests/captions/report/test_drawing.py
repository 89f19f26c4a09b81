"""The drawings: what they show, and that nothing in them hides something else."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from catclip.captions.report.coverage import coverage_of, coverages
from catclip.captions.report.drawing import draw, make_figure
from tests.captions.report.making import captions, corpus_of, large_corpus

TAUS = (5, 10, 20, 50, 100, 500)
CHOICES = [{"tau": 5, "how": "rollup"}, {"top_k": 3, "exclude": ["dog.n.01"]}]


@pytest.fixture(scope="module")
def counted():
    return corpus_of(captions(400))


def titles(panel):
    return [panel.get_title(loc) for loc in ("left", "right")]


@pytest.mark.parametrize("choice", CHOICES)
def test_what_is_shown(counted, choice):
    corpus, whole = counted
    vocabulary = whole.prune(**choice)
    own = coverage_of(corpus, vocabulary)
    ranks, sizes, lengths, covered = make_figure(corpus, vocabulary, TAUS).axes
    assert ranks.lines[0].get_ydata().tolist() == sorted(whole.counts, reverse=True)
    if vocabulary.rollup:
        assert ranks.lines[1].get_ydata().tolist() == vocabulary.counts
    assert titles(sizes) == ["Size of the vocabulary", f"τ = {own.tau}: {len(vocabulary)} labels"]
    assert titles(covered)[1] == f"τ = {own.tau}: {own.captions:.2%} of the captions"
    for line, how in zip(sizes.lines, ("drop", "rollup"), strict=False):
        taus = line.get_xdata()
        expected = coverages(corpus, how, taus.tolist(), exclude=choice.get("exclude", []))
        assert list(line.get_ydata()) == [at.labels for at in expected]
    # Before and after pruning, all captions are in some bar.
    heights = np.array([bar.get_height() for bar in lengths.patches]).reshape(2, -1)
    np.testing.assert_allclose(heights.sum(1), 1)
    unlabelled = 1 - own.captions
    np.testing.assert_allclose(heights[1, 0], unlabelled, atol=1e-9)


@pytest.mark.parametrize("choice", [*CHOICES, {"tau": 12}, {"tau": 90}])
def test_no_text_hides_another(counted, choice):
    assert_texts_are_apart(make_figure(counted[0], counted[1].prune(**choice), TAUS))


def test_no_curve_crosses_the_label_of_a_threshold(counted):
    ranks = make_figure(counted[0], counted[1].prune(**CHOICES[0]), TAUS).axes[0]
    assert ranks.texts
    for text in ranks.texts:
        assert text.get_zorder() > max(line.get_zorder() for line in ranks.lines)
        assert text.get_bbox_patch().get_facecolor()[:3] == (1, 1, 1)
        assert text.get_bbox_patch().get_alpha() >= 0.9


def test_no_legend_hides_the_curves_of_coverage(counted):
    figure = make_figure(counted[0], counted[1].prune(**CHOICES[0]), TAUS)
    FigureCanvasAgg(figure).draw()
    covered = figure.axes[3]
    assert not covered.get_legend().get_window_extent().overlaps(covered.get_window_extent())


def test_no_text_hides_another_in_large_and_tiny_corpora():
    corpus, whole = large_corpus(2000, 500)
    for tau in (10, 30):
        assert_texts_are_apart(make_figure(corpus, whole.prune(tau), TAUS))
    corpus, whole = corpus_of(["a dog"])
    assert_texts_are_apart(make_figure(corpus, whole, TAUS))


def assert_texts_are_apart(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    width, height = figure.bbox.size
    for panel in figure.axes:
        boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in drawn_texts(panel)]
        assert len(boxes) > 7
        for (one, box), (other, other_box) in combinations(boxes, 2):
            assert not box.padded(-1).overlaps(other_box.padded(-1)), f"{one!r} and {other!r}"
        for text, box in boxes:
            assert min(box.x0, box.y0) >= 0, text
            assert (box.x1, box.y1) <= (width, height), text


def drawn_texts(panel):
    """All texts of a panel, without those of ticks beyond its range, which are not drawn."""
    texts = [panel.title, panel._right_title, panel.xaxis.label, panel.yaxis.label, *panel.texts]
    texts += panel.get_legend().get_texts() if panel.get_legend() else []
    for axis, (low, high) in ((panel.xaxis, panel.get_xlim()), (panel.yaxis, panel.get_ylim())):
        ticks = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
        texts += [label for place, label in ticks if low <= place <= high]
    return [text for text in texts if text.get_text().strip()]


def test_the_file_is_a_light_picture_and_stable(counted, tmp_path):
    corpus, whole = counted
    for name in ("one.png", "two.png"):
        draw(corpus, whole.prune(5, how="rollup"), TAUS, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.size == (1430, 988)
        assert np.asarray(picture.convert("L")).mean() > 230

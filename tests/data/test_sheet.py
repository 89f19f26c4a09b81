"""Contact sheets: any text is broken into lines and drawn where it belongs, any picture is shown whole."""

from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, features

from catclip.data.sheet import Tile, contact_sheet, fitted, fonts, save
from catclip.data.sheet.fonts import clusters, font_for
from catclip.data.sheet.lettering import Lettering
from catclip.errors import UserError

ANY = st.text(st.characters(exclude_categories=[]), max_size=60)  # halves of surrogate pairs too
WORDS = st.lists(st.text("abcdefgWM.,", min_size=1, max_size=12), max_size=30).map(" ".join)
LETTERING = Lettering(15)


def sample_tile(**changes) -> Tile:
    content = {"picture": Image.new("RGB", (256, 256), "magenta"), "key": "key", "note": "256 × 256"}
    return Tile(**(content | {"captions": ["a dog"], "labels": ["dog.n.01"]} | changes))


def drawn(text: str, lettering: Lettering = LETTERING) -> np.ndarray:
    """Grey levels of a line, drawn black on white at (20, 30) of a picture of 400 × 90."""
    sheet = Image.new("RGB", (400, 90), "white")
    lettering.draw(sheet, (20, 30), text, "#000000")
    return np.asarray(sheet.convert("L"))


def shipped_font(name: str) -> str:
    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name)


@pytest.fixture
def only_these(monkeypatch):
    """Makes given fonts all that the machine has beside DejaVu Sans."""

    def have(*paths: str) -> None:
        monkeypatch.setattr(fonts, "_system_fonts", lambda: paths)
        font_for.cache_clear()

    yield have
    font_for.cache_clear()


# ---- lines ----------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(ANY | WORDS, st.integers(40, 300), st.integers(1, 6))
@example("x" * 500, 100, 3)
@example("一只猫坐在沙发上" * 9, 100, 3)
def test_lines_are_as_wide_as_they_may_be_and_no_more_than_asked_for(text, width, most):
    lines = LETTERING.wrap(text, width, most)
    assert len(lines) <= most
    for line in lines:
        assert line.strip()
        # A mark that no font has may stand with its name, which is not broken.
        assert LETTERING.width(line) <= width + 2 or len(clusters(line.removesuffix("…"))) == 1


@settings(max_examples=200, deadline=None)
@given(WORDS)
def test_all_words_are_there_or_dots(text):
    lines = LETTERING.wrap(text, 200, 1000)
    assert "".join("".join(lines).split()) == "".join(text.split())
    few = LETTERING.wrap(text, 200, 2)
    if len(lines) <= 2:
        assert few == lines
    else:
        assert few[0] == lines[0]
        assert few[1].endswith("…")
        assert lines[1].startswith(few[1].removesuffix("…"))


def test_lines_are_full():
    """The next word would not have had room."""
    lines = LETTERING.wrap("a small brown dog runs across the green grass towards the old red barn", 150, 99)
    assert len(lines) > 2
    for line, following in pairwise(lines):
        assert LETTERING.width(f"{line} {following.split()[0]}") > 150


def test_a_sign_that_stands_alone_stays_with_its_word():
    for width in range(60, 200, 7):
        lines = LETTERING.wrap("two dogs run , jump and play in the snow .", width, 99)
        assert not any(line.strip()[0] in ".," for line in lines)


@settings(max_examples=200, deadline=None)
@given(ANY | st.text("abc/.-", max_size=300), st.integers(40, 300))
def test_a_line_is_cut_to_its_width_at_the_end_or_in_the_middle(text, width):
    normal = " ".join(text.split())
    for cut, whole in ((LETTERING.cut(text, width), normal), (LETTERING.cut_middle(text, width), text)):
        assert LETTERING.width(cut) <= width + 2 or len(clusters(cut)) <= 2
        start, dots, end = cut.partition("…")
        assert (cut == whole) or (dots and whole.startswith(start) and whole.endswith(end))


def test_of_a_long_name_both_ends_are_seen():
    assert LETTERING.cut_middle("train-00000/" * 20 + "last.tar", 200).startswith("train-0")
    assert LETTERING.cut_middle("train-00000/" * 20 + "last.tar", 200).endswith("last.tar")


def test_a_megabyte_is_a_few_lines():
    for text in ("x" * 1_000_000, "word " * 200_000, "e" + "\u0301" * 1_000_000):
        assert len(LETTERING.wrap(text, 256, 6)) <= 6


@given(ANY)
def test_clusters_are_the_text(text):
    assert "".join(clusters(text)) == text


@pytest.mark.parametrize("whole", ["e\u0301", "👩\u200d💻", "👍🏽", "🇩🇪", "स्", "❤\ufe0f"])
def test_what_belongs_together_is_not_torn_apart(whole):
    assert clusters(f"a{whole}b") == ["a", whole, "b"]


# ---- drawing --------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(ANY)
@example("\n\0\x1b[31m")
@example("Z" + "\u0335\u0317" * 30)
@example("\u200b")
@example("🐶👩\u200d💻🇩🇪")
def test_any_text_is_drawn_within_its_line(text):
    picture = drawn(text)
    assert (picture[:30] == 255).all()
    assert (picture[30 + LETTERING.height :] == 255).all()
    assert (picture[:, :20] == 255).all()


@pytest.mark.parametrize("text", ["dog", "собака", "σκύλος", "ձուկ", "ძაღლი", "كلب", "כלב", "É"])
def test_letters_of_many_alphabets_need_no_other_font(only_these, text):
    only_these()
    assert all(font_for(cluster, 15) for cluster in clusters(text))
    assert (drawn(text) < 100).sum() > 20


@pytest.mark.skipif(not features.check("fribidi"), reason="this Pillow has no FriBiDi")
def test_hebrew_runs_to_the_left_and_arabic_is_joined():
    width = LETTERING.width("ב")
    assert np.array_equal(drawn("אב")[:, 20 : 19 + width], drawn("ב")[:, 20 : 19 + width])
    apart = "\u200c".join("سلام")
    assert not np.array_equal(drawn("سلام"), drawn(apart))


def test_another_font_steps_in(only_these):
    stix = shipped_font("STIXNonUni.ttf")
    strange = next(
        chr(code) for code in sorted(fonts._characters(stix)) if code > 0xE000 and not font_for(chr(code), 15)
    )
    without = drawn(f"a{strange}b")
    only_these(stix)
    assert font_for(strange, 15).loaded.path == stix
    assert font_for("a", 15).loaded.path.endswith("DejaVuSans.ttf")
    assert not np.array_equal(drawn(f"a{strange}b"), without)


def test_a_damaged_font_is_none(only_these, tmp_path):
    (tmp_path / "bad.ttf").write_bytes(b"no font")
    only_these(str(tmp_path / "bad.ttf"), str(tmp_path / "gone.ttf"))
    assert font_for("猫", 15) is None


def test_what_no_font_has_is_told_apart(only_these):
    only_these()
    pictures = [drawn(text) for text in ("猫", "犬", "\0", "\ud800", "🐶", "🐱")]
    assert all((picture < 200).sum() > 20 for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
    assert np.array_equal(drawn("🐶"), drawn(":dog face:"))


# ---- the sheet ------------------------------------------------------------------------------------------------------


def magenta(sheet: Image.Image) -> np.ndarray:
    return (np.asarray(sheet) == (255, 0, 255)).all(axis=2)


def test_a_picture_is_pasted_as_it_is():
    found = magenta(contact_sheet("title", "about", [sample_tile()]))
    rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    assert found.sum() == 256 * 256 == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)


@pytest.mark.parametrize("size", [(256, 1), (1, 256), (20, 30)])
def test_a_narrow_picture_stands_in_the_middle_of_its_place(size):
    tile = sample_tile(picture=Image.new("RGB", size, "magenta"))
    found, whole = magenta(contact_sheet("t", "a", [tile])), magenta(contact_sheet("t", "a", [sample_tile()]))
    assert found.sum() == size[0] * size[1]
    for axis in (0, 1):
        here, there = (np.flatnonzero(each.any(axis=axis)).mean() for each in (found, whole))
        assert abs(here - there) <= 0.5


@pytest.mark.parametrize("number", [1, 5, 7, 13, 24])
def test_every_tile_is_on_the_sheet(number):
    colours = [(255, 10 * each, 1) for each in range(number)]
    tiles = [sample_tile(picture=Image.new("RGB", (256, 256), colour)) for colour in colours]
    pixels = np.asarray(contact_sheet("title", "about", tiles))
    assert pixels.shape[1] < 2100
    for colour in colours:
        assert (pixels == colour).all(axis=2).sum() == 256 * 256


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.builds(
            sample_tile,
            picture=st.none() | st.just(Image.new("RGB", (9, 99))),
            key=ANY,
            note=ANY,
            captions=st.lists(ANY, max_size=9),
            labels=st.none() | st.lists(ANY, max_size=9),
        ),
        min_size=1,
        max_size=3,
    ),
    ANY,
    ANY,
)
def test_anything_can_be_on_a_sheet(tiles, title, about):
    assert contact_sheet(title, about, tiles, 200).height < 1000


def test_many_captions_and_labels_leave_the_sheet_a_sheet():
    tile = sample_tile(captions=["long caption " * 50] * 99, labels=[f"label_{n}.n.01" for n in range(999)])
    assert contact_sheet("t" * 9999, "a" * 9999, [tile]).height < 900
    with_count = contact_sheet("t", "a", [sample_tile(labels=["dog.n.01"] * 99)])
    assert with_count.height == contact_sheet("t", "a", [sample_tile(labels=["dog.n.01"] * 999)]).height


def test_labels_captions_and_reasons_are_seen():
    """Each changes the picture: nothing is drawn under something else."""
    tiles = [
        sample_tile(), sample_tile(key="other"), sample_tile(note="1 × 1"), sample_tile(captions=["a cat"]),
        sample_tile(labels=["cat.n.01"]), sample_tile(labels=[]), sample_tile(labels=None),
        sample_tile(picture=None, note="empty picture"), sample_tile(picture=None, note="no picture"),
    ]  # fmt: skip
    sheets = {contact_sheet("title", "about", [tile]).tobytes() for tile in tiles}
    assert len(sheets) == len(tiles)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(16, 400))
@settings(max_examples=50, deadline=None)
def test_a_picture_fits_and_keeps_its_shape(width, height, side):
    shown = fitted(Image.new("RGB", (width, height)), side)
    assert max(shown.size) <= side
    assert min(shown.size) >= 1
    if max(width, height) > side:
        assert max(shown.size) == side
        scale = side / max(width, height)
        assert abs(shown.width - width * scale) <= 1
        assert abs(shown.height - height * scale) <= 1
    else:
        assert shown.width % width == shown.height % height == 0
        assert shown.width // width == shown.height // height
        assert max(shown.size) > side / 2


def test_a_small_picture_is_enlarged_pixel_by_pixel():
    small = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    shown = np.asarray(fitted(Image.fromarray(small), 30))
    assert np.array_equal(shown, small.repeat(4, 0).repeat(4, 1))


def test_a_sheet_is_written_whole_or_said_not_to_be(tmp_path):
    sheet = contact_sheet("title", "about", [sample_tile()])
    save(sheet, tmp_path / "new" / "sheet.png")
    assert Image.open(tmp_path / "new" / "sheet.png").tobytes() == sheet.tobytes()
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"folder cannot be written: Is a directory\."):
        save(sheet, tmp_path / "folder")

"""Crops lie where they should: in the picture, in the stored picture of any orientation, on the grid of a reduction."""

import io

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from catclip.data.crops import EXIF_ORIENTATIONS, UPRIGHT, Box, central_square, on_grid, reduction, sample_crop
from tests.data.making import encode, picture, to_tensor

shares = st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)).map(sorted).map(tuple)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000), shares, st.integers(0, 2**32))
def test_crops_lie_in_the_picture(width, height, scale, seed):
    left, top, right, bottom = sample_crop(width, height, scale, np.random.default_rng(seed))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_crops_have_the_area_and_the_shape_that_was_asked_for():
    rng = np.random.default_rng(0)
    boxes = np.array([sample_crop(640, 480, (0.2, 0.6), rng) for _ in range(2000)])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    area = width * height / (640 * 480)
    assert 0.195 <= area.min() < 0.21
    assert 0.59 < area.max() <= 0.605
    assert area.mean() == pytest.approx(0.4, abs=0.01)
    shape = np.log(width / height)
    assert np.abs(shape).max() <= np.log(4 / 3) + 0.02
    assert shape.mean() == pytest.approx(0, abs=0.02)
    # The whole picture is covered, and evenly: no side of it is left out.
    assert boxes[:, :2].min() == 0
    assert boxes[:, 2].max() == 640
    assert boxes[:, 3].max() == 480
    assert ((boxes[:, 0] + boxes[:, 2]) / 2).mean() == pytest.approx(320, abs=8)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 500), st.integers(1, 500))
def test_the_central_square_leaves_as_much_on_either_side(width, height):
    left, top, right, bottom = central_square(width, height)
    assert right - left == bottom - top == min(width, height)
    assert 0 <= (width - right) - left <= 1
    assert 0 <= (height - bottom) - top <= 1


# ---- on the grid of a reduction -------------------------------------------------------------------------------------

boxes = st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(1, 3000), st.integers(1, 3000)).map(
    lambda sides: Box(sides[0], sides[1], sides[0] + sides[2], sides[1] + sides[3])
)


@settings(max_examples=300, deadline=None)
@given(boxes, st.integers(1, 400))
def test_a_reduction_is_the_largest_that_leaves_enough_pixels(box, size):
    def enough(step: int) -> bool:
        left, top, right, bottom = on_grid(box, step)
        return min(right - left, bottom - top) >= size

    step = reduction(box, size)
    assert step in (1, 2, 4, 8)
    assert step == 1 or enough(step)
    assert step == 8 or not enough(2 * step)


@settings(max_examples=100, deadline=None)
@given(boxes, st.sampled_from([1, 2, 4, 8]))
def test_a_box_moves_by_less_than_a_step(box, step):
    for before, after in zip(box, on_grid(box, step), strict=True):
        assert 0 <= before - step * after < step


# ---- orientation ----------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 8), st.integers(1, 30), st.integers(1, 30), st.data())
def test_the_stored_part_turned_upright_is_the_part_of_the_upright_picture(number, width, height, data):
    orientation = EXIF_ORIENTATIONS.get(number, UPRIGHT)
    stored = picture(0, width, height)
    exif = Image.Exif()
    exif[0x0112] = number
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(encode(stored, "PNG", exif=exif))))
    assert orientation.turned(width, height) == upright.size
    left, right = sorted(data.draw(st.tuples(*2 * [st.integers(0, upright.width)])))
    top, bottom = sorted(data.draw(st.tuples(*2 * [st.integers(0, upright.height)])))
    assume(left < right and top < bottom)
    box = Box(left, top, right, bottom)
    part = to_tensor(stored.crop(orientation.stored(box, width, height)))
    assert torch.equal(orientation.upright(part), to_tensor(upright.crop(box)))


@given(boxes, st.integers(2, 400))
def test_on_the_grid_a_box_is_less_than_a_pixel_of_the_result_away(box, size):
    step = reduction(box, size)
    for first, last, ours in zip(box[:2], box[2:], on_grid(box, step)[:2], strict=True):
        pixel = (last - first) / size  # of the result, in pixels of the picture
        away = first - step * ours
        assert 0 <= away <= (step - 1)
        assert step == 1 or away < pixel
        assert step != 2 or away <= 0.5 * pixel * (1 + 1 / size)

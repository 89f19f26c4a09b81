"""Parts of JPEGs: the very pixels that decoding all of the picture gives, and no lie is believed."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from catclip.data.crops import Box
from catclip.data.jpeg import decode_part, read_frame, why_bad
from tests.data.making import encode, picture

WIDE = picture(1, 250, 190)

encodings = st.fixed_dictionaries(
    {
        "quality": st.integers(20, 100),
        "subsampling": st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
        "progressive": st.booleans(),
        "optimize": st.booleans(),
        "restart_marker_blocks": st.sampled_from([0, 1, 7]),
    }
)


def whole(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def noisy(seed: int, width: int, height: int) -> Image.Image:
    """Each pixel of its own: what a decoder takes from the wrong place shows."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 150), st.integers(1, 150), encodings, st.sampled_from(["RGB", "L"]), st.data())
def test_a_part_is_that_part_of_the_whole_picture(width, height, options, mode, draw):
    data = encode(noisy(width, width, height).convert(mode), **options)
    left, right = sorted(draw.draw(st.tuples(*2 * [st.integers(0, width)])))
    top, bottom = sorted(draw.draw(st.tuples(*2 * [st.integers(0, height)])))
    frame = read_frame(data)
    assert (frame.width, frame.height) == (width, height)
    part = decode_part(data, frame, Box(left, top, right, bottom), 1)
    assert np.array_equal(part, whole(data)[top:bottom, left:right])


@pytest.mark.parametrize("reduce", [2, 4, 8])
@settings(max_examples=40, deadline=None)
@given(st.integers(8, 150), st.integers(8, 150), encodings, st.data())
def test_of_a_reduced_picture_too(reduce, width, height, options, draw):
    data = encode(noisy(width, width, height), **options)
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (width // reduce, height // reduce))
    shrunk = np.asarray(image)
    assert shrunk.shape == (-(-height // reduce), -(-width // reduce), 3)
    left, right = sorted(draw.draw(st.tuples(*2 * [st.integers(0, width)])))
    top, bottom = sorted(draw.draw(st.tuples(*2 * [st.integers(0, height)])))
    part = decode_part(data, read_frame(data), Box(left, top, right, bottom), reduce)
    assert np.array_equal(part, shrunk[top // reduce : bottom // reduce, left // reduce : right // reduce])


def test_what_lies_below_the_part_is_not_decoded():
    data = encode(noisy(0, 64, 640), quality=95)
    frame = read_frame(data)
    assert frame.unit == 16
    scan = data.index(b"\xff\xda")
    middle = scan + (len(data) - scan) // 2
    broken = data[:middle] + bytes(len(data) - middle - 2) + b"\xff\xd9"
    assert not np.array_equal(whole(broken), whole(data))
    part = decode_part(broken, frame, Box(0, 0, 64, 200), 1)
    assert np.array_equal(part, whole(data)[:200])


def test_metadata_are_seen():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert not read_frame(encode(WIDE)).has_metadata
    assert read_frame(encode(WIDE, exif=exif)).has_metadata
    assert read_frame(encode(WIDE, xmp=b"<x/>")).has_metadata
    assert not read_frame(encode(WIDE, comment=b"no metadata", icc_profile=b"nor this")).has_metadata


@pytest.mark.parametrize("data", [encode(WIDE.convert("CMYK")), encode(WIDE, "PNG"), b"", b"\xff\xd8", b"\xff\xd8\xff"])
def test_what_is_no_usual_jpeg_is_left_to_others(data):
    assert read_frame(data) is None


def test_odd_frames_are_left_to_others():
    data = encode(WIDE)
    place = read_frame(data).place
    for at, value in [(1, 0xC3), (1, 0xC9), (4, 12), (9, 4), (9, 0)]:  # lossless, arithmetic, 12 bits, channels
        odd = bytearray(data)
        odd[place + at] = value
        assert read_frame(bytes(odd)) is None
    for at in (5, 7):  # a height that comes after the scan, no width
        odd = bytearray(data)
        odd[place + at : place + at + 2] = b"\0\0"
        assert read_frame(bytes(odd)) is None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=100), st.integers(0, 100))
def test_no_header_is_too_strange(noise, keep):
    read_frame(encode(WIDE)[:keep] + noise)


@pytest.mark.parametrize("progressive", [False, True])
def test_cut_short_is_an_error(progressive):
    data = encode(noisy(0, 80, 60), progressive=progressive)
    frame = read_frame(data)
    for cut in range(frame.place + 19, len(data) - 1, 97):
        with pytest.raises(ValueError, match="no end"):
            decode_part(data[:cut], frame, Box(0, 0, 80, 60), 1)


# ---- lies -----------------------------------------------------------------------------------------------------------


def test_honest_files_are_no_lies():
    for image in (WIDE, Image.new("L", (2000, 2000))):
        for progressive in (False, True):
            data = encode(image, quality=1, progressive=progressive, optimize=True)
            assert why_bad(data, read_frame(data)) is None


def test_few_bytes_cannot_hold_many_pixels():
    data = bytearray(encode(WIDE))
    place = read_frame(bytes(data)).place
    data[place + 5 : place + 9] = b"\x36\xb0\x36\xb0"
    assert "cannot hold 14000 x 14000" in why_bad(bytes(data), read_frame(bytes(data)))


def test_thousands_of_scans_are_an_attack():
    data = encode(WIDE, progressive=True)
    last = data.rindex(b"\xff\xda")
    endless = data[:-2] + data[last:-2] * 1000 + b"\xff\xd9"
    assert "scans" in why_bad(endless, read_frame(endless))

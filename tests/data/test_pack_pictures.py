"""Pictures on their way into a shard: copied, or shrunk without harm."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image

from catclip.data.images import BadImageError, decode
from catclip.data.packing.shard import prepare
from tests.data.making import encode, picture


@pytest.mark.parametrize(("kind", "extension"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")])
@pytest.mark.parametrize("size", [None, 40, 1000])
def test_pictures_that_need_not_shrink_keep_their_bytes(kind, extension, size):
    data = encode(picture(), kind)
    assert prepare(data, size) == (extension, data, 40, 32)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF"])
def test_rarer_formats_become_png_of_the_same_pixels(kind):
    data = encode(picture(), kind)
    prepared = prepare(data, None)
    assert prepared.extension == "png"
    with Image.open(io.BytesIO(prepared.data)) as image:
        assert image.format == "PNG"
        assert (np.asarray(image) == np.asarray(decode(data))).all()


@pytest.mark.parametrize(
    ("width", "height", "shrunk"), [(640, 480, (100, 75)), (300, 900, (33, 100)), (5000, 10, (100, 1))]
)
def test_the_longest_side_shrinks(width, height, shrunk):
    prepared = prepare(encode(picture(3, width, height), quality=95), 100)
    assert prepared[:1] + prepared[2:] == ("jpg", *shrunk)
    assert decode(prepared.data).size == shrunk


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_what_is_shrunk_is_close_to_the_slow_way(kind):
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((2048, 1536), Image.Resampling.BICUBIC)
    data = encode(image, kind, quality=95)
    slow = decode(data).resize((256, 192), Image.Resampling.LANCZOS)
    fast = decode(prepare(data, 256).data)
    error = np.mean((np.asarray(slow, float) - np.asarray(fast, float)) ** 2)
    assert 10 * np.log10(255**2 / error) > 38


def test_a_photograph_keeps_its_looks(shared):
    data = (shared / "data" / "coco-mini" / "val2017" / "000000000139.jpg").read_bytes()
    image = decode(data)
    slow = image.resize((320, round(320 * image.height / image.width)), Image.Resampling.LANCZOS)
    fast = decode(prepare(data, 320).data)
    assert fast.size == slow.size
    error = np.mean((np.asarray(slow, float) - np.asarray(fast, float)) ** 2)
    assert 10 * np.log10(255**2 / error) > 37


def test_a_turned_picture_is_upright_when_it_is_shrunk():
    image = Image.new("RGB", (80, 40), "white")
    image.paste("black", (0, 0, 40, 40))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # its left side is to be up
    data = encode(image, exif=exif.tobytes())
    assert prepare(data, None) == ("jpg", data, 40, 80)
    shrunk = decode(prepare(data, 40).data)
    assert shrunk.size == (20, 40)
    assert max(shrunk.getpixel((10, 5))) < 30
    assert min(shrunk.getpixel((10, 35))) > 225


@pytest.mark.parametrize("size", [None, 20])
@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"\xff\xd8\xff", encode(picture())[:400], encode(picture(), "PNG")[:200]]
)
def test_what_cannot_be_decoded_is_refused(data, size):
    with pytest.raises(BadImageError):
        prepare(data, size)

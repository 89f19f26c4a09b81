"""Picture bytes come out as the picture that a person would see, or as BadImageError, and never as anything else."""

import io
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from catclip.data.crops import central_square
from catclip.data.images import BadImageError, decode, held_out_picture
from tests.data.making import encode, picture

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")


def pixels(image: Image.Image) -> np.ndarray:
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def off(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of two pictures, in grey levels."""
    return float(np.abs(pixels(one) - pixels(other)).mean())


# ---- kinds of picture -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("JPEG", {"quality": 95}, 2),
        ("JPEG", {"quality": 95, "progressive": True}, 2),
        ("WEBP", {"quality": 95}, 3),
        ("GIF", {}, 12),
    ],
)
def test_every_usual_kind_decodes_to_its_picture(kind, options, tolerance):
    assert off(decode(encode(picture(), kind, **options)), picture()) <= tolerance


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame(kind):
    frames = [Image.new("RGB", (16, 12), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert off(decode(data), frames[0]) <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_greyscale(kind):
    grey = picture().convert("L")
    assert off(decode(encode(grey, kind)), grey.convert("RGB")) <= 2


def test_cmyk():
    assert off(decode(encode(picture().convert("CMYK"), "JPEG", quality=95)), picture()) <= 3


def test_black_and_white():
    bits = Image.fromarray(np.indices((16, 16)).sum(axis=0) % 2 == 0)
    assert bits.mode == "1"
    assert pixels(decode(encode(bits, "PNG")))[0, :2, 0].tolist() == [255, 0]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_greyscale_is_scaled_not_clipped(kind):
    ramp = np.linspace(0, 65535, 64 * 48).astype(np.uint16).reshape(48, 64)
    decoded = pixels(decode(encode(Image.fromarray(ramp), kind)))
    assert np.abs(decoded - (ramp / 257)[..., None]).max() <= 1


def test_16_bit_colour_png_is_scaled():
    # Pillow writes none: one row of four pixels by hand, 16 bits a channel.
    row = struct.pack(">12H", *(257 * value for value in (0, 10, 255, 128, 64, 32, 1, 2, 3, 200, 100, 50)))
    decoded = pixels(decode(png(4, 1, depth=16, colour=2, rows=b"\x00" + row)))
    assert decoded.reshape(-1).tolist() == [0, 10, 255, 128, 64, 32, 1, 2, 3, 200, 100, 50]


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# ---- transparency: as on a white page -------------------------------------------------------------------------------


def half_transparent() -> Image.Image:
    """Left half red, right half of another colour that must not be seen."""
    image = Image.new("RGBA", (8, 4), (255, 0, 0, 255))
    image.paste((0, 0, 90, 0), (4, 0, 8, 4))
    return image


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparent_is_white(kind):
    data = encode(half_transparent(), kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    decoded = pixels(decode(data))
    assert (decoded[:, :4] == (255, 0, 0)).all()
    assert (decoded[:, 4:] == 255).all()


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_white(kind):
    palette = half_transparent().convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    index = palette.getpixel((7, 0))
    decoded = pixels(decode(encode(palette, kind, transparency=index)))
    assert (decoded[:, :4] == (255, 0, 0)).all()
    assert (decoded[:, 4:] == 255).all()


def test_a_palette_with_degrees_of_alpha_is_blended():
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 0, 0, 0])
    palette.putpixel((1, 0), 1)
    decoded = pixels(decode(encode(palette, "PNG", transparency=bytes([255, 127]))))
    assert decoded[0, 0].tolist() == [0, 0, 0]
    assert decoded[0, 1] == pytest.approx(128, abs=1)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_transparent_colour_without_alpha_channel_is_white(mode):
    black = (0, 0, 0) if mode == "RGB" else 0
    image = Image.new(mode, (4, 4), black)
    image.putpixel((0, 0), (9, 9, 9) if mode == "RGB" else 9)
    decoded = pixels(decode(encode(image, "PNG", transparency=black)))
    assert decoded[0, 0].tolist() == [9, 9, 9]
    assert decoded[1, 1].tolist() == [255, 255, 255]


def test_grey_with_alpha_is_blended():
    image = Image.new("LA", (4, 4), (0, 127))
    assert pixels(decode(encode(image, "PNG"))) == pytest.approx(128, abs=1)


# ---- orientation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(picture(), kind, exif=exif, quality=95)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    decoded = decode(data)
    assert decoded.size == ((40, 32) if orientation < 5 else (32, 40))
    assert off(decoded, expected) == 0
    square = held_out_picture(data, 32).permute(1, 2, 0).numpy()
    assert np.abs(square - pixels(expected.crop(central_square(*expected.size)))).mean() <= 0.5


def test_at_a_reduced_scale_too():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(picture(width=400, height=300), "JPEG", exif=exif, quality=95)
    reduced = decode(data, at_least=64)
    assert reduced.size == (75, 100)
    assert off(reduced, decode(data).resize((75, 100), Image.Resampling.BOX)) <= 2


def test_broken_metadata_do_not_make_a_bad_picture():
    garbage = encode(picture(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert off(decode(garbage), decode(encode(picture(), "JPEG"))) == 0
    assert decode(encode(picture(), "JPEG", exif=b"Exif\x00\x00nonsense")).size == (40, 32)
    exif = Image.Exif()
    exif[0x0112] = 99
    assert decode(encode(picture(), "JPEG", exif=exif)).size == (40, 32)


# ---- reduced scale --------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 100))
def test_a_reduced_scale_keeps_the_shorter_side_and_the_shape(width, height, at_least):
    reduced = decode(encode(picture(width=width, height=height)), at_least=at_least)
    assert min(reduced.size) >= min(at_least, width, height)
    assert reduced.size in [(-(-width // part), -(-height // part)) for part in (1, 2, 4, 8)]


def test_a_reduced_scale_is_used():
    assert decode(encode(picture(width=400, height=300)), at_least=75).size == (100, 75)


# ---- bytes that are no picture --------------------------------------------------------------------------------------


def test_cut_short_anywhere_is_bad_or_whole():
    data = encode(picture(), "JPEG")
    for cut in range(0, len(data) - 2, 7):
        with pytest.raises(BadImageError):
            decode(data[:cut])


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_half_a_file_is_bad(kind):
    data = encode(picture(), kind)
    with pytest.raises(BadImageError):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"<html>404</html>", b"GIF89a", b"BM" + bytes(50)])
def test_no_picture(data):
    with pytest.raises(BadImageError, match=r"^\w+: [^<>]+$"):
        decode(data)


def test_a_decompression_bomb_is_bad_before_it_is_unpacked():
    with pytest.raises(BadImageError, match="DecompressionBomb"):
        decode(png(30_000, 30_000, depth=8, colour=2, rows=b"\x00"))


def test_floats_without_a_range_are_not_taken_for_black():
    with pytest.raises(BadImageError, match="floats"):
        decode(encode(Image.fromarray(np.full((8, 8), 0.5, np.float32)), "TIFF"))


def test_postscript_is_not_run():
    with pytest.raises(BadImageError):
        decode(encode(picture(), "EPS"))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_are_bad(data):
    with pytest.raises(BadImageError):
        decode(data)


def good_files() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = picture(width=12, height=9)
    return [
        encode(image, "JPEG", exif=exif),
        encode(image, "PNG", exif=exif),
        encode(image.convert("P"), "PNG", transparency=3),
        encode(image.convert("I;16"), "PNG"),
        encode(image, "WEBP", exif=exif),
        encode(image, "GIF"),
        encode(image, "BMP"),
        encode(image, "TIFF"),
        encode(image.convert("CMYK"), "JPEG"),
    ]


GOOD = good_files()


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(GOOD),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    st.floats(0, 1),
    st.none() | st.integers(1, 16),
)
def test_damaged_files_are_a_picture_or_bad(data, damage, keep, at_least):
    damaged = bytearray(data)
    for place, value in damage:
        # Small shares fall on the headers, where damage is most varied.
        damaged[int(place**3 * len(damaged))] = value
    try:
        image = decode(bytes(damaged[: int(len(data) * (1 - keep**4))]), at_least)
    except BadImageError:
        return
    assert pixels(image).shape == (image.height, image.width, 3)

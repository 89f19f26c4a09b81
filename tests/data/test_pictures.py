"""The pictures of batches are those of the slow road: decode all, turn upright, crop, and resize by Pillow."""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from catclip.data.crops import EXIF_ORIENTATIONS, UPRIGHT, Box, central_square, on_grid, reduction, sample_crop
from catclip.data.images import BadImageError, decode, held_out_picture, training_picture
from tests.data.making import encode, picture, to_tensor

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")

# Decibels of the peak signal-to-noise ratio, as docs/decoding.md states them.
SAME = 48  # the same pixels resized: rounding
REDUCED = 26  # a JPEG decoded at a reduced scale, at the worst: noise without end
PHOTOGRAPH, PHOTOGRAPHS = 29, 36  # the same of photographs: at the worst, and the median
AS_DRAWN, ALL_AS_DRAWN = 20, 28  # these beside the crop that was drawn, which lies up to a pixel beside its grid


@pytest.fixture(scope="module", autouse=True)
def room_to_encode():
    """Pillow writes no progressive JPEG that is larger than its buffer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageFile, "MAXBLOCK", 1 << 20)
        yield


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    error = float((one.double() - other.double()).square().mean())
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


def slow(data: bytes, choose: Callable[[int, int], Box], size: int, grid: bool = True) -> tuple[torch.Tensor, int]:
    """The picture by the slow road, and the reduction at which the fast one may decode it; the crop on its grid."""
    stored = Image.open(io.BytesIO(data))
    stored.load()  # which turns a TIFF upright
    number = stored.getexif().get(0x0112, 1)
    orientation = EXIF_ORIENTATIONS.get(number, UPRIGHT)
    box = orientation.stored(choose(*orientation.turned(*stored.size)), *stored.size)
    step = reduction(box, size) if stored.format == "JPEG" else 1
    box = Box(*(step * side for side in on_grid(box, step))) if grid else box
    square = stored.convert("RGB").crop(box).resize((size, size), Image.Resampling.BICUBIC)
    square.getexif()[0x0112] = number
    return to_tensor(ImageOps.exif_transpose(square)), step


def detailed(seed: int, width: int, height: int) -> Image.Image:
    """A made photograph: smooth areas with edges, and in each frequency as much as photographs have."""
    made = np.random.default_rng(seed)
    waves = np.fft.fftfreq(height)[:, None] ** 2 + np.fft.fftfreq(width)[None] ** 2
    noise = np.fft.ifft2(np.fft.fft2(made.normal(size=(3, height, width))) / np.sqrt(waves + 1e-4)).real
    noise += noise.std() * 2 * (made.normal(size=3)[:, None, None] * (noise[:1] > 0))
    spread = np.clip(127 + 50 * noise / noise.std(), 0, 255)
    return Image.fromarray(spread.astype(np.uint8).transpose(1, 2, 0))


# ---- like the slow road ---------------------------------------------------------------------------------------------

scales = st.sampled_from([(0.08, 1.0), (0.9, 1.0), (0.3, 0.6), (1.0, 1.0)])
encodings = st.fixed_dictionaries(
    {
        "quality": st.integers(60, 92),
        "subsampling": st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
        "progressive": st.booleans(),
    }
)


def with_orientation(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.integers(1, 100),
    scales,
    encodings,
    st.integers(1, 8),
    st.sampled_from(["RGB", "L"]),
    st.integers(0, 99),
)
def test_training_pictures(width, height, size, scale, options, orientation, mode, seed):
    image = detailed(seed, width, height).convert(mode)
    data = encode(image, exif=with_orientation(orientation), **options)
    made = training_picture(data, size, scale, False, rng(seed))
    expected, step = slow(data, lambda width, height: sample_crop(width, height, scale, rng(seed)), size)
    assert made.dtype == torch.uint8
    assert made.shape == (3, size, size)
    assert made.is_contiguous()
    assert psnr(made, expected) >= (SAME if step == 1 else REDUCED)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 100), encodings, st.integers(1, 8))
def test_held_out_pictures(width, height, size, options, orientation):
    data = encode(detailed(width, width, height), exif=with_orientation(orientation), **options)
    expected, step = slow(data, central_square, size)
    assert psnr(held_out_picture(data, size), expected) >= (SAME if step == 1 else REDUCED)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.integers(1, 100),
    scales,
    st.integers(1, 8),
    st.sampled_from([("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})]),
)
def test_other_kinds_to_the_rounding(width, height, size, scale, orientation, kind):
    data = encode(detailed(0, width, height), kind[0], exif=with_orientation(orientation), **kind[1])
    expected, _ = slow(data, lambda width, height: sample_crop(width, height, scale, rng(size)), size)
    assert psnr(training_picture(data, size, scale, False, rng(size)), expected) >= SAME


@pytest.mark.parametrize(("size", "scale"), [(224, (0.08, 1.0)), (224, (0.9, 1.0)), (112, (0.08, 1.0)), (32, (0.9, 1))])
def test_real_photographs(shared: Path, size, scale):
    distances: dict[bool, list[float]] = {False: [], True: []}
    as_drawn = []
    for seed, path in enumerate(sorted((shared / "data" / "coco-mini" / "train2017").glob("*.jpg"))[:30]):
        data = path.read_bytes()
        made = training_picture(data, size, scale, False, rng(seed))
        expected, step = slow(data, lambda *sides, seed=seed: sample_crop(*sides, scale, rng(seed)), size)
        distances[step > 1].append(psnr(made, expected))
        if step > 1:
            drawn, _ = slow(data, lambda *sides, seed=seed: sample_crop(*sides, scale, rng(seed)), size, grid=False)
            as_drawn.append(psnr(made, drawn))
    assert min(as_drawn) >= AS_DRAWN
    assert len(as_drawn) < 8 or np.median(as_drawn) >= ALL_AS_DRAWN
    assert distances[True]
    assert min(distances[True]) >= PHOTOGRAPH
    assert np.median(distances[True]) >= PHOTOGRAPHS
    assert min([*distances[False], np.inf]) >= SAME


def square_files() -> dict[str, bytes]:
    """Of every kind that there is, with a side of 48 pixels."""
    image = detailed(3, 48, 48)
    ramp = np.linspace(0, 65535, 48 * 48).astype(np.uint16).reshape(48, 48)
    alpha = image.copy()
    alpha.putalpha(Image.fromarray((ramp >> 8).astype(np.uint8)))
    palette = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=64)
    frames = {"save_all": True, "append_images": [Image.new("RGB", (48, 48), "blue")]}
    return {
        "jpeg": encode(image),
        "progressive": encode(image, progressive=True),
        "grey jpeg": encode(image.convert("L")),
        "cmyk": encode(image.convert("CMYK")),
        "png": encode(image, "PNG"),
        "grey png": encode(image.convert("L"), "PNG"),
        "16 bit": encode(Image.fromarray(ramp), "PNG"),
        "16 bit tiff": encode(Image.fromarray(ramp), "TIFF"),
        "black and white": encode(image.convert("1"), "PNG"),
        "palette": encode(palette, "PNG"),
        "palette with alpha": encode(palette, "PNG", transparency=bytes(range(0, 256, 4))),
        "alpha": encode(alpha, "PNG"),
        "alpha webp": encode(alpha, "WEBP", lossless=True),
        "grey with alpha": encode(alpha.convert("LA"), "PNG"),
        "webp": encode(image, "WEBP"),
        "gif": encode(image, "GIF", **frames),
        "apng": encode(image, "PNG", **frames),
        "bmp": encode(image, "BMP"),
        "tiff": encode(image, "TIFF"),
    }


SQUARES = square_files()


@pytest.mark.parametrize("kind", SQUARES)
def test_every_kind_is_what_decoding_all_of_it_gives(kind):
    whole = to_tensor(decode(SQUARES[kind]))
    assert torch.equal(held_out_picture(SQUARES[kind], 48), whole)
    assert torch.equal(training_picture(SQUARES[kind], 48, (1.0, 1.0), False, OneToOne()), whole)


class OneToOne(np.random.Generator):
    """Draws crops that are as wide as they are high."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def uniform(self, low: float, high: float) -> float:  # type: ignore[override]
        return (low + high) / 2


def test_an_odd_jpeg_is_left_to_pillow(monkeypatch):
    data = encode(detailed(0, 64, 64))
    whole = held_out_picture(data, 64)

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("Unsupported")

    monkeypatch.setattr("simplejpeg.decode_jpeg", refuse)
    assert torch.equal(held_out_picture(data, 64), whole)


# ---- a pure function ------------------------------------------------------------------------------------------------


def test_mirroring_happens_in_half_of_the_pictures_and_only_if_asked():
    data = encode(picture(3, 64, 64))

    def pictures(flip: bool) -> list[torch.Tensor]:
        return [training_picture(data, 32, (1.0, 1.0), flip, rng(seed)) for seed in range(200)]

    plain, maybe = pictures(False), pictures(True)
    same = sum(torch.equal(one, other) for one, other in zip(plain, maybe, strict=True))
    mirrored = sum(torch.equal(one.flip(2), other) for one, other in zip(plain, maybe, strict=True))
    assert same + mirrored == 200
    assert 70 < mirrored < 130


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_generator_decides_and_nothing_else(kind):
    data = encode(picture(0, 90, 70), kind)

    def make(seed: int) -> torch.Tensor:
        return training_picture(data, 32, (0.2, 1.0), True, rng(seed))

    assert torch.equal(make(1), make(1))
    assert not torch.equal(make(1), make(2))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        several = make(1)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(make(1), several)


def test_the_picture_owns_its_memory():
    data = encode(picture())
    held_out_picture(data, 16).zero_()
    assert held_out_picture(data, 16).any()


@pytest.mark.parametrize(("width", "height"), [(1, 1000), (1000, 1), (1, 1), (3, 400)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_extreme_shapes(width, height, kind):
    data = encode(picture(0, width, height), kind)
    for seed in range(20):
        assert training_picture(data, 16, (0.2, 1.0), True, rng(seed)).shape == (3, 16, 16)
    assert held_out_picture(data, 16).shape == (3, 16, 16)


# ---- bytes that are no picture --------------------------------------------------------------------------------------


def roads() -> list[Callable[[bytes], torch.Tensor]]:
    return [
        lambda data: held_out_picture(data, 24),
        lambda data: training_picture(data, 24, (0.08, 1.0), True, rng()),
    ]


@pytest.mark.parametrize("kind", SQUARES)
def test_half_a_file_is_bad(kind):
    data = SQUARES[kind]
    for road in roads():
        with pytest.raises(BadImageError):
            road(data[: len(data) // 2])


@pytest.mark.parametrize("kind", ["jpeg", "progressive"])
def test_a_jpeg_cut_short_anywhere_is_bad(kind):
    for cut in range(0, len(SQUARES[kind]) - 1, 7):
        for road in roads():
            with pytest.raises(BadImageError):
                road(SQUARES[kind][:cut])


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"<html>404</html>", b"GIF89a", b"BM" + bytes(50), bytes(9999)])
def test_no_picture(data):
    for road in roads():
        with pytest.raises(BadImageError):
            road(data)


def test_postscript_is_not_run():
    with pytest.raises(BadImageError):
        held_out_picture(encode(picture(), "EPS"), 24)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(sorted(SQUARES)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    st.floats(0, 1),
)
@example("jpeg", [], 0.5)
@example("progressive", [(0.57421875, 0)], 0.0)  # no Huffman table: an error of which simplejpeg may be silent
def test_damaged_files_are_a_picture_or_bad_and_always_the_same(kind, damage, keep):
    data = bytearray(SQUARES[kind])
    for place, value in damage:
        # Small shares fall on the headers, where damage is most varied.
        data[int(place**3 * len(data))] = value
    damaged = bytes(data[: int(len(data) * (1 - keep**4))])
    for road in roads():
        assert outcome(road, damaged) == outcome(road, damaged)


def outcome(road: Callable[[bytes], torch.Tensor], data: bytes) -> bytes | str:
    """The pixels, or "bad"; what lay in memory before must not show in them."""
    np.full((64, 64, 3), np.random.default_rng().integers(256), np.uint8).tobytes()
    try:
        made = road(data)
    except BadImageError:
        return "bad"
    assert made.shape == (3, 24, 24)
    return made.numpy().tobytes()


def bomb_png(side: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    def zeros(count: int) -> bytes:
        return packer.compress(bytes(count)) + packer.flush(zlib.Z_FULL_FLUSH)

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    # Blocks of a million zeros each, all alike: packing them one by one would take long.
    packer, (blocks, rest) = zlib.compressobj(9, zlib.DEFLATED, -15), divmod(side * (3 * side + 1), 1_000_000)
    deflated = zeros(1_000_000) + zeros(1_000_000) * (blocks - 1) + zeros(rest) + packer.flush()
    rows = b"\x78\xda" + deflated + struct.pack(">HH", side * (3 * side + 1) % 65521, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def with_size(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header says another size."""
    place = data.index(b"\xff\xc2" if b"\xff\xc2" in data else b"\xff\xc0")
    return data[: place + 5] + struct.pack(">HH", height, width) + data[place + 9 :]


def bombs() -> dict[str, bytes]:
    plain = encode(picture(), "JPEG")
    progressive = encode(picture(), "JPEG", progressive=True)
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    return {
        "png": bomb_png(30_000),
        "jpeg": with_size(plain, 30_000, 30_000),
        "long jpeg": with_size(plain, 30_000, 30_000) + bytes(3_000_000) + b"\xff\xd9",
        "jpeg with orientation": with_size(encode(picture(), exif=with_orientation(6)), 30_000, 30_000),
        "lying jpeg": with_size(plain, 14_000, 14_000),
        "lying progressive jpeg": with_size(progressive, 14_000, 14_000),
        "scans": with_size(progressive[:-2] + scan * 20_000 + b"\xff\xd9", 4000, 4000),
    }


def test_bombs_are_bad_quickly_and_in_little_memory(tmp_path: Path):
    # In a process of its own, for its memory to be that of the bombs alone; limited, for a failure to be one.
    for name, data in bombs().items():
        (tmp_path / name).write_bytes(data)
    code = f"""
import resource, sys, time
from pathlib import Path
from catclip.data.images import BadImageError, held_out_picture, training_picture
import numpy as np, torch
held_out_picture(Path({str(tmp_path)!r}, "good").read_bytes(), 24)
for path in sorted(Path({str(tmp_path)!r}).iterdir()):
    if path.name == "good":
        continue
    data = path.read_bytes()
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for road in (lambda: held_out_picture(data, 24),
                 lambda: training_picture(data, 24, (.1, 1.), True, np.random.default_rng(0))):
        try:
            road()
        except BadImageError:
            continue
        sys.exit(f"{{path.name}} is no bad picture")
    seconds = time.process_time() - start
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if seconds > 0.5 or grown > 64 << 10:
        sys.exit(f"{{path.name}}: {{seconds:.1f}} s, {{grown >> 10}} MB")
"""
    (tmp_path / "good").write_bytes(encode(picture()))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_large_photograph_is_no_bomb():
    assert (held_out_picture(encode(Image.new("L", (14_000, 14_000), 77)), 224) == 77).all()


def test_a_bomb_is_what_it_says():
    image = Image.open(io.BytesIO(bomb_png(1500)))
    image.load()
    assert image.getextrema() == ((0, 0), (0, 0), (0, 0))

"""Pictures decoded on a device are those of the workers, to within docs/decoding.md's distance.

The device is the CPU here: torchvision decodes lists of files on it too.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from catclip.config import DataConfig
from catclip.data import device_decoding, undecoded
from catclip.data.crops import EXIF_ORIENTATIONS, UPRIGHT, reduction
from catclip.data.device_decoding import DeviceDecoder, device_decoder
from catclip.data.images import BadImageError, part_picture, training_part
from catclip.data.loader import Loader, TrainingBatches
from catclip.data.pairs import Pairs
from catclip.data.stream import Stream
from catclip.data.undecoded import for_device, gather
from catclip.errors import UserError
from tests.data.making import encode, sample, write_shard
from tests.data.test_pictures import detailed, psnr, rng, room_to_encode, square_files, with_orientation  # noqa: F401
from tests.data.test_targets import labels  # noqa: F401

CPU = torch.device("cpu")
# Decibels, as docs/decoding.md states them: where workers decode a picture in full, and where at a reduced scale.
SAME, REDUCED, PHOTOGRAPHS = 48, 18, 29


def reduced(datas: list[bytes], size: int, scale, flip=True) -> np.ndarray:
    """Which of them workers decode at a reduced scale. bool [B]."""
    parts = [training_part(data, scale, flip, rng(seed)) for seed, data in enumerate(datas)]
    return np.array([reduction(part.box, size) > 1 for part in parts])


def decoded(datas: list[bytes], size: int, scale=(0.2, 1.0), flip=True) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures as a device makes them, and as workers do. uint8 [B, 3, size, size]."""
    parts = [training_part(data, scale, flip, rng(seed)) for seed, data in enumerate(datas)]
    batch = {"keys": list(map(str, range(len(parts)))), "bad": {}, "spent": {}}
    batch["images"] = gather([for_device(part, size) for part in parts], size)
    return DeviceDecoder(CPU)(batch)["images"], torch.stack([part_picture(part, size) for part in parts])


# ---- like the workers' ----------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.integers(20, 300),
    st.integers(20, 300),
    st.integers(8, 100),
    st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
    st.booleans(),
    st.integers(1, 8),
    st.sampled_from(["RGB", "L"]),
)
def test_pictures_lie_near_the_workers(width, height, size, subsampling, progressive, orientation, mode):
    image = detailed(width, width, height).convert(mode)
    options = {"subsampling": subsampling, "progressive": progressive, "quality": 90}
    data = encode(image, exif=with_orientation(orientation), **options)
    ours, theirs = decoded([data] * 3, size)
    assert ours.dtype == torch.uint8
    assert ours.shape == (3, 3, size, size)
    for near, less in zip(map(psnr, ours, theirs), reduced([data] * 3, size, (0.2, 1.0)), strict=True):
        assert near >= (REDUCED if less else SAME)


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("flip", [False, True])
def test_upright_and_mirrored(number, flip):
    image = Image.new("RGB", (96, 64), "white")
    for place, colour in enumerate(("red", "green", "blue", "black")):  # a corner each
        left, top = 48 * (place % 2), 32 * (place // 2)
        image.paste(colour, (left, top, left + 48, top + 32))
    ours, theirs = decoded([encode(image, quality=95, exif=with_orientation(number))] * 8, 32, (1.0, 1.0), flip)
    assert min(map(psnr, ours, theirs)) > 20  # any other turn is below 10
    assert EXIF_ORIENTATIONS.get(number, UPRIGHT).mirrored().mirrored() == EXIF_ORIENTATIONS.get(number, UPRIGHT)


def test_photographs(shared: Path):
    paths = sorted((shared / "data" / "coco-mini" / "train2017").glob("*.jpg"))[:30]
    datas = [path.read_bytes() for path in paths]
    for scale in ((0.08, 1.0), (0.9, 1.0)):
        ours, theirs = decoded(datas, 224, scale)
        distances, less = np.array(list(map(psnr, ours, theirs))), reduced(datas, 224, scale)
        assert min(distances[~less]) >= SAME
        assert min(distances[less]) >= REDUCED
        assert less.sum() < 8 or np.median(distances[less]) >= PHOTOGRAPHS


def test_what_is_no_usual_jpeg_is_the_workers_to_the_bit():
    files = square_files()
    for kind in ("jpeg", "progressive", "grey jpeg"):
        assert isinstance(for_device(training_part(files[kind], (0.2, 1.0), False, rng()), 32), undecoded.Part)
    for kind in files.keys() - {"jpeg", "progressive", "grey jpeg"}:
        ours, theirs = decoded([files[kind], files["jpeg"]], 32)
        assert torch.equal(ours[0], theirs[0]), kind


def test_colours_that_are_no_ycbcr_stay_with_the_workers():
    data = encode(detailed(0, 64, 64))
    assert isinstance(for_device(training_part(data, (1, 1), False, rng()), 32), undecoded.Part)
    for transform, stays in ((0, True), (1, False)):
        adobe = data[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0" + bytes([transform]) + data[2:]
        part = training_part(adobe, (1, 1), False, rng())
        assert isinstance(for_device(part, 32), torch.Tensor) == stays
    place = training_part(data, (1, 1), False, rng()).frame.place
    rgb = bytearray(data)
    rgb[place + 10], rgb[place + 13], rgb[place + 16] = b"RGB"
    assert not undecoded._is_usual(training_part(bytes(rgb), (1, 1), False, rng()))


def test_a_file_without_an_end_is_bad():
    part = training_part(encode(detailed(0, 64, 64))[:-2], (1, 1), False, rng())
    with pytest.raises(BadImageError):
        for_device(part, 32)


def test_room_is_bounded(monkeypatch):
    monkeypatch.setattr(device_decoding, "MOST_PIXELS", 3 * 64 * 64)
    groups = []
    decode = DeviceDecoder._decode
    monkeypatch.setattr(DeviceDecoder, "_decode", lambda self, files: groups.append(len(files)) or decode(self, files))
    ours, theirs = decoded([encode(detailed(seed, 64, 64)) for seed in range(8)], 32)
    assert groups == [3, 3, 2]
    assert min(map(psnr, ours, theirs)) >= REDUCED


# ---- as a part of the loader ----------------------------------------------------------------------------------------


@pytest.fixture
def pairs(tmp_path: Path) -> Pairs:
    members = [sample(f"{row}", f"a dog {row} and a cat", row, jpg=encode(detailed(row, 90, 70))) for row in range(12)]
    members[3] = sample("3", "a dog", 3, jpg=encode(detailed(3, 90, 70), "PNG"))
    members[7] = sample("7", "a cat", 7, jpg=encode(detailed(7, 90, 70))[:900])
    write_shard(tmp_path / "0.tar", *members)
    return Pairs(str(tmp_path / "0.tar"), DataConfig())


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_differ_in_nothing_else(pairs, labels, workers):  # noqa: F811
    def batches(undecoded: bool) -> list:
        made = TrainingBatches(pairs, [labels], DataConfig(), 32, Stream(pairs.order(0, 8), 6), undecoded)
        finish = DeviceDecoder(CPU) if undecoded else None
        return list(Loader(made, 0, 4, workers=workers, max_bad=1.0, finish=finish))

    for ours, theirs in zip(batches(True), batches(False), strict=True):
        assert ours.keys() == theirs.keys()
        assert ours["keys"] == theirs["keys"]
        assert torch.equal(ours["label_ids"], theirs["label_ids"])
        assert min(map(psnr, ours["images"], theirs["images"])) >= REDUCED


def test_what_nobody_can_decode_is_left_out_and_counted(pairs, labels, monkeypatch):  # noqa: F811
    def broken(files, **_):
        raise RuntimeError("nvJPEG")

    made = TrainingBatches(pairs, [labels], DataConfig(), 32, Stream(pairs.order(0, 8), 12), True)
    whole = next(iter(Loader(made, 0, 1, workers=0, max_bad=1.0, finish=DeviceDecoder(CPU))))
    monkeypatch.setattr(device_decoding, "decode_jpeg", broken)
    loader = Loader(made, 0, 1, workers=0, max_bad=1.0, finish=DeviceDecoder(CPU))
    by_host = next(iter(loader))
    assert by_host["keys"] == whole["keys"]
    assert loader.bad == {"picture cannot be decoded": 1}
    host = device_decoding.part_picture
    lost = [key for key in whole["keys"] if key != "3"][4]  # the fifth of those that the device decodes
    calls = iter(range(99))

    def one_fails(part, size):
        if next(calls) == 4:
            raise BadImageError("broken")
        return host(part, size)

    monkeypatch.setattr(device_decoding, "part_picture", one_fails)
    loader = Loader(made, 0, 1, workers=0, max_bad=1.0, finish=DeviceDecoder(CPU))
    batch = next(iter(loader))
    assert batch["keys"] == [key for key in whole["keys"] if key != lost]
    assert loader.bad == {"picture cannot be decoded": 2}
    for row, key in enumerate(batch["keys"]):
        before = whole["keys"].index(key)
        assert torch.equal(batch["images"][row], by_host["images"][before])
        own, other = (
            each["label_ids"][each["label_offsets"][at] : each["label_offsets"][at + 1]]
            for each, at in ((batch, row), (whole, before))
        )
        assert torch.equal(own, other)


def test_asking_for_it_without_a_gpu_is_refused():
    assert device_decoder("cpu", CPU) is None
    with pytest.raises(UserError, match="needs an NVIDIA GPU, and this run is on cpu"):
        device_decoder("gpu", CPU)
    with pytest.raises(UserError, match=r"data\.decode"):
        device_decoder("tpu", CPU)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(shared: Path):
    paths = sorted((shared / "data" / "coco-mini" / "train2017").glob("*.jpg"))[:24]
    parts = [training_part(path.read_bytes(), (0.08, 1.0), True, rng(seed)) for seed, path in enumerate(paths)]
    batch = {"keys": list(map(str, paths)), "images": gather([for_device(part, 224) for part in parts], 224)}
    made = device_decoder("gpu", torch.device("cuda"))(batch)["images"]
    assert made.device.type == "cuda"
    distances = [psnr(ours.cpu(), part_picture(part, 224)) for ours, part in zip(made, parts, strict=True)]
    assert min(distances) >= REDUCED
    assert np.median(distances) >= PHOTOGRAPHS

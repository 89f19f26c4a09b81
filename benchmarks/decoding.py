"""Ways from JPEG bytes to a crop of 224 pixels, on one core: what docs/decoding.md has tables of.

python benchmarks/decoding.py FOLDER      # of JPEGs, some dozens, of 400 pixels or more

OpenCV is measured too where it is installed: pip install opencv-python-headless.
"""

import importlib.util
import io
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import thread_time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as v2

from catclip.data.crops import Box, on_grid, reduction, sample_crop
from catclip.data.images import _resize
from catclip.data.jpeg import decode_part, read_frame

if WITH_OPENCV := importlib.util.find_spec("cv2") is not None:
    import cv2

SIZE, ROUNDS, PICTURES = 224, 9, 80
CROPS = {".08–1": (0.08, 1.0), ".9–1": (0.9, 1.0)}

Decode = Callable[[bytes, Box], np.ndarray]  # the crop's pixels, uint8 [H, W, 3]
Resize = Callable[[np.ndarray], torch.Tensor]  # uint8 [3, SIZE, SIZE]


# ---- decoding -------------------------------------------------------------------------------------------------------


def pillow(data: bytes, box: Box, *, draft: bool = False) -> np.ndarray:
    image, step = Image.open(io.BytesIO(data)), reduction(box, SIZE) if draft else 1
    if step > 1:
        image.draft("RGB", (image.width // step, image.height // step))
    return np.array(image.crop(on_grid(box, step)))


def opencv(data: bytes, box: Box, *, reduced: bool = False) -> np.ndarray:
    step = reduction(box, SIZE) if reduced else 1
    flag = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}.get(step)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR if flag is None else flag)
    return cv2.cvtColor(part(pixels, on_grid(box, step)), cv2.COLOR_BGR2RGB)


def torchvision(data: bytes, box: Box) -> np.ndarray:
    pixels = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB)
    return part(pixels.permute(1, 2, 0).numpy(), box)


def simple(data: bytes, box: Box, *, reduced: bool = False) -> np.ndarray:
    step = reduction(box, SIZE) if reduced else 1
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    pixels = simplejpeg.decode_jpeg(data, min_height=-(-height // step), min_width=-(-width // step))
    return part(pixels, on_grid(box, step))


def ours(data: bytes, box: Box, *, reduced: bool = True) -> np.ndarray:
    frame = read_frame(data)
    assert frame
    return decode_part(data, frame, box, reduction(box, SIZE) if reduced else 1)


def part(pixels: np.ndarray, box: Box) -> np.ndarray:
    return pixels[box.top : box.bottom, box.left : box.right]


DECODERS: dict[str, Decode] = {
    "Pillow": pillow,
    "Pillow, draft": partial(pillow, draft=True),
    "torchvision": torchvision,
    **({"OpenCV": opencv, "OpenCV, reduced": partial(opencv, reduced=True)} if WITH_OPENCV else {}),
    "simplejpeg": simple,
    "simplejpeg, reduced": partial(simple, reduced=True),
    "simplejpeg, to the crop's end": partial(ours, reduced=False),
    "simplejpeg, reduced, to the crop's end": ours,
}


# ---- resizing -------------------------------------------------------------------------------------------------------


def pillow_resize(pixels: np.ndarray, gap: float | None = None) -> torch.Tensor:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    square = image.resize((SIZE, SIZE), Image.Resampling.BICUBIC, reducing_gap=gap)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)


def torchvision_resize(pixels: np.ndarray) -> torch.Tensor:
    image = torch.from_numpy(pixels).permute(2, 0, 1)
    return v2.resize(image, [SIZE, SIZE], InterpolationMode.BICUBIC, antialias=True)


def opencv_resize(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA)).permute(2, 0, 1)


RESIZERS: dict[str, Resize] = {
    "Pillow, bicubic": pillow_resize,
    "Pillow, bicubic, reducing_gap=1.5": partial(pillow_resize, gap=1.5),
    "torchvision v2, bicubic": torchvision_resize,
    "PyTorch, bicubic": partial(_resize, size=SIZE),
    **({"OpenCV, INTER_AREA": opencv_resize} if WITH_OPENCV else {}),
}


# ---- measuring ------------------------------------------------------------------------------------------------------


def main(files: Sequence[Path]) -> None:
    torch.set_num_threads(1)
    if WITH_OPENCV:
        cv2.setNumThreads(1)
    as_they_are = [path.read_bytes() for path in files]
    measured = ["pillow", "torch", "torchvision", "simplejpeg", *(["opencv-python-headless"] if WITH_OPENCV else [])]
    print(", ".join(f"{name} {version(name)}" for name in measured))
    for title, datas in {"as they are": as_they_are, "again, 4:2:0": [again(data) for data in as_they_are]}.items():
        size = sum(map(len, datas)) / len(datas)
        for name, scale in CROPS.items():
            print(f"\n{len(datas)} JPEGs {title}, {size / 1000:.0f} kB; crops of {name}")
            compare(datas, scale)


def again(data: bytes) -> bytes:
    """The picture as tools that download many write it: quality 90, colours at half the resolution."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").save(buffer, "JPEG", quality=90, subsampling="4:2:0")
    return buffer.getvalue()


def compare(datas: Sequence[bytes], scale: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    boxes = [sample_crop(*Image.open(io.BytesIO(data)).size, scale, rng) for data in datas]
    jobs = list(zip(datas, boxes, strict=True))
    table("decoding", {name: partial(run, decode, jobs) for name, decode in DECODERS.items()}, len(jobs))
    crops = [(pillow(*job),) for job in jobs]
    distances = {name: median_psnr(resize, crops) for name, resize in RESIZERS.items()}
    sides = {name: partial(run, into_batch(resize), crops) for name, resize in RESIZERS.items()}
    table("resizing", sides, len(jobs), distances)
    roads = {
        "Pillow, Pillow": lambda data, box: pillow_resize(pillow(data, box)),
        "simplejpeg, reduced, to the crop's end; PyTorch": lambda data, box: _resize(ours(data, box), SIZE),
    }
    table("both", {name: partial(run, into_batch(road), jobs) for name, road in roads.items()}, len(jobs))
    tell_distances(jobs)


def into_batch(side: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """The side, and a channel after the other, as batches have it."""
    return lambda *job: side(*job).contiguous()


def run(work: Callable, jobs: Sequence[tuple]) -> None:
    for job in jobs:
        work(*job)


def table(title: str, sides: dict[str, Callable[[], None]], count: int, psnr: dict[str, float] | None = None) -> None:
    """Print pictures a second by the median of interleaved rounds, and as a multiple of the first side's."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(ROUNDS + 1):
        for name, side in sides.items():
            start = thread_time()
            side()
            if turn:
                seconds[name].append(thread_time() - start)
    first = statistics.median(next(iter(seconds.values())))
    print(f"  {title:<50}pictures/s     ×{'   dB' if psnr else ''}")
    for name, values in seconds.items():
        value = statistics.median(values)
        print(f"  {name:<50}{count / value:>10,.0f}{first / value:>6.2f}{f'{psnr[name]:>5.0f}' if psnr else ''}")


def median_psnr(resize: Resize, crops: Sequence[tuple[np.ndarray]]) -> float:
    """How near a resizer is to Pillow's, by the median picture."""
    return statistics.median(psnr(resize(pixels), pillow_resize(pixels)) for (pixels,) in crops)


def tell_distances(jobs: Sequence[tuple[bytes, Box]]) -> None:
    """Print how near our road is to Pillow's: of what we decode in full, and of what we decode at a reduced scale.

    That is set beside the crop on the grid of the reduced picture, which we take, and the one that was asked for.
    """
    distances: dict[str, list[float]] = {}
    for data, box in jobs:
        step = reduction(box, SIZE)
        made = _resize(ours(data, box), SIZE)
        if step == 1:
            distances.setdefault("decoded in full", []).append(psnr(made, pillow_resize(pillow(data, box))))
            continue
        same = Box(*(step * side for side in on_grid(box, step)))
        distances.setdefault("reduced, on its grid", []).append(psnr(made, pillow_resize(pillow(data, same))))
        distances.setdefault("reduced, as asked for", []).append(psnr(made, pillow_resize(pillow(data, box))))
    print(f"  {'our road, from Pillow':<50}  pictures  median dB  least dB")
    for name, values in distances.items():
        print(f"  {name:<50}{len(values):>10}{statistics.median(values):>11.0f}{min(values):>10.0f}")


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    """Decibels; 99 for the same."""
    error = (one.double() - other.double()).square().mean().item()
    return 10 * np.log10(255**2 / error) if error else 99


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sorted(Path(sys.argv[1]).glob("*.jpg"))[:PICTURES])

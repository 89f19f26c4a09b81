"""`data.decode=gpu`: JPEGs become pictures on the device, by torchvision's decoder (nvJPEG on CUDA).

Workers read the files and choose the crops, by the same random numbers as where they decode themselves. Here pictures
are decoded whole: what comes out lies near to what workers make (docs/decoding.md says how near), and is not the same.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torchvision.io import ImageReadMode, decode_jpeg

from catclip.data.crops import Box, Orientation
from catclip.data.images import BadImageError, Part, part_picture
from catclip.data.jpeg import read_frame
from catclip.data.loader import UNDECODABLE, Batch
from catclip.data.micro import take
from catclip.data.undecoded import MOST_PIXELS, Undecoded
from catclip.errors import UserError, check_choice


class _Job(NamedTuple):
    row: int  # in the batch
    file: torch.Tensor
    box: Box
    orientation: Orientation
    area: int  # pixels of the whole picture


def device_decoder(decode: str, device: torch.device) -> "DeviceDecoder | None":
    """What `data.decode` asks for: None where the loader's workers decode.

    Raises:
        UserError: a GPU is to decode, and the run is not on one.
    """
    check_choice("data.decode", decode, ["cpu", "gpu"])
    if decode == "cpu":
        return None
    if device.type != "cuda":
        raise UserError(f"data.decode=gpu needs an NVIDIA GPU, and this run is on {device}: give data.decode=cpu.")
    return DeviceDecoder(device)


class DeviceDecoder:
    """Decodes the pictures of batches on a device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __call__(self, batch: Batch) -> Batch:
        """Return the batch with `images` uint8 [B, 3, size, size] on the device, where it had them `Undecoded`.

        Samples are left out, and counted in its `bad`, whose pictures neither the device nor the host can decode.
        """
        undecoded: Undecoded = batch["images"]
        size = undecoded.size
        images = torch.empty(undecoded.pictures, 3, size, size, dtype=torch.uint8, device=self.device)
        images[undecoded.decoded_rows.to(self.device)] = undecoded.decoded.to(self.device, non_blocking=True)
        good = set(undecoded.decoded_rows.tolist())
        numbers = zip(undecoded.rows.tolist(), undecoded.areas.tolist(), strict=True)
        jobs = (_Job(row, *part, area) for (row, area), part in zip(numbers, undecoded.parts(), strict=True))
        for group in _groups(jobs):
            for job, whole in zip(group, self._decode([job.file for job in group]), strict=True):
                picture = _on_host(job, size) if whole is None else _square(whole, job, size)
                if picture is not None:
                    images[job.row] = picture
                    good.add(job.row)
        batch = batch | {"images": images}
        if len(good) == len(images):
            return batch
        batch["bad"] = Counter(batch["bad"]) + Counter({UNDECODABLE: len(images) - len(good)})
        kept = take({key: value for key, value in batch.items() if key not in ("bad", "spent")}, sorted(good))
        return batch | kept

    def _decode(self, files: list[torch.Tensor]) -> list[torch.Tensor | None]:
        """The whole pictures, uint8 [3, H, W]; None for a file that the decoder does not take."""
        try:
            return list(decode_jpeg(files, mode=ImageReadMode.RGB, device=self.device))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # it does not say which
            return [None] if len(files) == 1 else [whole for file in files for whole in self._decode([file])]


def _groups(jobs: Iterable[_Job]) -> Iterator[list[_Job]]:
    """Files that are decoded together: all that do not take more room than the largest single one may."""
    group: list[_Job] = []
    room = MOST_PIXELS
    for job in jobs:
        if group and job.area > room:
            yield group
            group, room = [], MOST_PIXELS
        group.append(job)
        room -= job.area
    if group:
        yield group


def _square(whole: torch.Tensor, job: _Job, size: int) -> torch.Tensor:
    """The part of a whole picture, uint8 [3, H, W], as uint8 [3, size, size]."""
    left, top, right, bottom = job.box
    part = whole[None, :, top:bottom, left:right].float()
    resized = F.interpolate(part, (size, size), mode="bicubic", antialias=True)[0]
    return job.orientation.upright(resized.round_().clamp_(0, 255).to(torch.uint8))


def _on_host(job: _Job, size: int) -> torch.Tensor | None:
    data = job.file.numpy().tobytes()
    try:
        return part_picture(Part(data, read_frame(data), job.box, job.orientation), size)
    except BadImageError:
        return None

"""Pictures of a batch on their way to the device that decodes them: the files of JPEGs, and what becomes of each."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from catclip.data.crops import Box, Orientation
from catclip.data.images import Part, part_picture
from catclip.data.jpeg import is_whole

# The device holds all of a picture. What is larger is decoded where a part of it, at a reduced scale, is enough.
MOST_PIXELS = 1 << 25

_FRAMES = (0xC0, 0xC2)  # baseline and progressive
_ADOBE = b"\xff\xee\x00\x0eAdobe"


class Undecoded(NamedTuple):
    """A batch's pictures: n as files of JPEGs, and k decoded, because they are something else.

    Plain tensors: so they cross from the workers in shared memory, and into page-locked memory.
    """

    files: torch.Tensor  # uint8 [N], laid end to end
    offsets: torch.Tensor  # int64 [n + 1]
    boxes: torch.Tensor  # int64 [n, 4], of the stored pictures: see `Box`
    orientations: torch.Tensor  # bool [n, 3]: see `Orientation`
    areas: torch.Tensor  # int64 [n], pixels of the whole pictures
    rows: torch.Tensor  # int64 [n], which pictures of the batch they are
    decoded: torch.Tensor  # uint8 [k, 3, size, size], the others, in order
    decoded_rows: torch.Tensor  # int64 [k]
    size: int

    @property
    def pictures(self) -> int:
        """How many pictures the batch has."""
        return len(self.rows) + len(self.decoded_rows)

    def parts(self) -> Iterator[tuple[torch.Tensor, Box, Orientation]]:
        """Yield of each of the n its file, uint8, the part of the picture that is wanted, and its orientation."""
        bounds = self.offsets.tolist()
        for row, (box, turn) in enumerate(zip(self.boxes.tolist(), self.orientations.tolist(), strict=True)):
            yield self.files[bounds[row] : bounds[row + 1]], Box(*box), Orientation(*turn)


def for_device(part: Part, size: int) -> Part | torch.Tensor:
    """Return the part, if a device can decode its file, and otherwise the picture, uint8 [3, size, size].

    Raises:
        BadImageError: it must be decoded here, and cannot.
    """
    return part if _is_usual(part) else part_picture(part, size)


def _is_usual(part: Part) -> bool:
    """Whether it is a whole, baseline or progressive JPEG, grey or in YCbCr, of a size that a device has room for."""
    data, frame = part.data, part.frame
    if frame is None or data[frame.place + 1] not in _FRAMES or frame.width * frame.height > MOST_PIXELS:
        return False
    channels = bytes(data[frame.place + at] for at in (10, 13, 16))
    adobe = data.find(_ADOBE, 0, frame.place)
    in_rgb = channels == b"RGB" or (adobe >= 0 and data[adobe + 15] != 1)
    return is_whole(data, frame) and not (data[frame.place + 9] == 3 and in_rgb)


def gather(pictures: Sequence[Part | torch.Tensor], size: int) -> Undecoded:
    """Put together what `for_device` gave for each picture of a batch."""
    parts = [(row, each) for row, each in enumerate(pictures) if isinstance(each, Part)]
    decoded = [(row, each) for row, each in enumerate(pictures) if not isinstance(each, Part)]
    files = bytearray().join(part.data for _, part in parts)
    return Undecoded(
        torch.frombuffer(files, dtype=torch.uint8) if files else torch.empty(0, dtype=torch.uint8),
        torch.tensor([0, *(len(part.data) for _, part in parts)], dtype=torch.int64).cumsum(0),
        torch.tensor([part.box for _, part in parts], dtype=torch.int64).view(-1, 4),
        torch.tensor([part.orientation for _, part in parts], dtype=torch.bool).view(-1, 3),
        torch.tensor([part.frame.width * part.frame.height for _, part in parts if part.frame], dtype=torch.int64),
        torch.tensor([row for row, _ in parts], dtype=torch.int64),
        torch.stack([each for _, each in decoded]) if decoded else torch.empty(0, 3, size, size, dtype=torch.uint8),
        torch.tensor([row for row, _ in decoded], dtype=torch.int64),
        size,
    )

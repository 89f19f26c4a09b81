"""JPEG bytes → the pixels of a part of the picture, at a reduced scale where that is enough.

Nearly all of the time goes into the entropy code, which must be read from its start. What can be spared is what lies
below the part: the decoder is given a header that says that the picture ends there.
"""

from dataclasses import dataclass

import numpy as np
import simplejpeg

from catclip.data.crops import Box, on_grid

# Baseline, extended and progressive frames. The others are rare, and not what simplejpeg is for.
_FRAMES = (0xC0, 0xC1, 0xC2)
_PROGRESSIVE = 0xC2
_SCAN, _APP1, _END = 0xDA, 0xE1, 0xD9
# Each scan of a progressive file passes over the whole picture. No encoder writes half as many.
_MOST_SCANS = 500
# What no picture's row is, of any width that a JPEG may have.
_UNWRITTEN = np.random.default_rng(0).integers(256, size=(65536, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Frame:
    """What the header of a JPEG says of the picture."""

    place: int  # of the frame header in the bytes
    width: int
    height: int
    unit: int  # rows of pixels that are coded together
    progressive: bool
    has_metadata: bool  # EXIF or XMP: they may say an orientation


def read_frame(data: bytes) -> Frame | None:
    """Return what the header says, or None where this is no JPEG, or one that is not for `decode_part`.

    That is for 8 bits a channel, greyscale or three channels, Huffman coded.
    """
    if data[:2] != b"\xff\xd8":
        return None
    place, has_metadata = 2, False
    while place + 19 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker in _FRAMES:
            return _frame(data, place, marker == _PROGRESSIVE, has_metadata)
        if marker == _SCAN or length < 2:
            return None
        has_metadata |= marker == _APP1
        place += 2 + length
    return None


def _frame(data: bytes, place: int, progressive: bool, has_metadata: bool) -> Frame | None:
    bits, channels = data[place + 4], data[place + 9]
    height, width = (int.from_bytes(data[place + at : place + at + 2], "big") for at in (5, 7))
    if bits != 8 or channels not in (1, 3) or not width or not height:
        return None
    unit = 8 * max(data[place + 11 + 3 * channel] & 15 for channel in range(channels))
    return Frame(place, width, height, unit, progressive, has_metadata) if unit else None


def why_bad(data: bytes, frame: Frame) -> str | None:
    """Say why a file must be a lie or an attack, by what can be told without decoding it."""
    # Each block of 8 x 8 pixels takes a bit at least.
    if 8 * len(data) < frame.width * frame.height // 64:
        return f"{len(data):,} bytes cannot hold {frame.width} x {frame.height} pixels"
    if frame.progressive and (scans := data.count(bytes([0xFF, _SCAN]))) > _MOST_SCANS:
        return f"{scans:,} scans"
    return None


def is_whole(data: bytes, frame: Frame) -> bool:
    """Whether the file has an end. Decoders fill up with grey what is missing."""
    return data.rfind(bytes([0xFF, _END])) > frame.place


def decode_part(data: bytes, frame: Frame, box: Box, reduce: int) -> np.ndarray:
    """Decode a part of the picture as it is stored, shrunk by 1, 2, 4 or 8.

    Returns:
        uint8 [height, width, 3] of the part `on_grid(box, reduce)` of the shrunk picture, a view into a larger array.

    Raises:
        ValueError: the bytes are cut short, break off, or are nothing that simplejpeg decodes.
    """
    if not is_whole(data, frame):
        raise ValueError("The JPEG has no end.")
    # One unit more than the part, for what smooth upsampling of the colours takes from below.
    rows = min(frame.height, (-(-box.bottom // frame.unit) + 1) * frame.unit)
    if rows < frame.height:
        data = data[: frame.place + 5] + rows.to_bytes(2, "big") + data[frame.place + 7 :]
    height, width = -(-rows // reduce), -(-frame.width // reduce)
    decoded = np.empty((height, width, 3), np.uint8)
    decoded[-1] = unwritten = _UNWRITTEN[:width]
    # Not strict: the bytes left over below the part are worth a warning to the decoder. It is silent then about errors
    # too, at which it stops; its last row, written last, tells, and nothing that lay in memory before is a picture.
    pixels = simplejpeg.decode_jpeg(data, min_height=height, min_width=width, buffer=decoded, strict=False)
    if pixels.shape != decoded.shape or np.array_equal(pixels[-1], unwritten):
        raise ValueError("The JPEG breaks off.")
    left, top, right, bottom = on_grid(box, reduce)
    return pixels[top:bottom, left:right]

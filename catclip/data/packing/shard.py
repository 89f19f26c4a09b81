"""Pictures and captions → one shard, laid out as img2dataset does: jpg, txt with the first caption, json with all."""

import hashlib
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from webdataset.writer import TarWriter

from catclip.captions.counting.processes import Progress
from catclip.captions.sources.jsonl import captions_in
from catclip.captions.sources.rows import utf8
from catclip.data.images import BadImageError, decode
from catclip.data.packing.inventory import EMPTY_CAPTION, Candidate, Skipped
from catclip.data.packing.journal import ShardRecord
from catclip.data.pairs import BadSampleError
from catclip.files import replacing, writing

# Of pictures that are shrunk. Whole chroma: as many bytes as 95 with a quarter of it, and on COCO's photographs 1.5 dB
# closer to the original on average, 9 dB on the worst.
_JPEG = {"quality": 92, "subsampling": "4:4:4"}


def write_shard(
    path: Path, samples: Sequence[tuple[str, Candidate]], folder: Path, size: int | None, progress: Progress
) -> ShardRecord:
    """Write a shard; its bytes depend on nothing but the arguments and the files that the samples name.

    Args:
        path: of the shard.
        samples: keys and pictures.
        folder: below which the pictures lie.
        size: the longest side that pictures keep, in pixels; None copies them.
        progress: is told of each picture.

    Raises:
        UserError: the shard cannot be written.
    """
    skipped: list[Skipped] = []
    captions = 0
    with writing(path), replacing(path) as aside, aside.open("wb") as stream, _open_tar(stream) as tar:
        for key, candidate in samples:
            try:
                sample = _make_sample(key, candidate, folder, size)
            except BadSampleError as error:
                skipped.append(Skipped(candidate.path, str(error)))
            else:
                captions += sample.captions
                tar.write(sample.members)
            progress(1, candidate.size)
    return ShardRecord(path.name, len(samples) - len(skipped), captions, path.stat().st_size, skipped)


def _open_tar(stream: io.BufferedWriter) -> TarWriter:
    return TarWriter(stream, user="catclip", group="catclip", mtime=0, encoder=False)


# ---- samples --------------------------------------------------------------------------------------------------------


class _Sample(NamedTuple):
    members: dict[str, Any]
    captions: int


def _make_sample(key: str, candidate: Candidate, folder: Path, size: int | None) -> _Sample:
    captions = _read_captions(folder / candidate.text) if candidate.captions is None else candidate.captions
    captions = [_valid(caption) for caption in captions]
    if not captions:
        raise BadSampleError(EMPTY_CAPTION)
    data = _read(folder / candidate.path, "picture")
    if not data:
        raise BadSampleError("empty picture")
    try:
        picture = prepare(data, size)
    except BadImageError as error:
        raise BadSampleError("picture cannot be decoded") from error
    about = {
        "key": key,
        "caption": captions[0],
        "captions": captions,
        "path": utf8(candidate.path),
        "width": picture.width,
        "height": picture.height,
        "sha256": hashlib.sha256(picture.data).hexdigest(),
    }
    members = {
        "__key__": key,
        picture.extension: picture.data,
        "txt": captions[0].encode(),
        "json": json.dumps(about).encode(),
    }
    return _Sample(members, len(captions))


def _read_captions(path: Path) -> list[str]:
    """Return the captions in a text file, one a line."""
    text = _read(path, "caption").decode("utf-8-sig", errors="replace")
    return captions_in(text.split("\n"))


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadSampleError(f"{what} cannot be read ({os.strerror(error.errno or 0)})") from error


def _valid(caption: str) -> str:
    """Return a caption with U+FFFD for lone surrogates, which JSON can hold and UTF-8 cannot."""
    return caption.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# ---- pictures -------------------------------------------------------------------------------------------------------


class Prepared(NamedTuple):
    """A picture as it goes into a shard.

    Attributes:
        extension: jpg, png or webp.
        data: its bytes.
        width: pixels, of the upright picture.
        height: pixels, of the upright picture.
    """

    extension: str
    data: bytes
    width: int
    height: int


def prepare(data: bytes, size: int | None) -> Prepared:
    """Check that a picture can be decoded to its end, and shrink it if it is to be.

    JPEG, PNG and WebP that need not shrink keep their bytes. Other formats, which few readers of shards expect, become
    PNG; what is shrunk becomes JPEG.

    Args:
        data: any format that `catclip.data.images.decode` reads, whatever its file's ending.
        size: the longest side that it keeps, in pixels; None for any.

    Raises:
        BadImageError: it cannot be decoded.
    """
    # A large JPEG is decoded at a reduced scale, but with pixels enough that shrinking the rest blurs nothing.
    image = decode(data, at_least=2 * size if size else None)
    if size and max(image.size) > size:
        return _encode(_shrink(image, size), "jpg", "JPEG", **_JPEG)
    if extension := _extension(data):
        return Prepared(extension, data, *image.size)
    return _encode(image, "png", "PNG")


def _shrink(image: Image.Image, size: int) -> Image.Image:
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _encode(image: Image.Image, extension: str, kind: str, **options: Any) -> Prepared:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return Prepared(extension, buffer.getvalue(), *image.size)


def _extension(data: bytes) -> str | None:
    """Return the extension of a format that goes into shards as it is; file names may say another one."""
    if data.startswith(b"\xff\xd8"):
        return "jpg"
    if data.startswith(b"\x89PNG"):
        return "png"
    return "webp" if data.startswith(b"RIFF") and data[8:12] == b"WEBP" else None

"""Captions out of webdataset shards: tars in which neighbouring members that share their name are one sample."""

import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

from catclip.captions.sources.forward import ForwardFile
from catclip.captions.sources.texts import Chunk, from_python
from catclip.errors import UserError

CAPTION_KEYS = ("txt", "json.caption", "json.captions")
_BLOCK = 1 << 16  # bytes read at once behind the end
_SAMPLES = 4096  # of which the captions are given at once


def captions_of(sample: dict[str, bytes], caption_key: str) -> list[str]:
    """Return the captions of one webdataset sample.

    Args:
        sample: the sample's members by their extension without the dot.
        caption_key: an extension (``txt``), or a field of a JSON member (``json.caption``), or one in a field
            (``json.meta.caption``); of a list there, all that are text.

    Raises:
        KeyError: the sample has no such member or field, or it holds no text.
        ValueError: the member is not valid JSON.
    """
    extension, _, field = caption_key.partition(".")
    text = sample[extension].decode("utf-8", errors="replace")
    if not field:
        return [text.strip()]
    values = list(_values(json.loads(text), field))
    captions = [value.strip() for value in values if isinstance(value, str)]
    if values and not captions:
        raise KeyError(caption_key)
    return captions


def _values(value: Any, field: str) -> Iterator[Any]:
    """Yield what stands in a field, ``caption``, or in one within a field, ``meta.caption``; None where nothing does.

    Of lists on the way, and at its end, all that they hold.
    """
    if isinstance(value, list):
        for each in value:
            yield from _values(each, field)
    elif not field:
        yield value
    elif isinstance(value, dict) and field not in value and "." in field:
        first, _, rest = field.partition(".")
        yield from _values(value.get(first), rest)
    else:
        yield from _values(value.get(field) if isinstance(value, dict) else None, "")


def shard_chunks(stream: BinaryIO, path: str, caption_key: str | None, first_only: bool) -> Iterator[Chunk]:
    """Yield the captions of a shard.

    Args:
        stream: its content. If it can seek, what lies between the captions is not read.
        path: where it lies, for messages.
        caption_key: as `captions_of` takes it; None finds the usual ones.
        first_only: of a sample's list of captions give the first only.

    Raises:
        UserError: it is no tar, or no sample in it has a caption under that key.
    """
    keys = Counter[str]()
    found, samples, captions, skipped = False, 0, list[str](), Counter[str]()
    wanted = {caption_key.partition(".")[0]} if caption_key else {"txt", "json"}
    for number, sample in enumerate(_samples(stream, path, wanted, keys, skipped), 1):
        caption_key = caption_key or next((key for key in CAPTION_KEYS if _has(sample, key)), None)
        of_sample = _captions_or_reason(sample, caption_key)
        if isinstance(of_sample, str):
            skipped[of_sample] += 1
        else:
            captions += of_sample[:1] if first_only else of_sample
            samples += 1
        if number % _SAMPLES == 0:
            found = found or samples > 0
            yield Chunk(from_python(captions), skipped.copy(), samples)
            captions.clear()
            skipped.clear()
            samples = 0
    if keys and not (found or samples):
        seen = ", ".join(f"{key} ({count:,})" for key, count in keys.most_common(12))
        key = f"data.caption_key={caption_key}" if caption_key else ", ".join(CAPTION_KEYS)
        raise UserError(f"No sample in {path} has a caption under {key}. Keys seen: {seen}.")
    yield Chunk(from_python(captions), skipped, samples)


def _captions_or_reason(sample: dict[str, bytes], caption_key: str | None) -> list[str] | str:
    """Return a sample's captions, or why it has none."""
    try:
        captions = captions_of(sample, caption_key) if caption_key else []
    except KeyError:
        return "no caption"
    except (ValueError, RecursionError):
        return "invalid JSON"
    return [caption for caption in captions if caption] or "no caption"


def _has(sample: dict[str, bytes], key: str) -> bool:
    return isinstance(_captions_or_reason(sample, key), list)


def _samples(
    stream: BinaryIO, path: str, wanted: set[str], keys: Counter[str], skipped: Counter[str]
) -> Iterator[dict[str, bytes]]:
    """Yield a shard's samples with their `wanted` members.

    Counts in `keys` all extensions and JSON fields that are seen, and in `skipped` a shard that breaks off.
    """
    name_now, sample = None, dict[str, bytes]()
    try:
        for (folder, stem), extension, content in _members(stream, wanted):
            if name_now not in (None, (folder, stem)):
                yield sample
                sample = {}
            name_now = (folder, stem)
            keys[extension] += 1
            if content is not None:
                sample[extension] = content
                if extension == "json" and keys[extension] <= 20:
                    keys.update(_field_names(content))
    except tarfile.TarError as error:
        if name_now is None:
            raise UserError(f"{path} is no readable tar: {error}.") from None
        skipped["damaged shard, read up to the damage"] += 1
    if name_now is not None:
        yield sample


def _members(stream: BinaryIO, wanted: set[str]) -> Iterator[tuple[tuple[str, str], str, bytes | None]]:
    """Yield of each member its folder and name up to the first dot, its extension, and if `wanted` its content.

    Raises:
        tarfile.TarError: the tar is damaged.
    """
    source = stream if stream.seekable() else ForwardFile(stream)
    with tarfile.open(fileobj=source, mode="r:") as tar:  # type: ignore[call-overload]
        while (member := tar.next()) is not None:
            vars(tar)["members"].clear()  # tarfile would keep every header: gigabytes for a large shard
            folder, _, file = member.name.rpartition("/")
            stem, dot, extension = file.partition(".")
            if member.isfile() and stem and dot:
                extension = extension.lower()
                content = tar.extractfile(member) if extension in wanted else None
                yield (folder, stem), extension, content.read() if content else None
        _check_end(source, tar.offset)


def _check_end(file: BinaryIO | ForwardFile, offset: int) -> None:
    """Raise unless a tar ends in zeros: tarfile takes a broken header, and a file cut short, for its end too."""
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE or any(block):
        raise tarfile.ReadError("it breaks off")
    while block := file.read(_BLOCK):
        if any(block):
            raise tarfile.ReadError("it has an end mark, and more after it")


def _field_names(content: bytes) -> list[str]:
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        return []
    return [f"json.{name}" for name in fields] if isinstance(fields, dict) else []

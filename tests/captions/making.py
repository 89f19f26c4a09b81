"""Files of captions, in every format that is read."""

import bz2
import csv
import gzip
import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from catclip.captions.sources.reading import Span, read_captions

FORMATS = ("txt", "csv", "tsv", "jsonl", "parquet", "tar")
COMPRESSIONS = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}


def write_shard(path: Path, members: Iterable[tuple[str, bytes]]) -> str:
    path.write_bytes(tar_of(members))
    return str(path)


def tar_of(members: Iterable[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def file_of(captions: list[str], form: str) -> bytes:
    """The captions as one file of a format, with things beside them."""
    if form == "txt":
        return "".join(f"{caption}\n" for caption in captions).encode()
    if form == "csv":
        text = io.StringIO(newline="")
        csv.writer(text).writerows([("url", "caption", "n"), *(("u", caption, 3) for caption in captions)])
        return text.getvalue().encode()
    if form == "tsv":
        return "".join(f"{line}\n" for line in ("n\tcaption", *(f"3\t{caption}" for caption in captions))).encode()
    if form == "jsonl":
        return "".join(json.dumps({"n": 3, "caption": caption}) + "\n" for caption in captions).encode()
    if form == "parquet":
        file = io.BytesIO()
        rows = pa.table({"n": [3] * len(captions), "caption": pa.array(captions, pa.string())})
        pq.write_table(rows, file, row_group_size=max(1, len(captions) // 3))
        return file.getvalue()
    assert form == "tar"
    return tar_of(
        (f"{i:05d}.{ending}", content)
        for i, caption in enumerate(captions)
        for ending, content in (("jpg", b"x"), ("txt", caption.encode()))
    )


def read(path: Path | str, key: str | None = None, first_only: bool = True, span: Span | None = None):
    """All captions of a file, and the skips by reason."""
    captions: list[str] = []
    skipped = Counter[str]()
    for chunk in read_captions(str(path), key, first_only, span):
        captions += chunk.captions.to_pylist()
        skipped.update(chunk.skipped)
    return captions, dict(skipped)

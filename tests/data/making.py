"""Pictures and shards made by hand, so that a test knows every byte that is in them."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from catclip.data.loader import TrainingBatches
from catclip.data.stream import Stream


def picture(seed: int = 0, width: int = 40, height: int = 32) -> Image.Image:
    """A smooth RGB picture, different for each seed: JPEG and resizing change it little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def to_tensor(image: Image.Image) -> torch.Tensor:
    """uint8 [3, H, W]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def tar_bytes(members: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def sample(key: str, caption: str = "a dog", seed: int = 0, **members: bytes) -> list[tuple[str, bytes]]:
    """The members of a good sample, jpg and txt, and others or other contents for these."""
    contents = {"jpg": encode(picture(seed)), "txt": caption.encode()} | members
    return [(f"{key}.{extension}", content) for extension, content in contents.items()]


def write_shard(path: Path, *samples: list[tuple[str, bytes]]) -> Path:
    path.write_bytes(tar_bytes(member for members in samples for member in members))
    return path


def training_batches(pairs, targets, config, size, batch, seed, *, rank=0, ranks=1, state=None, step=0):
    """The batches of a rank, from the start or from the state of a checkpoint written at `step`."""
    order = pairs.order(seed, config.shuffle, ranks)
    stream = Stream(order, batch, rank) if state is None else Stream.resume(order, batch, rank, step, state)
    return TrainingBatches(pairs, targets, config, size, stream)

"""Features of labelled pictures, kept on disk: a probe by another method need not make them again."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from catclip.captions.sources.files import file_info
from catclip.captions.sources.remote import is_address
from catclip.data.labelled import LabelledImages
from catclip.data.labelled.pictures import PictureFiles, ShardPictures
from catclip.errors import UserError
from catclip.files import replacing, usual_mode, writing
from catclip.objectives.base import Objective
from catclip.transfer.probe import extract_features

_VERSION = 1  # of how pictures become features: another one makes them anew


class FeatureCache:
    """Features by the weights that made them and the pictures of which they are.

    Args:
        folder: a file for each set of features, `<digest>.safetensors`.
        objective: whose features, in evaluation mode.
        device: where it is.
        workers: processes that read pictures.

    Attributes:
        unkept: why some features could not be kept; empty where all were.
    """

    def __init__(self, folder: Path, objective: Objective, device: torch.device, workers: int = 0):
        self.folder, self._objective, self._device, self._workers = folder, objective, device, workers
        self._size, self.unkept = objective.backbone.image_size, ""
        self._weights = _digest(_weights(objective))

    def path(self, images: LabelledImages) -> Path:
        """Where the features of these pictures are kept."""
        asked = json.dumps([_VERSION, self._weights, self._size]).encode()
        return self.folder / f"{_digest([asked, *_pictures(images)])}.safetensors"

    def __call__(self, images: LabelledImages) -> np.ndarray:
        """Features float32 [P, D], in the order of the pictures.

        Raises:
            UserError: a picture cannot be decoded.
        """
        path = self.path(images)
        with suppress(OSError, SafetensorError, KeyError):  # there are none, or what a broken disk left of them
            return load_file(path)["features"]
        features = extract_features(self._objective.embed, images, self._size, self._device, self._workers)
        try:
            self._keep(features, path)
        except (UserError, SafetensorError) as error:  # what took hours is not thrown away for it
            self.unkept = str(error)
        return features

    def _keep(self, features: np.ndarray, path: Path) -> None:
        with writing(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as aside, usual_mode(aside):
                save_file({"features": np.ascontiguousarray(features)}, aside)


def _digest(parts: Iterator[bytes] | list[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:24]


def _weights(objective: Objective) -> Iterator[bytes]:
    for name, value in objective.state_dict().items():
        yield name.encode()
        yield (
            value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
            if value.ndim
            else str(value.item()).encode()
        )


def _pictures(images: LabelledImages) -> Iterator[bytes]:
    """What changes when the pictures do: names, sizes and times of change of their files, or of their shards.

    Of what a command writes nothing is known but the command.
    """
    pictures = images.pictures
    if isinstance(pictures, ShardPictures):
        files = pictures.shards.paths
        yield ";".join(pictures.keys).encode()
    else:
        assert isinstance(pictures, PictureFiles)
        files = [str(pictures.path(number)) for number in range(len(pictures))]
    for file in files:
        size, version = file_info(file)
        name = file if is_address(file) else Path(file).resolve()
        yield f"{name}\n{size}\n{version}\n".encode(errors="surrogateescape")

"""Labelled pictures → augmented training batches, each a pure function of the seed and its number."""

from collections import Counter

import numpy as np
import torch
from timm.data import Mixup
from torch.utils.data import Dataset, default_collate

from catclip.config import FinetuneDataConfig
from catclip.data.images import BadImageError, training_picture
from catclip.data.labelled.images import LabelledImages
from catclip.data.loader import Batch
from catclip.data.stream import Stream
from catclip.errors import UserError

_ELSEWHERE = 8  # batches that are tried where all pictures of one cannot be read


class LabelledTrainingBatches(Dataset):
    """Batch t of the endless, augmented stream of labelled pictures, for `Loader`.

    Args:
        images: to learn from.
        config: crops, flips, mixup and cutmix.
        size: of the pictures, in pixels.
        stream: which pictures batch t has; its order is of one shard, all of `images`.

    Each batch is `keys`, `bad`, `spent`, `images` uint8 [B, 3, size, size] and `targets` float32 [B, C], from 0 to 1:
    which classes a picture shows, or what share of one it is a mixture with.

    Raises:
        UserError: a setting that makes no sense.
    """

    def __init__(self, images: LabelledImages, config: FinetuneDataConfig, size: int, stream: Stream):
        low, high = config.crop_scale if len(config.crop_scale) == 2 else (0.0, 0.0)
        if not 0 < low <= high <= 1:
            raise UserError(f"data.crop_scale={config.crop_scale}: give two shares of the area, 0 < low <= high <= 1.")
        for key in ("mixup", "cutmix"):
            if getattr(config, key) < 0:
                raise UserError(f"data.{key}={getattr(config, key)} must be at least 0.")
        self.images, self.size, self.stream = images, size, stream
        self.scale, self.flip = (low, high), config.flip
        self.mixup, self.cutmix = config.mixup, config.cutmix

    def __getitem__(self, t: int) -> Batch:
        positions, bad = self.stream.positions(t), Counter[str]()
        for attempt in range(_ELSEWHERE):
            shift = attempt * len(positions) * positions.step
            batch = self._batch(range(positions.start + shift, positions.stop + shift, positions.step))
            bad.update(batch["bad"])
            if batch["keys"]:
                break
        return batch | {"bad": bad}

    def _batch(self, positions: range) -> Batch:
        order = self.stream.order
        batch: Batch = {"keys": [], "bad": Counter(), "spent": Counter()}
        pictures, rows = [], []
        for position in positions:
            row = order.locate(position).row
            rng = np.random.default_rng((order.seed, 4, position))
            name = self.images.pictures.name(row)
            try:
                data = self.images.pictures.read(row)
                pictures.append(training_picture(data, self.size, self.scale, self.flip, rng))
            except (BadImageError, UserError) as error:
                batch["bad"][f"{name}: {error}"] += 1
                continue
            rows.append(row)
            batch["keys"].append(name)
        if not pictures:
            return batch
        batch["images"], batch["targets"] = default_collate(pictures), self._targets(rows)
        if self.mixup or self.cutmix:
            self._mix(batch, positions.start)
        return batch

    def _targets(self, rows: list[int]) -> torch.Tensor:
        targets = torch.zeros(len(rows), len(self.images.classes))
        for target, row in zip(targets, rows, strict=True):
            target[self.images.label(row)] = 1
        return targets

    def _mix(self, batch: Batch, position: int) -> None:
        """Mix pictures and targets in pairs, by timm; with an odd number of them the last stays as it is."""
        even = len(batch["keys"]) // 2 * 2
        if not even:
            return
        # timm draws from numpy's global generator.
        before = np.random.get_state()
        np.random.seed(int(np.random.SeedSequence((self.stream.order.seed, 5, position)).generate_state(1)[0]))
        try:
            classes = len(self.images.classes)
            mix = Mixup(self.mixup, self.cutmix, label_smoothing=0, num_classes=classes, multi_label=True)
            pictures, targets = mix(batch["images"][:even].float(), batch["targets"][:even])
        finally:
            np.random.set_state(before)
        batch["images"][:even] = pictures.round().clamp(0, 255).to(torch.uint8)
        batch["targets"][:even] = targets

"""How many pictures a second one core makes ready for training: our road from shards to batches beside open_clip's.

Both read the same shards with the same range of crops and take turns, a batch each, so that what else the machine does
hits them alike. What counts is the time that the core spent on each, and of several passes over the shards the median.
"""

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle, islice
from time import perf_counter, thread_time
from typing import Any

import numpy as np
import torch
import webdataset as wds

from catclip.config import DataConfig
from catclip.data.images import BadImageError, picture_size
from catclip.data.loader import TrainingBatches
from catclip.data.pairs import Annotation, BadSampleError, Pairs
from catclip.data.stream import Stream
from catclip.data.targets import LabelTargets, Targets
from catclip.errors import UserError
from catclip.models.backbone import build_backbone
from catclip.train.run import synchronize

# Crops as CatLIP takes them, and as its contrastive baseline does: shares of the area.
CROPS = {"crop_08": (0.08, 1.0), "crop_90": (0.9, 1.0)}

# What must be reached on photographs of the web's size at 224 pixels, and what must not be passed.
TARGETS = {"ratio.crop_08_to_open_clip": 2.0, "ratio.crop_90_to_open_clip": 1.5}
LIMITS = {"crop_08.label_share": 0.03, "crop_90.label_share": 0.03}

BATCH, LABELS = 1024, 24_320  # for the bytes of labels: a batch and the labels of CatLIP's vocabulary for DataComp

_STEPS_AT_FIRST, _STEPS = 5, 20  # of the backbone

_SHARDS_MIXED, _SHARDS_AT_FIRST = 2000, 500  # what open_clip shuffles: shards,
_SAMPLES_MIXED, _SAMPLES_AT_FIRST = 5000, 1000  # and samples


def open_clip_road(shards: Sequence[str], size: int, scale: tuple[float, float], batch: int) -> wds.DataPipeline:
    """One pass over shards as open_clip's training makes its batches of them, with its own transform and tokenizer.

    The stages are those of `get_wds_dataset` in its open_clip_train/data.py. Only incomplete batches are not dropped.

    Returns:
        An iterable of float32 [B, 3, size, size] and int64 [B, 77].
    """
    from open_clip.tokenizer import SimpleTokenizer
    from open_clip.transform import AugmentationCfg, image_transform

    transform, tokenizer = image_transform(size, is_train=True, aug_cfg=AugmentationCfg(scale=scale)), SimpleTokenizer()
    return wds.DataPipeline(
        wds.SimpleShardList(list(shards)),
        wds.detshuffle(bufsize=_SHARDS_MIXED, initial=_SHARDS_AT_FIRST),
        wds.split_by_node,
        wds.split_by_worker,
        wds.tarfile_to_samples(handler=wds.ignore_and_continue),
        wds.shuffle(bufsize=_SAMPLES_MIXED, initial=_SAMPLES_AT_FIRST),
        wds.select(_has_both),
        wds.decode("pilrgb", handler=wds.ignore_and_continue),
        wds.rename(image="jpg;png;jpeg;webp", text="txt"),
        wds.map_dict(image=transform, text=lambda text: tokenizer(text)[0]),
        wds.to_tuple("image", "text"),
        wds.batched(batch, partial=True),
    )


def _has_both(sample: dict[str, Any]) -> bool:
    return "txt" in sample and any(kind in sample for kind in ("png", "jpg", "jpeg", "webp"))


def road_figures(
    pairs: Pairs, config: DataConfig, targets: LabelTargets, *, size: int, batch: int, rounds: int
) -> dict[str, float]:
    """Return pictures a second and core of both roads for each of `CROPS`, their ratio, and the labels' share.

    Args:
        pairs: the samples, on this machine.
        config: whether pictures are mirrored, and how samples are shuffled.
        targets: makes the labels.
        size: of the pictures, in pixels.
        batch: samples.
        rounds: passes over the shards that count; one before them does not.
    """
    results: dict[str, float] = {}
    with _one_thread():
        for name, scale in CROPS.items():
            passes = [_Pass(pairs, config, targets, scale, size, batch, turn) for turn in range(rounds + 1)][1:]
            ours, theirs = ([getattr(each, side) for each in passes] for side in ("ours", "theirs"))
            ratios = [each.ours / each.theirs for each in passes]
            results[f"{name}.images_per_second"] = statistics.median(ours)
            results[f"{name}.open_clip_images_per_second"] = statistics.median(theirs)
            results[f"{name}.label_share"] = statistics.median(each.label_share for each in passes)
            results[f"ratio.{name}_to_open_clip"] = statistics.median(ratios)
            results[f"ratio.{name}_to_open_clip.spread"] = (max(ratios) - min(ratios)) / statistics.median(ratios)
    return results


def undecoded_rate(pairs: Pairs, config: DataConfig, targets: LabelTargets, *, size: int, batch: int) -> float:
    """Return pictures a second and core where the JPEGs are left to a GPU (`data.decode=gpu`); arguments as above."""
    clock, scale = _Clock(), CROPS["crop_08"]
    with _one_thread():
        for turn in range(2):  # the first does not count
            clock = _Clock()
            stream = Stream(pairs.order(turn, config.shuffle), batch)
            made = TrainingBatches(pairs, [targets], replace(config, crop_scale=list(scale)), size, stream, True)
            for t in range(-(-len(pairs) // batch)):
                with clock:
                    clock.pictures += len(made[t]["keys"])
    return clock.rate


def step_rate(backbone: str, size: int, batch: int, device: torch.device) -> float:
    """Return pictures a second of a backbone's training steps on a made batch: what the loader must keep up with.

    Forward and backward in bfloat16, and AdamW: no objective, which would only make it slower.

    Args:
        backbone: a timm model.
        size: of the pictures, in pixels.
        batch: pictures.
        device: where to train.

    Raises:
        UserError: timm has no such model, or it takes no pictures of this size.
    """
    model = build_backbone(backbone, size, {}, 0).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-5)
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, device=device)
    start = 0.0
    for step in range(_STEPS_AT_FIRST + _STEPS):
        if step == _STEPS_AT_FIRST:
            synchronize(device)
            start = perf_counter()
        with torch.autocast(device.type, torch.bfloat16):
            loss = model(images).float().square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    synchronize(device)
    return _STEPS * batch / (perf_counter() - start)


class _Pass:
    """Both roads once over the shards.

    Attributes:
        ours, theirs: pictures a second.
        label_share: of our time.
    """

    def __init__(
        self,
        pairs: Pairs,
        config: DataConfig,
        targets: LabelTargets,
        scale: tuple[float, float],
        size: int,
        batch: int,
        turn: int,
    ) -> None:
        ours, theirs = _Clock(), _Clock()
        timed = _TimedTargets(targets)
        stream = Stream(pairs.order(turn, config.shuffle), batch)
        made = TrainingBatches(pairs, [timed], replace(config, crop_scale=list(scale)), size, stream)
        with theirs:
            batches = iter(open_clip_road(pairs.shards.paths, size, scale, batch))
        for t in range(-(-len(pairs) // batch)):
            with ours:
                mine = made[t]
            ours.pictures += len(mine["keys"])
            with theirs:
                others = next(batches, None)
            theirs.pictures += 0 if others is None else len(others[0])
        self.ours, self.theirs = ours.rate, theirs.rate
        self.label_share = timed.clock.seconds / ours.seconds


class _Clock:
    """Adds up this thread's time on the core over `with` blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.pictures = 0

    def __enter__(self) -> None:
        self._start = thread_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += thread_time() - self._start

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return self.pictures / self.seconds


class _TimedTargets:
    """Targets, and the time that they take."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self.clock = _Clock()

    def __call__(self, annotation: Annotation, rng: np.random.Generator) -> Any:
        with self.clock:
            return self._targets(annotation, rng)

    def collate(self, targets: Sequence[Any]) -> dict[str, torch.Tensor]:
        with self.clock:
            return self._targets.collate(targets)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def picture_figures(pairs: Pairs) -> dict[str, float]:
    """Return what there is to read: how many samples, and the size of some hundred pictures that can be read.

    Raises:
        UserError: none can.
    """
    sizes = list(_sizes(pairs))
    if not sizes:
        raise UserError("None of the pictures can be read: `catclip data check` says why.")
    width, height, _ = np.median(sizes, axis=0).tolist()
    return {
        "samples": len(pairs),
        "picture.median_width": width,
        "picture.median_height": height,
        "picture.mean_bytes": float(np.mean([size for _, _, size in sizes])),
    }


def _sizes(pairs: Pairs) -> Iterator[tuple[int, int, int]]:
    for shard, row in islice(pairs.shards.in_order(), 0, None, max(1, len(pairs) // 500)):
        try:
            data, _ = pairs.read(shard, row)
            yield (*picture_size(data), len(data))
        except (BadSampleError, BadImageError):
            continue


def label_figures(pairs: Pairs, targets: LabelTargets) -> dict[str, float]:
    """Return how many bytes the labels of a batch of `BATCH` samples take, as they travel and as a dense matrix."""
    rng = np.random.default_rng(0)
    batch = [targets(annotation, rng) for annotation in islice(cycle(pairs.annotations(BATCH)), BATCH)]
    collated = targets.collate(batch)
    return {
        "batch.samples": BATCH,
        "batch.labels": len(collated["label_ids"]),
        "batch.ragged_label_bytes": sum(tensor.nbytes for tensor in collated.values()),
        "batch.dense_label_bytes": BATCH * LABELS * torch.float32.itemsize,
    }

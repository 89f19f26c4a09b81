"""The smallest run that is still a run: a backbone of one block on the tiny drawn data set."""

import os
from functools import cache
from pathlib import Path
from typing import Any

import torch

from catclip.captions import SynsetExtractor
from catclip.captions.counting.counter import count_files, make_vocabulary
from catclip.captions.words import WordVocabulary, caption_words
from catclip.config import BackboneConfig, DataConfig, OptimConfig, PretrainConfig, RunConfig, TrackConfig
from catclip.data.loader import Batch, Loader, TrainingBatches
from catclip.data.pairs import Pairs
from catclip.data.stream import Stream
from catclip.objectives.base import Objective
from catclip.objectives.build import build_objective

# Operations this small are done before a second thread has woken up, and a busy machine wakes it late.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start

OBJECTIVES = ("categorical", "contrastive")
EVERY_OBJECTIVE = (*OBJECTIVES, "asymmetric", "superclass", "bag_of_words", "siglip", "hybrid")
SIZE = 32
OPTIONS: dict[str, Any] = {
    "patch_size": 8, "depth": 1, "embed_dim": 32, "num_heads": 2, "class_token": False, "global_pool": "avg"
}  # fmt: skip
TEXT = {"embed": 16, "text_length": 16, "text_width": 32, "text_layers": 1, "text_heads": 2}
# The same on the command line.
BACKBONE_ARGUMENTS = ["backbone=vit_demo", f"backbone.image_size={SIZE}"]
BACKBONE_ARGUMENTS += [f"++backbone.options.{key}={value}" for key, value in OPTIONS.items()]
TEXT_OPTIONS = [f"{key}={value}" for key, value in TEXT.items()]


@cache
def vocabulary_file(glyphs: Path) -> Path:
    """Every synset of the tiny data set's captions."""
    path = glyphs.parent / f"{glyphs.name}-vocabulary.tsv"
    if path.exists():  # another process of this test made it
        return path
    extractor = SynsetExtractor()
    corpus = count_files(str(glyphs / "train-*.tar"), extractor, caption_key="json.captions", captions="all")
    make_vocabulary(corpus, extractor, 1, "tiny").save(path)
    return path


def data_config(glyphs: Path, **changes: Any) -> DataConfig:
    settings: dict[str, Any] = {
        "sources": str(glyphs / "train-*.tar"),
        "vocabulary": str(vocabulary_file(glyphs)),
        "caption_key": "json.captions",
        "captions": "all",
        "workers": 0,
    }
    return DataConfig(**(settings | changes))


@cache
def words_file(glyphs: Path) -> Path:
    """Every word of the tiny data set's captions."""
    path = glyphs.parent / f"{glyphs.name}-words.tsv"
    if not path.exists():
        pairs = Pairs(str(glyphs / "train-*.tar"), DataConfig(caption_key="json.captions", captions="all"))
        words = sorted({word for captions in pairs.captions() for each in captions for word in caption_words(each)})
        WordVocabulary(words, [1] * len(words), {"tau": "1"}).save(path)
    return path


def objective_config(objective: str, glyphs: Path) -> dict[str, Any]:
    """One of `EVERY_OBJECTIVE`, as its YAML has it, with a text tower of the tiny size."""
    synsets = {"vocabulary": str(vocabulary_file(glyphs)), "bias": "prior"}
    subwords = {"vocabulary": None, "labels": "subword", "loss": "softmax", "bias": "zero"}
    words = {"vocabulary": str(words_file(glyphs)), "labels": "word"} if objective == "bag_of_words" else {}
    file, own = {
        "categorical": ("categorical", synsets),
        "asymmetric": ("categorical", synsets | {"loss": "asymmetric"}),
        "superclass": ("categorical", subwords),
        "bag_of_words": ("categorical", words),
        "contrastive": ("contrastive", TEXT),
        "siglip": ("contrastive", TEXT | {"loss": "siglip"}),
        "hybrid": ("hybrid", {"vocabulary": None, "categorical": subwords, "contrastive": TEXT}),
    }[objective]
    return {"_target_": f"catclip.objectives.{file}.{file.capitalize()}", **own}


def run_config(**changes: Any) -> RunConfig:
    settings: dict[str, Any] = {"steps": 8, "batch": 8, "precision": "fp32", "device": "cpu", "evaluate_every": None}
    return RunConfig(**(settings | changes))


def config(
    objective: str,
    glyphs: Path,
    data: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    optim: dict[str, Any] | None = None,
    track: dict[str, Any] | None = None,
    evaluators: dict[str, Any] | None = None,
    **run: Any,
) -> PretrainConfig:
    """A tiny run of an objective; keyword arguments go to the groups they are named after, all others to `run`."""
    own, run_settings = data_config(glyphs, **(data or {})), run_config(**run)
    every = run_settings.evaluate_every
    return PretrainConfig(
        own,
        BackboneConfig("vit_tiny_patch16_224", SIZE, OPTIONS | (options or {})),
        objective_config(objective, glyphs),
        OptimConfig(**({"warmup": 0} | (optim or {}))),
        TrackConfig(**({"log_every": 1} | (track or {}))),
        run_settings,
        {  # as conf/evaluators/default.yaml has them
            "held_out": {"_target_": "catclip.evaluate.held_out.HeldOut", "data": own.val, "every": every},
            "probe": {"_target_": "catclip.transfer.probe.probe_evaluator", "data": own.probe, "every": every},
            **(evaluators or {}),
        },
    )


def build(config: PretrainConfig) -> Objective:
    return build_objective(config.objective, config.backbone, Pairs(config.data.sources, config.data), config.run.seed)


def batches(config: PretrainConfig, objective: Objective, count: int) -> list[Batch]:
    """The first training batches of a run."""
    pairs = Pairs(config.data.sources, config.data)
    stream = Stream(pairs.order(config.run.seed, config.data.shuffle), config.run.batch)
    made = TrainingBatches(pairs, [objective.targets], config.data, SIZE, stream)
    return list(Loader(made, 0, count, workers=0, max_bad=0))


def joined(parts: list[Batch]) -> Batch:
    """One batch of several."""
    batch: Batch = {}
    for name, value in parts[0].items():
        own = [part[name] for part in parts]
        if name.endswith("_offsets"):
            counts = [0, *(count for each in own for count in each.diff().tolist())]
            batch[name] = torch.tensor(counts).cumsum(0)
        else:
            batch[name] = torch.cat(own) if isinstance(value, torch.Tensor) else [key for each in own for key in each]
    return batch


def assert_same(first: Any, second: Any) -> None:
    """Equal to the bit, tensors and containers of them."""
    if isinstance(first, torch.Tensor):
        assert first.dtype == second.dtype
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        assert first == second

"""The configuration schema: one dataclass a group, and one a verb that says which groups it takes.

Hydra merges the YAML files of `conf/` into these; a verb receives plain instances of them and nothing of Hydra's.
An objective's options are its own constructor's, so `objective` is an open mapping: a new one needs no change here.
"""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class DataConfig:
    """Image-caption pairs. `sources` and `val` are globs, brace ranges, folders, or lists of them."""

    sources: Any = MISSING  # training shards; for `vocab`, captions in any format that is read
    val: Any = None  # held-out shards
    probe: str | None = None  # a folder with train/<class>/ and test/<class>/ pictures
    vocabulary: str | None = None  # the labels of the categorical objective
    labels: str | None = None  # read from what `catclip label` wrote: beside (the shards), or a folder; null: made anew
    image_key: str = "jpg;jpeg;png;webp;gif"  # extensions of pictures in shards, the first that is there
    caption_key: str | None = None  # txt, json.captions, json.meta.alt, or a column; null finds the usual ones
    captions: str = "first"  # of several captions: first | sample | all
    crop_scale: list[float] = field(default_factory=lambda: [0.2, 1.0])  # random resized crop, share of the area
    sizes: list[int] | None = None  # lowest and highest side of multi-scale batches; null: backbone.image_size alone
    size_step: int | None = None  # pixels between these sides; null: 16, or the backbone's patch where 16 does not fit
    size_schedule: str = "random"  # random: each batch draws its side | rising: from the lowest to the highest
    flip: bool = True  # half of the training pictures are mirrored
    shuffle: int = 65536  # samples among which the order is mixed, beside the order of the shards
    max_bad: float = 0.01  # share of unreadable samples above which a run stops
    workers: int = 2  # processes that read and decode; 0: none beside the training
    decode: str = "cpu"  # who decodes training pictures: cpu, the workers | gpu, where training is on one
    cache: str | None = None  # folder for copies of remote shards; null: ~/.cache/catclip
    cache_limit: str = "100GB"  # bytes that all of them may have


@dataclass
class BackboneConfig:
    name: str = MISSING  # any timm model
    image_size: int = 224  # pixels: pictures are squares
    options: dict[str, Any] = field(default_factory=dict)  # passed to timm.create_model
    patch_dropout: float = 0.0  # share of a picture's patches left out in training
    checkpoint_activations: bool = False  # less memory: compute them again in the backward pass
    channels_last: bool = False  # pictures as [B, H, W, 3] on the device
    weights: str | None = None  # where it starts: a checkpoint of timm, open_clip or CatLIP, or a run folder


@dataclass
class OptimConfig:
    """AdamW with linear warm-up and a schedule."""

    lr: float = 1e-3  # the learning rate after the warm-up, at its highest
    min_lr: float = 1e-5  # at the end
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])  # AdamW's
    weight_decay: float = 0.2  # of all weights but biases and norms
    warmup: Any = "5%"  # a duration: 500 steps, 64000 samples, 2 epochs, 5% of the run
    schedule: str = "cosine"  # after the warm-up: cosine | linear | constant, which falls over the last cooldown
    cooldown: Any = "20%"  # of schedule=constant; a duration
    layer_decay: float | None = None  # by which each layer of the backbone learns more slowly than the one above it
    clip: float | None = 1.0  # gradient norm
    ema: float | None = 5e-4  # momentum of the averaged weights; null: none


@dataclass
class TrackConfig:
    log_every: Any = 20  # a duration: 20 steps, 5% of the run
    wandb: str = "disabled"  # disabled | offline | online
    project: str = "catclip"  # wandb's
    tensorboard: bool = False  # its event files, in the run folder


@dataclass
class RunConfig:
    """Durations are numbers of steps, or text: 500 steps, 64000 samples, 2 epochs, 5% of the run."""

    steps: int | None = None  # how long: exactly one of steps, samples, epochs
    samples: float | None = None  # pictures; 1.28e9 too
    epochs: float | None = None  # passes over the training pictures
    batch: int = 256  # of all ranks together
    precision: str = "auto"  # bf16 | fp16, with a gradient scaler | fp32 | auto: bf16 where the device is made for it
    tf32: bool = True  # GPUs may multiply fp32 matrices in TF32
    micro_batch: int | None = None  # pictures that a rank computes at a time, with the same gradients; null: all
    sharding: str = "ddp"  # on several ranks: ddp, a copy of the model on each | fsdp, a part of it
    compile: Any = "auto"  # torch.compile: true | false | auto, on GPUs
    device: str = "auto"  # auto | cpu | cuda | cuda:1 …
    seed: int = 0  # of weights, order, crops and dropout
    evaluate_every: Any = "20%"  # a duration; at the start and the end too; null: never
    checkpoint_every: Any = 1000  # a duration; at the end too
    keep: int = 2  # the newest checkpoints; older ones are deleted
    best: str | None = None  # a figure of the evaluations; the checkpoint at which it is highest is kept too
    skip_nonfinite: int = 0  # steps of a loss or gradient that is not finite to leave out; one more stops the run
    name: str | None = None  # in the default of run.out, and in wandb
    out: str | None = None  # a folder; default: runs/<verb>/<time>-<name>


@dataclass
class CaptionsConfig:
    tagger: str = "lexicon"  # which words are nouns: lexicon | nltk | spacy | spacy:PIPELINE | none, all that can be
    sense: str = "visual"  # of a noun's senses: visual, what a picture shows most likely | first, WordNet's


@dataclass
class VocabConfig:
    data: DataConfig = MISSING
    captions: CaptionsConfig = field(default_factory=CaptionsConfig)
    rule: str = "default"  # default | reference, as CatLIP published it | words, for objective.labels=word
    tau: int = 500  # the least count of a label
    prune: str = "drop"  # drop, as published | rollup: rare synsets count as the nearest label above them
    top_k: int | None = None  # the most labels
    min_depth: int | None = None  # steps below entity.n.01 that a label lies at least; null: 0 with drop, 3 with rollup
    exclude: list[str] = field(default_factory=list)  # synsets that are no labels: thing.n.12 or n04424418
    out: str = "vocab.tsv"  # beside it: .png, the drawings, and .html, a page to search
    workers: Any = None  # processes; null: one a core; ray: a Ray cluster


@dataclass
class GlyphsConfig:
    out: str = "data/glyphs"  # a folder
    train: int = 20000  # training pictures
    val: int = 1000  # held-out pictures
    size: int = 64  # pixels: pictures are squares
    seed: int = 0  # the same seed gives the same bytes
    shard_size: int = 1000  # pictures
    workers: int = 2  # processes that draw


@dataclass
class PackConfig:
    data: str = MISSING  # a folder of pictures, in folders of any depth
    captions: str | None = None  # a table, or COCO's captions JSON; null: FILE.txt beside FILE.jpg, one caption a line
    image_key: str | None = None  # a table's column of picture names; null finds the usual ones
    caption_key: str | None = None  # a table's column of captions; null finds the usual ones
    out: str = "shards"  # a folder
    shard_size: int = 1000  # pictures
    size: int | None = None  # pixels to which the longest side shrinks; null copies the pictures
    shuffle: bool = True  # pictures lie in the order of their folders and names otherwise
    seed: int = 0  # of that order
    max_bad: float = 0.01  # share of pictures without caption, or unreadable, above which it stops
    workers: int | None = None  # processes; null: one a core


@dataclass
class DataCheckConfig:
    data: DataConfig = MISSING
    size: int = 224  # pixels of training pictures: smaller ones are counted
    index: bool = False  # write an index beside each shard, from which training starts at once
    pictures: int = 24  # on the contact sheet
    seed: int = 0  # of which those are
    out: str | None = None  # a folder; default: runs/data_check/<time>
    workers: int | None = None  # processes; null: one a core


@dataclass
class DataPreviewConfig:
    data: DataConfig = MISSING
    size: int = 224  # pixels, as backbone.image_size
    seed: int = 0  # as run.seed
    pictures: int = 24  # on the sheet
    out: str | None = None  # a PNG; default: runs/data_preview/<time>.png


@dataclass
class PretrainConfig:
    data: DataConfig = MISSING
    backbone: BackboneConfig = MISSING
    objective: Any = MISSING  # objective.KEY, options of its own: docs/objectives.md
    optim: OptimConfig = MISSING
    track: TrackConfig = MISSING
    run: RunConfig = MISSING
    evaluators: dict[str, Any] = field(default_factory=dict)  # name -> _target_, every and its options


@dataclass
class SensitivityConfig:
    """What `compare` changes, one at a time, around the configuration; an empty list leaves a key as it is."""

    text_length: list[int] = field(default_factory=lambda: [77, 32, 16])  # tokens of a caption
    vocabulary: list[int] = field(default_factory=lambda: [1000, 10_000, 24_000, 50_000, 250_000])  # labels
    resolution: list[int] | None = None  # pixels; null: half of backbone.image_size, and one and a half times
    patch_dropout: list[float] = field(default_factory=lambda: [0.25, 0.5, 0.75])  # as backbone's
    workers: list[int] = field(default_factory=lambda: [0, 1, 2, 4])  # as data.workers
    precision: list[str] = field(default_factory=lambda: ["fp32", "bf16"])  # as run.precision
    compile: list[bool] = field(default_factory=lambda: [False, True])  # as run.compile


@dataclass
class MeasureConfig:
    """What `compare` measures."""

    sections: list[str] = field(default_factory=lambda: ["learning"])  # step | batch | scaling | learning | sensitivity
    seeds: list[int] | None = None  # of learning, a pair of runs each; null: run.seed alone
    ranks: list[int] = field(default_factory=lambda: [1, 2])  # of scaling, measured; more are predicted
    bandwidth: float = 50e9  # of scaling: bytes a second that a GPU can send, for the prediction
    rounds: int = 9  # of step, batch and sensitivity, in each of which all sides take a turn
    steps: int = 3  # of each side in a turn
    peers: bool = True  # beside them timm's step and open_clip's, and the labeller as published
    memory: str | None = None  # that the best batch may take, as 16GB; null: what the device has free
    sensitivity: SensitivityConfig = field(default_factory=SensitivityConfig)


@dataclass
class CompareConfig:
    runs: Any = field(default=None, kw_only=True)  # folders of runs to set side by side as they are: sweeps/lr/*
    compare: MeasureConfig = field(default_factory=MeasureConfig, kw_only=True)
    data: DataConfig = MISSING
    backbone: BackboneConfig = MISSING
    objectives: dict[str, Any] = MISSING  # name -> an objective's configuration
    optim: OptimConfig = MISSING
    track: TrackConfig = MISSING
    run: RunConfig = MISSING
    evaluators: dict[str, Any] = field(default_factory=dict)  # name -> _target_, every and its options


@dataclass
class DemoConfig(CompareConfig):
    """A comparison on the embedded data set, which is drawn first."""

    glyphs: GlyphsConfig = field(default_factory=GlyphsConfig)
    tau: int = 10  # as for `vocab`


@dataclass
class LabelledConfig:
    """Labelled pictures: `folder`, or `train` and `test`, each class folders, `.cls` shards, a COCO file or a table."""

    folder: str | None = None  # has train/ and test/, or val/ in its place
    train: Any = None  # a folder of class folders; shards, a glob or a list; instances_*.json; csv, tsv, jsonl …
    test: Any = None  # as train
    classes: Any = None  # names in the order of their indices: a file with one a line, or a list
    images: str | None = None  # the folder of the pictures that a COCO file or a table lists
    image_key: str | None = None  # of shards: jpg;jpeg;png;webp;gif; of tables: a column; null finds the usual ones
    label_key: str | None = None  # of shards: cls; of tables: a column; null finds the usual ones
    delimiter: str | None = None  # between the labels of a picture, in a table; null: text is one label


@dataclass
class SgdProbeConfig:
    """CatLIP's linear probe."""

    epochs: int = 30  # of method=sgd: passes over the training pictures
    lr: float = 3e-5  # at the start
    min_lr: float = 1e-6  # at the end
    batch: int = 256  # pictures a step


@dataclass
class ProbeConfig:
    model: str = MISSING  # a run folder
    data: Any = field(default_factory=LabelledConfig)  # a folder with train/ and test/, as data.folder; or these
    method: str = "lbfgs"  # lbfgs, regularisation chosen on validation pictures | sgd | knn | few_shot
    sgd: SgdProbeConfig = field(default_factory=SgdProbeConfig)
    neighbours: int = 20  # of knn: pictures that vote
    shots: list[int] = field(default_factory=lambda: [1, 2, 4, 8, 16])  # of few_shot: pictures a class
    draws: int = 5  # of few_shot: choices of pictures, for each of these numbers
    seed: int = 0  # of what sgd and few_shot draw
    weights: str = "ema"  # the averaged ones, ema | those of the last step, last
    out: str | None = None  # default: <model>/probe.json
    device: str = "auto"  # auto | cpu | cuda | cuda:1 …
    workers: int = 2  # processes that read and decode


@dataclass
class FinetuneDataConfig(LabelledConfig):
    """Labelled pictures, and how they are learned from."""

    fraction: float = 1.0  # of the training pictures, of each class its share; chosen by run.seed
    crop_scale: list[float] = field(default_factory=lambda: [0.2, 1.0])  # random resized crop, share of the area
    flip: bool = True  # half of the training pictures are mirrored
    mixup: float = 0.0  # alpha of mixup, as timm's; 0: none
    cutmix: float = 0.0  # alpha of cutmix; with both above 0 each batch has one or the other
    max_bad: float = 0.01  # share of unreadable training pictures above which a run stops
    workers: int = 2  # processes that read and decode; 0: none beside the training


@dataclass
class RunsBackboneConfig:
    """As `BackboneConfig`; null: as the run `model` has it, but for patch_dropout, which is 0."""

    name: str | None = None  # any timm model; null: the run's, as for all of these
    image_size: int | None = None  # pixels; positions are resampled
    options: dict[str, Any] = field(default_factory=dict)  # passed to timm.create_model, beside the run's
    patch_dropout: float | None = None  # share of a picture's patches left out in training; null: 0
    checkpoint_activations: bool | None = None  # less memory: compute them again in the backward pass
    channels_last: bool | None = None  # pictures as [B, H, W, 3] on the device
    weights: str | None = None  # without model: a checkpoint of timm, open_clip or CatLIP, or a run folder


@dataclass
class FinetuneConfig(PretrainConfig):
    data: Any = field(default_factory=FinetuneDataConfig)
    backbone: Any = field(default_factory=RunsBackboneConfig)
    model: str | None = None  # a run folder to start from; null: the backbone alone, from backbone.weights or random
    init: str = "transfer"  # the head: transfer, from the run's labels | random | what `catclip map` wrote: a .tsv


@dataclass
class MapConfig:
    classes: str = MISSING  # imagenet-1k; a file with a name a line, or as Places365's and ADE20k's; class folders
    vocabulary: str | None = None  # a vocabulary file, or
    model: str | None = None  # a run folder, which has one
    strategy: str = "nearest"  # what stands for a class that is no label: nearest | hypernym | exact (nothing)
    out: str = "classes.tsv"  # the report


@dataclass
class ZeroshotConfig:
    model: str = MISSING  # a run folder
    data: Any = field(
        default_factory=LabelledConfig
    )  # class folders, or a folder with test/ or val/; or data.test and what it needs of these
    by: str | None = None  # text | labels; null: text where the run has a text tower
    templates: str = "openai"  # by text: openai (80) | simple (7) | a file, a sentence with {} a line
    map: str = "nearest"  # by labels: nearest | hypernym | exact, or what `catclip map` wrote: a .tsv
    pool: str = "max"  # by labels: over a class's hyponyms in the vocabulary, max | sum, or none
    hypernyms: float = 0.0  # by labels: the share of a class's score that its nearest hypernym's label has, 0 … 1
    weights: str = "ema"  # the averaged ones, ema | those of the last step, last
    out: str | None = None  # default: <model>/zeroshot.json
    device: str = "auto"  # auto | cpu | cuda | cuda:1 …
    workers: int = 2  # processes that read and decode


@dataclass
class RetrieveConfig:
    model: str = MISSING  # a run folder
    data: DataConfig = MISSING  # data.val
    by: str | None = None  # text | labels; null: text where the run has a text tower
    batch: int = 256  # pictures at a time
    weights: str = "ema"  # the averaged ones, ema | those of the last step, last
    out: str | None = None  # default: <model>/retrieve.json
    device: str = "auto"  # auto | cpu | cuda | cuda:1 …


@dataclass
class PredictConfig:
    model: str = MISSING  # a run folder
    images: Any = MISSING  # files, folders, globs, or a list of them
    top: int = 5  # labels a picture
    annotate: bool = False  # draw them on copies of the pictures
    classes: Any = None  # by text: names to choose among, a file or a list
    templates: str = "openai"  # by text: as for `zeroshot`
    batch: int = 64  # pictures at a time
    weights: str = "ema"  # the averaged ones, ema | those of the last step, last
    out: str | None = None  # a folder; default: runs/predict/<time>
    device: str = "auto"  # auto | cpu | cuda | cuda:1 …
    workers: int = 2  # processes that read and decode


@dataclass
class ExportConfig:
    model: str = MISSING  # a run folder
    format: str = MISSING  # timm | timm-hub | open_clip | onnx | torch
    out: str | None = None  # a folder; default: <model>/export/<format>
    weights: str = "ema"  # the averaged ones, ema | those of the last step, last
    opset: int = 18  # of onnx


@dataclass
class DoctorConfig:
    """`doctor` takes no options."""


@dataclass
class VocabularysCaptionsConfig:
    """As `CaptionsConfig`; null: as the vocabulary's captions were read."""

    tagger: str | None = None  # lexicon | nltk | spacy | spacy:PIPELINE | none; null: the vocabulary's
    sense: str | None = None  # visual | first; null: the vocabulary's


@dataclass
class LabelConfig:
    """Labels for `data.sources`, shards or tables; or for one caption to explain."""

    explain: str | None = None  # a caption whose labels are explained; nothing is written
    data: DataConfig = MISSING
    captions: VocabularysCaptionsConfig = field(default_factory=VocabularysCaptionsConfig)
    rule: str | None = None  # default | reference; null: the vocabulary's
    out: str | None = None  # a folder for the label files; null: beside the sources
    workers: int | None = None  # processes; null: one a core


@dataclass
class BenchCaptionsConfig:
    quality: bool = False  # how good the labels are, rather than how fast they come
    captions: str | None = None  # a file, one a line; for quality Flickr30k's
    count: int = 20000  # for quality: as many at the file's end are judged
    rounds: int = 5  # for speed: in each of them all sides take a turn
    slow: int = 1000  # for speed: as many in a round for the published rule and the models
    total: int = 20_000_000  # for speed: as many are counted, the file's again and again
    pipeline: str = "en_core_web_sm"  # spaCy's, by name or folder
    coco: str | None = "benchmarks/coco80.tsv"  # for quality: COCO's classes and their synsets
    out: str | None = None  # default: runs/bench_captions/<time>


@dataclass
class BenchLoaderConfig:
    data: DataConfig = MISSING  # shards on this machine; crop_scale is not asked: .08-1 and .9-1 are measured
    pictures: str | None = None  # a folder to pack for this, repeated, in place of data.sources
    captions: str | None = None  # theirs, as for `data pack`
    size: int = 224  # pixels to which pictures are resized
    batch: int = 128  # pictures
    rounds: int = 5  # passes over the shards for each range of crops, and one before that does not count
    gpu_images_per_second: float | None = None  # of a step that the cores are to feed; null: measured where a GPU is
    backbone: str = "vit_base_patch16_224"  # whose step is measured there
    out: str | None = None  # default: runs/bench_loader/<time>


@dataclass
class BenchStepConfig:
    backbone: BackboneConfig = MISSING
    text: dict[str, Any] = field(default_factory=dict)  # options of `contrastive`; {}: CLIP's, small ones on a CPU
    batch: int = 64  # pictures
    labels: int = 24320  # as CatLIP's vocabulary for DataComp has
    precision: str = "auto"  # bf16 | fp32 | auto, as run.precision
    compile: Any = "auto"  # as run.compile, for all sides
    device: str = "auto"  # auto | cpu | cuda | cuda:1 …
    steps: int = 5  # of each side in a round
    rounds: int = 9  # in which all sides take a turn, and one before that does not count
    bce_batch: int = 1024  # for ragged beside dense targets
    out: str | None = None  # default: runs/bench_step/<time>

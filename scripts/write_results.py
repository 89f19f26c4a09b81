"""Write docs/results.md from what scripts/run_flickr8k left: write_results.py RUN_FOLDER OUT.md DATA"""

import json
import shutil
import sys
from pathlib import Path

from write_vocabulary_table import vocabulary_table

from catclip.train.folder import read_config
from catclip.train.track import read_metrics

ROOT = Path(__file__).resolve().parents[1]


def figure(results: dict, name: str, key: str, form: str = ".3f", scale: float = 1) -> str:
    value = results.get(f"{name}.{key}")
    return "" if value is None else format(value * scale, form)


def comparison_rows(results: dict) -> str:
    """The table of figures, an empty cell where there is none."""
    rows = [
        ("images a second", "images_per_second", ",.0f", 1),
        ("ms a step of 64", "step_milliseconds", ",.0f", 1),
        ("peak memory of a step, GiB", "peak_memory_bytes", ".2f", 2**-30),
        ("parameters, M", "parameters", ".1f", 1e-6),
        ("GFLOPs an image", "flops_per_image", ".2f", 1e-9),
        ("mAP, 1,000 held-out photographs", "map", ".3f", 1),
        ("mAP of a random ranking", "map_prior", ".3f", 1),
        ("precision@1", "precision_at_1", ".3f", 1),
        ("precision@5", "precision_at_5", ".3f", 1),
        *((f"{way.replace('_to_', ' → ')} recall@{k}", f"{way}_recall_at_{k}", ".3f", 1)
          for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)),
    ]  # fmt: skip
    lines = []
    for label, key, form, scale in rows:
        cells = [figure(results, name, key, form, scale) for name in ("categorical", "contrastive")]
        ratio = results.get(f"ratio.{key}")
        lines.append(f"| {label} | {cells[0]} | {cells[1]} | {f'{ratio:.2f}' if ratio else ''} |")
    return "\n".join(lines)


def curve_rows(run: Path) -> str:
    """Every evaluation of both runs."""
    curves = {}
    for name in ("categorical", "contrastive"):
        rows = read_metrics(run / "compare" / name / "metrics.jsonl")
        curves[name] = {row["step"]: row for row in rows if "probe_accuracy" in row}
    lines = []
    for step, row in curves["categorical"].items():
        other = curves["contrastive"][step]
        lines.append(
            f"| {row['samples'] / 6000:.0f} | {row['seconds']:,.0f} | {row['map']:.3f} | {row['probe_accuracy']:.3f} "
            f"| {other['seconds']:,.0f} | {other['image_to_text_recall_at_10']:.3f} | {other['probe_accuracy']:.3f} |"
        )
    return "\n".join(lines)


def standard_error(accuracy: float, pictures: int = 1000) -> float:
    return (accuracy * (1 - accuracy) / pictures) ** 0.5


def verdict(untrained: float, probes: dict[str, float]) -> str:
    """What the probe says of pretraining, in a sentence."""
    gains = {name: (accuracy - untrained) / standard_error(accuracy) for name, accuracy in probes.items()}
    if max(gains.values()) < 2:
        return (
            "None of the pretrained backbones is two of them\nabove the untrained one: behind its convolution random "
            "features serve this probe as well, and 6,000 photographs\nteach it nothing that shows there. What was "
            "learned shows in the mAP and the recall."
        )
    better = " and ".join(name for name, gain in gains.items() if gain >= 2)
    return f"More than two of them above the untrained backbone: {better}."


def main() -> None:
    run, out, data = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].rstrip("/")
    # The data lie elsewhere on every machine.
    report = (run / "compare" / "compare.json").read_text().replace(f"{data}/", "DATA/")
    results = json.loads(report)
    config = read_config(run / "compare" / "categorical")
    probes = {
        name: json.loads((run / "compare" / name / "probe.json").read_text())["accuracy"]
        for name in results["objectives"]
    }
    untrained = results["categorical.curve_probe_accuracy"][0]
    environment = results["environment"]
    text = f"""# Results on real photographs

Flickr8k, 6,000 photographs with five human captions each; 1,000 held out. Everything below was written by

    ./scripts/run_flickr8k DATA

where `DATA` holds `flickr8k/` (webdataset shards) and `cifar10/` (5,000 + 1,000 pictures in class folders). Machine:
{environment["cpu"]}, {environment["cores"]} cores, no GPU, shared with other work; \
torch {environment["versions"]["torch"]}. The two objectives were stepped in
turn on the same batches, so that what else the machine did hit both alike: trust the ratios more than the rates.
Commit: {environment["commit"][:9]}.

## Vocabulary

    catclip vocab 'data.sources=DATA/flickr8k/train-{{00000..00005}}.tar' \\
        data.caption_key=json.captions data.captions=all tau=TAU

{vocabulary_table(data)}

The rest of the page is at tau = 50.

## Both objectives, {config["run"]["epochs"]:g} epochs

`catclip compare` as in `scripts/run_flickr8k`: the backbone is `conf/backbone/vit_mini.yaml`, a ViT \
192 wide × 6 deep
behind a 7 × 7 convolution, at {config["backbone"]["image_size"]} px; batch {config["run"]["batch"]}, \
AdamW at {config["optim"]["lr"]:g}, {config["run"]["precision"]}; the text tower is 192 × 6 over 32 tokens.

| | categorical | contrastive | contrastive ÷ categorical |
|---|---|---|---|
{comparison_rows(results)}

One caption a photograph is searched for among the 1,000; labels are the union of its five captions.

## Linear probe on CIFAR-10

`catclip probe model=RUN data=DATA/cifar10`, logistic regression on frozen features of the averaged weights:

| untrained backbone | categorical | contrastive |
|---|---|---|
| {untrained:.3f} | {probes["categorical"]:.3f} | {probes["contrastive"]:.3f} |

One standard error of an accuracy on 1,000 pictures is {standard_error(probes["categorical"]):.3f}. \
{verdict(untrained, probes)}

## On the way

| epoch | categorical, s | mAP | probe | contrastive, s | image → text recall@10 | probe |
|---|---|---|---|---|---|---|
{curve_rows(run)}

![Probe accuracy against time, and costs](flickr8k.png)

All figures: [`benchmarks/results/flickr8k-cpu.json`](../benchmarks/results/flickr8k-cpu.json).
"""
    out.write_text(text)
    shutil.copyfile(run / "compare" / "compare.png", out.parent / "flickr8k.png")
    (ROOT / "benchmarks" / "results" / "flickr8k-cpu.json").write_text(report)


if __name__ == "__main__":
    main()

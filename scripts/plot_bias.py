#!/usr/bin/env python
"""Draw docs/bias.png: what starting the head's biases at the label prior spares.

    catclip data glyphs train=6000 val=300
    catclip vocab data.sources='data/glyphs/train-*.tar' data.caption_key=json.captions data.captions=all tau=2 \
        out=data/glyphs/vocab.tsv
    catclip compare data=glyphs data.probe=null backbone=vit_demo '~objective@objectives.contrastive' \
        '~objective@objectives.categorical' +objective@objectives.prior=categorical \
        +objective@objectives.zero=categorical objectives.zero.bias=zero optim.lr=1e-3 optim.weight_decay=0.05 \
        optim.ema=1e-2 run.steps=400 run.batch=64 run.precision=fp32 run.evaluate_every=50 track.log_every=4 \
        run.out=runs/bias
    scripts/plot_bias.py runs/bias docs/bias.png
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from catclip.train.track import read_metrics

TITLES = {"loss": "training loss", "map": "held-out mAP"}


def draw(compared: Path, out: Path) -> None:
    """Both runs' curves by step, from the folder of the comparison."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for name, label in (("prior", "bias=prior"), ("zero", "bias=zero, as published")):
        rows = read_metrics(compared / name / "metrics.jsonl")
        for axis, key in zip(axes, TITLES, strict=True):
            points = [(row["step"], row[key]) for row in rows if key in row]
            axis.plot(*zip(*points, strict=True), label=label, marker="o" if key == "map" else None, markersize=3)
    for axis, title in zip(axes, TITLES.values(), strict=True):
        axis.set(xlabel="step", ylabel=title)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yscale("log")
    axes[0].legend(frameon=False)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))

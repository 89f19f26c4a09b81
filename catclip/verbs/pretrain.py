"""`catclip pretrain`: train one objective."""

import json
from pathlib import Path

from rich.console import Console

from catclip.config import PretrainConfig
from catclip.train.distributed import on_first, process_group, rank
from catclip.train.fit import SHOWN
from catclip.train.folder import RunFolder
from catclip.train.score import score
from catclip.verbs.training import train


def run(config: PretrainConfig) -> float | None:
    """Pretrain, or resume, into `config.run.out`; a run that is done is left as it is. Return its `score`.

    Under torchrun this is one of the ranks.
    """
    with process_group():
        config.run.out = on_first(lambda: config.run.out)  # it may be named after the time
        return _run(config)


def _run(config: PretrainConfig) -> float | None:
    assert config.run.out is not None
    out, console = Path(config.run.out), Console(highlight=False, quiet=rank() > 0)
    name = str(config.objective.get("_target_")).rpartition(".")[2].lower()  # without it `train` says what is missing
    if on_first((out / "summary.json").exists):
        RunFolder(out, config)  # refuses when what is done is not what was asked for
        console.print(f"{out} is done already: see its summary.json.", markup=False)
        return score(json.loads((out / "summary.json").read_text()))
    (trained,) = train({name: config}, {name: out}, label="pretraining")
    summary = trained.summary()
    figures = ", ".join(f"{SHOWN[key]} {summary[key]:.3f}" for key in SHOWN if key in summary)
    figures, rate = f" {figures}" if figures else "", ""
    if summary["images_per_second"]:  # None for a run of a few steps
        rate = f", {summary['images_per_second']:,.0f} images/s, {summary['data_wait']:.0%} of it waiting for data"
    console.print(f"Done: {summary['samples']:,} pictures in {summary['seconds']:,.0f} s{rate}.{figures}")
    console.print(f"Weights, metrics and configuration: {out}", markup=False)
    return score(summary)

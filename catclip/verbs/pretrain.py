"""`catclip pretrain`: train one objective."""

from pathlib import Path

from rich.console import Console

from catclip.config import PretrainConfig
from catclip.train.fit import SHOWN
from catclip.verbs.training import train


def run(config: PretrainConfig) -> None:
    """Pretrain, or resume, into `config.run.out`; a run that is done is left as it is."""
    assert config.run.out is not None
    out, console = Path(config.run.out), Console()
    name = config.objective["_target_"].rpartition(".")[2].lower()
    if (out / "summary.json").exists():
        # Building the folder checks that what is done is what was asked for.
        from catclip.train.folder import RunFolder

        RunFolder(out, config)
        console.print(f"{out} is done already: see its summary.json.", highlight=False)
        return
    console.print(f"Run folder: {out}", highlight=False)
    (trained,) = train({name: config}, {name: out}, label="pretraining")
    summary = trained.summary()
    figures = ", ".join(f"{SHOWN[key]} {summary[key]:.3f}" for key in SHOWN if key in summary)
    rate = f"{summary['images_per_second']:,.0f} images/s, " if summary["images_per_second"] else ""
    console.print(
        f"Done: {summary['samples']:,} pictures in {summary['seconds']:,.0f} s, {rate}"
        f"{summary['data_wait']:.0%} of the last steps waiting for data. {figures}",
        highlight=False,
    )
    console.print(f"Weights, metrics and configuration: {out}", highlight=False)

"""Write docs/label-efficiency.md from what scripts/run_transfer left: write_transfer.py OUT PAGE.md"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RUNS = {"flickr8k": "Flickr8k", "glyphs": "the drawn pictures"}
TASKS = {"cifar10": ("CIFAR-10", "top_1", "top-1 accuracy"), "coco": ("COCO-mini", "map", "mAP")}
PROBES = {"lbfgs": "logistic regression", "sgd": "linear layer by SGD", "knn": "nearest neighbours"}
SHOTS = (1, 2, 4, 8, 16)


def table(head: list[str], lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines])


def figure(results: dict[str, Any], key: str) -> str:
    """With its spread, where there is one; empty where it was not measured."""
    if key not in results:
        return ""
    around = results.get(f"{key}.spread")
    return f"{results[key]:.3f}" + ("" if around is None else f" ±{around:.3f}")


def probes(out: Path, measured: dict[str, Any]) -> str:
    lines = []
    for run, said in RUNS.items():
        for task, (data, _, _) in TASKS.items():
            cells = []
            for method in (*PROBES, "few_shot"):
                file = out / f"{run}-{task}-{method}.json"
                found = json.loads(file.read_text()) if file.is_file() else {}
                kind = "accuracy" if task == "cifar10" else "map"
                keys = [f"{kind}_{shots}" for shots in SHOTS] if method == "few_shot" else [kind]
                kept = {key: found[key] for name in keys for key in (name, f"{name}.spread") if key in found}
                measured[f"probe.{run}.{task}.{method}"] = kept
                cells += [figure(found, key) for key in keys]
            lines.append([said, data, *cells])
    head = ["pretrained on", "probed on", *PROBES.values(), *(f"{shots} a class" for shots in SHOTS)]
    return table(head, lines)


def efficiency(out: Path, run: str, task: str, docs: Path, measured: dict[str, Any]) -> str:
    """A sweep's table and plot; what it says that it is not there."""
    data, key, words = TASKS[task]
    title = f"### Pretrained on {RUNS[run]}, fine-tuned on {data}"
    folder = out / f"{run}-{task}-compared"
    if not (folder / "compare.json").is_file():
        return f"{title}\n\nNot run."
    found = json.loads((folder / "compare.json").read_text())
    names = [name.removeprefix("label_efficiency.").removesuffix(".fractions")
             for name in found if name.startswith("label_efficiency.") and name.endswith(".fractions")]  # fmt: skip
    fractions = found[f"label_efficiency.{names[0]}.fractions"]
    lines = []
    for name in names:
        start = found[f"fraction={fractions[-1]},{name}.curve_{key}"][0]
        means, spreads = (found[f"label_efficiency.{name}.{key}{end}"] for end in ("", ".spread"))
        cells = [f"{mean:.3f} ±{around:.3f}" for mean, around in zip(means, spreads, strict=True)]
        lines.append([f"`{name}`", f"{start:.3f}", *cells])
        measured[f"efficiency.{run}.{task}.{name}"] = {
            "fractions": fractions, "untrained": start, key: means, "spread": spreads,
            "runs": found[f"label_efficiency.{name}.runs"],
        }  # fmt: skip
    plot = f"label-efficiency-{run}-{task}.png"
    shutil.copyfile(folder / "label_efficiency.png", docs / plot)
    measured.setdefault("environment", {k: v for k, v in found["environment"].items() if k != "command"})
    head = [words, "before training", *(f"{100 * fraction:g}%" for fraction in fractions)]
    return f"{title}\n\n{table(head, lines)}\n\n![{words} by share of the labels]({plot})"


def main() -> None:
    out, page = Path(sys.argv[1]), Path(sys.argv[2])
    measured: dict[str, Any] = {}
    probed = probes(out, measured)
    sweeps = "\n\n".join(efficiency(out, run, task, page.parent, measured) for run in RUNS for task in TASKS)
    (ROOT / "benchmarks" / "results" / "transfer-cpu.json").write_text(json.dumps(measured, indent=1))
    around = measured["environment"]
    page.write_text(f"""# Label efficiency

CatLIP's Figure 5, for backbones as small as two cores pretrain: how many labels does a fine-tuned classifier need, if
its head starts at the rows of its classes (`init=transfer`, [Transfer-Init](transfer.md#transfer-init)), or at random?
Written by

    ./scripts/run_transfer DATA FLICKR8K_RUN GLYPHS_RUN

of the categorical runs of `scripts/run_flickr8k` (25 epochs of 6,000 photographs) and of `catclip demo`, on
{around["cpu"]}, {around["cores"]} cores, no GPU, torch {around["versions"]["torch"]}, commit {around["commit"][:9]}.

## Frozen features

Top-1 accuracy on 1,000 pictures of CIFAR-10 (5,000 to learn from), mAP on the 79 of COCO-mini (80): `catclip probe`,
`method=lbfgs`, `sgd`, `knn`, and `few_shot`, the mean of five draws and its spread.

{probed}

## Fine-tuned

As many steps for every share of the labels, 100 of 64 pictures on CIFAR-10 and 20 of 32 on COCO-mini, so that the
shares differ in labels alone; the rate falls from 5e-4 to 1e-5. CIFAR-10's pictures, of 32 px, are shown at 48,
whatever the backbone was pretrained at. Of each class a picture stays, 42 of COCO-mini's 80 at the least, so that
there 1, 5 and 10 % would be the same as 25 %. Mean ± standard deviation over three seeds, which also draw the share.
*Before training* is the head as it starts; a random ranking of COCO-mini's 79 pictures has an mAP of about .1. 20
steps hardly move a random head there: what the two columns compare is mostly where they start.

{sweeps}

All figures: [`benchmarks/results/transfer-cpu.json`](../benchmarks/results/transfer-cpu.json).
""")


if __name__ == "__main__":
    main()

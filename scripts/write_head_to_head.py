"""Write docs/head-to-head.md from what scripts/run_head_to_head left: write_head_to_head.py RUN_FOLDER OUT.md DATA"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from catclip.compare.over_seeds import CONFIDENCE, WIDEST
from catclip.compare.report import rows
from catclip.compare.sections_report import section_grids
from catclip.compare.words import sentences
from catclip.train.folder import read_config

ROOT = Path(__file__).resolve().parents[1]
DATA_SETS = {"glyphs": "Drawn pictures", "flickr8k": "Flickr8k"}
PLOTS = (
    "probe-accuracy-seconds", "zeroshot-top-1-seconds", "retrieval-recall-at-10-seconds", "step-time", "scaling",
)  # fmt: skip
SECTIONS = [
    ("1. Equal batch: parts of a step", "step.batch"),
    ("2. Best batch", "batch."),
    ("3. Scaling", "scaling."),
    ("4. Learning", "ratio.parameters"),
    ("5. Sensitivities", "sensitivity."),
]
GPU = "ViT-B/32, B/16, L/16 on a GPU"


def measured(results: dict[str, Any] | None, key: str) -> str:
    found = results is not None and any(each.startswith(key) for each in results)
    return "measured" if found else ""


def table(head: list[str], lines: list[list[str]]) -> str:
    made = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cell.strip() for cell in line)} |" for line in made)


def describe(folder: Path, results: dict[str, Any]) -> str:
    """What was run, and where."""
    around = results["environment"]
    machine = (
        f"{around['cpu']}, {around['cores']} cores, no GPU, torch {around['versions']['torch']}, "
        f"{around['torch_threads']} threads, commit {around['commit'][:9]}."
    )
    seeds = list(folder.glob(f"seed-*/{results['objectives'][0]}"))
    if "seeds" not in results:  # they are not all done
        return f"Batches of {results['step.batch']}, {results['step.precision']}. {machine}"
    config = read_config(seeds[0])
    run, optim = config["run"], config["optim"]
    return (
        f"{run['steps']:,} steps of {run['batch']} pictures ({run['steps'] * run['batch']:,} pictures seen), "
        f"an evaluation every {run['evaluate_every']}, seeds {', '.join(map(str, results['seeds']))}; "
        f"{config['backbone']['name']} at {config['backbone']['image_size']} px, AdamW at {optim['lr']:g} for both, "
        f"{run['precision']}, {config['data']['workers']} loader process. {machine}"
    )


def section(name: str, folder: Path, results: dict[str, Any] | None, docs: Path) -> str:
    title = DATA_SETS[name]
    if results is None:
        return f"## {title}\n\nNot run."
    text = [f"## {title}", describe(folder, results), *sentences(results)]
    if learned := rows(results):
        text.append(table(["", *results["objectives"], "2nd ÷ 1st"], learned))
    for plot in PLOTS:
        file = folder / f"compare-{plot}.png"
        if file.is_file():
            shutil.copyfile(file, docs / f"head-to-head-{name}-{plot}.png")
            text.append(f"![{plot.replace('-', ' ')}](head-to-head-{name}-{plot}.png)")
    for grid in section_grids(results):
        text += [f"### {grid.title}", table(grid.head, grid.rows)]
    return "\n\n".join(text).replace("|  ", "| ")


def main() -> None:
    out, page, data = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].rstrip("/")
    found: dict[str, dict[str, Any] | None] = dict.fromkeys(DATA_SETS)
    for name in DATA_SETS:
        if (out / name / "summary.json").is_file():
            # The data lie elsewhere on every machine.
            report = (out / name / "compare.json").read_text().replace(f"{data}/", "DATA/").replace(f"{out}/", "OUT/")
            (ROOT / "benchmarks" / "results" / f"head-to-head-{name}-cpu.json").write_text(report)
            found[name] = json.loads(report)
    status = [[title, *(measured(found[name], key) for name in DATA_SETS), ""] for title, key in SECTIONS]
    sections = "\n\n".join(section(name, out / name, found[name], page.parent) for name in DATA_SETS)
    notes = out / "notes.md"  # what whoever ran it has to say of it
    said = f"\n## Notes on this run\n\n{notes.read_text().strip()}\n" if notes.is_file() else ""
    page.write_text(f"""# Head to head

Categorical pretraining beside the contrastive baseline: one backbone, one start, the same pictures in the same order,
the two stepped in turn. Written by

    ./scripts/run_head_to_head DATA

whose SEEDS, STEPS, BATCH, EVERY and PICTURES say how large it is; each part below says what was run. All figures are in
`benchmarks/results/head-to-head-*.json`. What was not measured is empty:

{table(["", *DATA_SETS.values(), GPU], status)}

**How to read it.** Figures are means over the seeds, ± their standard deviation. A ratio divides the second objective's
figure by the first's of the same seed; it is their geometric mean, and is given only where its {CONFIDENCE:.0%}
interval (Student's t, of the logarithms) lies on one side of 1 and spans at most a factor of {WIDEST:g}. "To 2nd's
best": what each spends until it reaches the best accuracy that the contrastive run of the same seed ever has, with
straight lines between evaluations, which are not on the clock.

**The model behind what is called PREDICTED.** A step on N ranks, each with as many pictures, takes

    t(N) = t(1) + sent(N) / bandwidth,   sent(N) = 2 (N - 1) / N · (G + E · N) + (N - 1) · F

t(1) is measured on one rank of this machine. G, E and F are bytes, measured on two ranks: the gradients that are
all-reduced; every other all-reduce, divided by N, as the gradients of what was gathered grow with it; and what a rank
gives to be gathered. A ring sends that much. The bandwidth is `compare.bandwidth`. Nothing is taken to overlap with
computing, which makes communication look worse than it is; no latency is counted, and no growth of the loss with N,
which make it look better. Where more ranks than two were measured, the tables say by how much the model misses them;
for its error in time the bandwidth is fitted to two ranks. Of four ranks on two cores most of that error is that they
have half a core each.

**The longest run on photographs** is that of [results.md](results.md), by `scripts/run_flickr8k`: 25 epochs of
Flickr8k at 96 px, 150,000 pictures seen by each objective in 49 minutes of training on two cores. What it shows: a step
of the baseline takes 1.55× the time; labels are learned (mAP six times a random ranking's) and so are pairs (recall@10
nine times chance), and yet neither side's linear probe on CIFAR-10 rises above that of the untrained backbone, whose
convolution serves it as well: 6,000 photographs are too few to tell the two apart by it.

{sections}
{said}""")


if __name__ == "__main__":
    main()

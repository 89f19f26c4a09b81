"""Put what runs of `catclip compare` left on record, and write docs/head-to-head.md from the record.

write_head_to_head.py PAGE OUT [DATA]: OUT has a folder for each of `RECORDS`, as scripts/run_head_to_head and
scripts/run_head_to_head_gpu leave them. Sections that were not measured again stay as the record has them.
"""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from catclip.compare.over_seeds import CONFIDENCE, WIDEST
from catclip.compare.ratios import ALIKE
from catclip.compare.ratios import WIDEST as ROUNDS_WIDEST
from catclip.compare.report import rows
from catclip.compare.sections_report import section_grids
from catclip.compare.words import sentences
from catclip.train.folder import read_config

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
ON_CPU = {"glyphs": "Drawn pictures", "flickr8k": "Flickr8k"}
ON_GPU = {"vit_b_32": "ViT-B/32", "vit_b_16": "ViT-B/16", "vit_l_16": "ViT-L/16"}
RECORDS = {
    **{f"{name}-cpu": title for name, title in ON_CPU.items()},
    **{f"{name}-gpu": f"{title} on a GPU" for name, title in ON_GPU.items()},
}
SECTIONS = {
    "step": ("1. Equal batch: parts of a step", ("step.", "labeller.")),
    "batch": ("2. Best batch", ("batch.",)),
    "scaling": ("3. Scaling", ("scaling.",)),
    "learning": ("4. Learning", ()),
    "sensitivity": ("5. Sensitivities", ("sensitivity.",)),
}
PLOTS = (
    *(f"{figure}-{budget}" for figure in ("probe-accuracy", "zeroshot-top-1", "retrieval-recall-at-10")
      for budget in ("seconds", "samples")), "step-time", "scaling",
)  # fmt: skip


# ---- the record -----------------------------------------------------------------------------------------------------


def record(name: str, folder: Path, hidden: dict[str, str], docs: Path) -> None:
    """Put a comparison on record, beside the sections of before that it has not measured."""
    if not (folder / "summary.json").is_file():
        return
    text = (folder / "compare.json").read_text()
    for path, shown in hidden.items():  # they lie elsewhere on every machine
        text = text.replace(path, shown)
    results = json.loads(text)
    if name.endswith("-gpu") and not results["environment"]["gpu"]:  # tried on a CPU: not for the record
        return
    if "learning" in results["sections"]:
        results["run"] = settings(folder, results)
    file = RESULTS / f"head-to-head-{name}.json"
    if file.is_file():
        results = merged(json.loads(file.read_text()), results)
    file.write_text(json.dumps(results, indent=1))
    for plot in PLOTS:
        if (folder / f"compare-{plot}.png").is_file():
            shutil.copyfile(folder / f"compare-{plot}.png", docs / f"head-to-head-{name}-{plot}.png")


def settings(folder: Path, results: dict[str, Any]) -> dict[str, Any]:
    """What the runs of its learning were told."""
    first = results["objectives"][0]
    seed = results["seeds"][0]
    found = [path for path in (folder / f"seed-{seed}" / first, folder / first) if path.is_dir()]
    config = read_config(found[0])
    run = {key: config["run"][key] for key in ("steps", "batch", "evaluate_every")}
    return run | {
        "backbone": config["backbone"]["name"], "image_size": config["backbone"]["image_size"],
        "lr": config["optim"]["lr"], "workers": config["data"]["workers"],
    }  # fmt: skip


def section_of(key: str) -> str:
    """Which section's a figure is; those of learning have no prefix."""
    return next((name for name, (_, own) in SECTIONS.items() if own and key.startswith(own)), "learning")


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The new figures, and the old ones of sections that were not measured again."""
    about = ("objectives", "sections", "environment", "environments")
    sections = [name for name in SECTIONS if name in (*old["sections"], *new["sections"])]
    kept = {key: value for key, value in old.items() if key not in about and section_of(key) not in new["sections"]}
    return {
        "objectives": new["objectives"], "sections": sections, **kept,
        **{key: value for key, value in new.items() if key not in about},
        "environment": new["environment"], "environments": old["environments"] | new["environments"],
    }  # fmt: skip


# ---- the page -------------------------------------------------------------------------------------------------------


def table(head: list[str], lines: list[list[str]]) -> str:
    made = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cell.strip() for cell in line)} |" for line in made)


def machine(around: dict[str, Any]) -> str:
    where = around.get("gpu") or f"{around['cores']} cores of {around['cpu']}"
    instructions = f" ({around['cpu_capability']})" if around.get("cpu_capability") and not around.get("gpu") else ""
    commit = f", commit {around['commit'][:9]}" if around.get("commit") else ""
    return f"{around['precision']} on {where}{instructions}, torch {around['versions']['torch']}{commit}"


def measured_where(results: dict[str, Any]) -> str:
    """The sections by where they were measured."""
    places: dict[str, list[str]] = {}
    for name in SECTIONS:
        if name in results["environments"]:
            places.setdefault(machine(results["environments"][name]), []).append(SECTIONS[name][0].partition(":")[0])
    return " ".join(f"{', '.join(names)}: {place}." for place, names in places.items())


def learned_how(results: dict[str, Any]) -> str:
    run = results.get("run")
    if run is None:
        return ""
    seeds = ", ".join(map(str, results["seeds"]))
    return (
        f"Learning: {run['steps']:,} steps of {run['batch']} pictures ({run['steps'] * run['batch']:,} seen), an "
        f"evaluation every {run['evaluate_every']}, seeds {seeds}; {run['backbone']} at {run['image_size']} px, AdamW "
        f"at {run['lr']:g} for both, {run['workers']} loader process."
    )


def section(name: str, results: dict[str, Any], docs: Path) -> str:
    text = [f"## {RECORDS[name]}", " ".join([learned_how(results), measured_where(results)]).strip()]
    text += sentences(results)
    if learned := rows(results):
        text += ["### Trained side by side", table(["", *results["objectives"], "2nd ÷ 1st"], learned)]
    for plot in PLOTS:
        file = docs / f"head-to-head-{name}-{plot}.png"
        if file.is_file():
            text.append(f"![{plot.replace('-', ' ')}]({file.name})")
    for grid in section_grids(results):
        text += [f"### {grid.title}", table(grid.head, grid.rows)]
    return re.sub(r"\| {2,}", "| ", "\n\n".join(text))


def longest() -> str:
    """What the run of docs/results.md shows, from its record."""
    found = json.loads((RESULTS / "flickr8k-cpu.json").read_text())
    minutes = (found["categorical.seconds"] + found["contrastive.seconds"]) / 60
    recall = found["contrastive.image_to_text_recall_at_10"] / (10 / found["contrastive.pairs_evaluated"])
    return (
        f"25 epochs of Flickr8k at 96 px, {found['categorical.samples']:,} pictures seen by each objective in "
        f"{minutes:.0f} minutes of training on two cores. What it shows: a step of the baseline takes "
        f"{found['ratio.step_milliseconds']:.2f}× the time; labels are learned (mAP "
        f"{found['categorical.map'] / found['categorical.map_prior']:.1f} times a random ranking's) and so are pairs "
        f"(recall@10 {recall:.0f} times chance), and yet neither side's linear probe on CIFAR-10 rises above that of "
        "the untrained backbone, whose convolution serves it as well: 6,000 photographs are too few to tell the two "
        "apart by it."
    )


def status(found: dict[str, dict[str, Any]]) -> str:
    """What was measured of what."""
    lines = [
        [title, *("measured" if key in found.get(name, {}).get("sections", []) else "" for name in RECORDS)]
        for key, (title, _) in SECTIONS.items()
    ]
    return table(["", *RECORDS.values()], lines)


def write_page(page: Path, notes: Path) -> None:
    files = {name: RESULTS / f"head-to-head-{name}.json" for name in RECORDS}
    found = {name: json.loads(file.read_text()) for name, file in files.items() if file.is_file()}
    sections = "\n\n".join(section(name, results, page.parent) for name, results in found.items())
    said = f"\n## Notes on these runs\n\n{notes.read_text().strip()}\n" if notes.is_file() else ""
    page.write_text(f"""# Head to head

Categorical pretraining beside the contrastive baseline: one backbone, one start, the same pictures in the same order,
the two stepped in turn. Written by

    ./scripts/run_head_to_head DATA         # on a CPU: drawn pictures and Flickr8k, all sections
    ./scripts/run_head_to_head_gpu          # on a GPU: ViT-B/32, B/16 and L/16 at 224 px, sections 1, 2 and 5

All figures are in `benchmarks/results/head-to-head-*.json`, each section with the machine and the commit that it was
measured by. What was not measured is empty:

{status(found)}

## How to read it

**Two kinds of step.** Section 1 gives each side the same batch again and again and takes a step apart, in turn with
the others, in a process that does nothing else: its times say what a step costs. *Trained side by side* are whole
runs, which wait for their data and share the machine with the loader's process; what both waited for the loader is
on the clock of both. Their times are longer, and vary more.

**Parts.** Each stage of a step is waited for. In brackets GFLOPs, of matrix products, convolutions and attention,
forward and backward (a loss that has none shows 0), and MB that torch's operators read and write, one by one, as if
nothing were fused.

**Ratios.** Of rounds (sections 1, 2, 3 and 5): in each round all sides take a turn, and what is told is the median
of the rounds' ratios, where its {CONFIDENCE:.0%} interval (order statistics; of fewer than six rounds Student's t)
lies on one side of 1 and within ±{ROUNDS_WIDEST:.0%}. *Less* and *more* are intervals on one side of 1 that are
wider; *equal* is what lies within {ALIKE:.0%} of it, *unclear* everything else. Of seeds: the geometric mean of the
seeds' ratios, where its interval (Student's t, of the logarithms) lies on one side of 1 and spans at most a factor
of {WIDEST:g}. ± is the standard deviation over seeds; *spread* goes from the least to the largest, as a
share of the median.

**"To 2nd's best"**: what each spends until it reaches the best accuracy that the contrastive run of the same seed
ever has, with straight lines between evaluations, which are not on the clock.

**What is called PREDICTED.** A step on N ranks, each with as many pictures, takes

    t(N) = t(1) + sent(N) / bandwidth,   sent(N) = 2 (N - 1) / N · (G + E · N) + (N - 1) · F

t(1) is measured on one rank of this machine, and hours are hours of such ranks. G, E and F are bytes, measured on
two ranks: the gradients that are all-reduced; every other all-reduce, divided by N, as the gradients of what was
gathered grow with it; and what a rank gives to be gathered. A ring sends that much. The bandwidth is
`compare.bandwidth`. Nothing is taken to overlap with computing, which makes communication look worse than it is; no
latency is counted, and no growth of the loss with N, which make it look better.

What communication takes is measured too, against steps of the same ranks that tell the others nothing. Where more
ranks than two were measured, the tables say by how much the model misses what communication takes there, with the
bytes and the bandwidth that two ranks had. Ranks of one machine share its cores, and their bytes go through its
memory: how far the error is that of the model, a network alone can tell.

**The longest run on photographs** is that of [results.md](results.md), by `scripts/run_flickr8k`: {longest()}

{sections}
{said}""")


def main() -> None:
    page, out = Path(sys.argv[1]), Path(sys.argv[2])
    hidden = {f"{out}/": "OUT/"} | ({f"{sys.argv[3].rstrip('/')}/": "DATA/"} if len(sys.argv) > 3 else {})
    for name in RECORDS:
        record(name, out / name.rpartition("-")[0], hidden, page.parent)
    write_page(page, page.parent.parent / "benchmarks" / "head-to-head-notes.md")


if __name__ == "__main__":
    main()

"""What scripts/run_faster needs and leaves: write_faster.py best OUT SIDE KEY …, or page OUT FASTER.md DATA

`best` prints the keys of a side's best trial, an argument of the command line a line. Of the contrastive side it is the
one of the highest accuracy; that is the goal, and of the categorical side it is the one that is there first.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from catclip.compare.over_seeds import ratio_of
from catclip.compare.report import COLOURS
from catclip.compare.results import crossing
from catclip.compare.sweep import SweptRun, find_runs
from catclip.environment import environment

ROOT = Path(__file__).resolve().parents[1]
SIDES = ("categorical", "contrastive")
FIGURE = "probe_accuracy"


def accuracies(run: SweptRun) -> list[float]:
    return [row[FIGURE] for row in run.curve if FIGURE in row]


def seconds_to(run: SweptRun, goal: float) -> float | None:
    """Training seconds until the run is at the goal; None if never."""
    rows = [row for row in run.curve if FIGURE in row]
    return crossing(goal, [row["seconds"] for row in rows], accuracies(run))


def trials(out: Path, side: str) -> list[SweptRun]:
    """A side's finished trials, those of its first sweep first."""
    folders = [out / f"{side}-{sweep}" for sweep in (1, 2) if (out / f"{side}-{sweep}").is_dir()]
    return [run for folder in folders for run in find_runs(str(folder)) if run.finished]


def goal_of(out: Path) -> float:
    return max(max(accuracies(run)) for run in trials(out, "contrastive"))


def best(out: Path, side: str) -> SweptRun:
    """The side's best trial."""
    goal = goal_of(out)

    def rank(run: SweptRun) -> tuple[float, float]:
        taken = seconds_to(run, goal)
        return (-max(accuracies(run)) if taken is None or side == "contrastive" else -1.0, taken or 0.0)

    return min(trials(out, side), key=rank)


def arguments(run: SweptRun, keys: list[str]) -> list[str]:
    return [f"{key}={json.dumps(run.settings[key]).strip(chr(34))}".replace(" ", "") for key in keys]


def swept(run: SweptRun) -> list[str]:
    """What was swept in a trial, as its folder is named by it."""
    return re.split(r",(?=[a-z_.]+=)", run.path.name)


# ---- the page -------------------------------------------------------------------------------------------------------


def table(head: list[str], lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines])


def trials_table(out: Path, side: str, goal: float) -> str:
    lines = []
    for run in trials(out, side):
        taken, star = seconds_to(run, goal), "**" if run.path == best(out, side).path else ""
        name = " ".join(re.sub(r"=\S*[/_]([a-z]+)\.tsv", r"=\1", each) for each in swept(run))
        lines.append([
            f"{star}`{name}`{star}", f"{run.curve[-1]['seconds']:,.0f}", f"{max(accuracies(run)):.3f}",
            "" if taken is None else f"{taken:,.0f}",
        ])  # fmt: skip
    return table(["trial", "s", "best probe", "s to the goal"], lines)


def soonest(runs: list[SweptRun], goal: float) -> float | None:
    taken = [each for run in runs if (each := seconds_to(run, goal)) is not None]
    return min(taken) if taken else None


def levels_table(out: Path, goal: float) -> str:
    """The soonest of all trials at accuracies on the way from the untrained backbone's to the goal."""
    runs = {side: trials(out, side) for side in SIDES}
    untrained = accuracies(runs["contrastive"][0])[0]
    lines = []
    for share in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        level = untrained + share * (goal - untrained)
        ours, theirs = (soonest(runs[side], level) for side in SIDES)
        shown = ["" if each is None else f"{each:,.0f}" for each in (ours, theirs)]
        lines.append([f"{level:.3f}", *shown, f"{theirs / ours:.2f}×" if ours and theirs else ""])
    return table(["probe accuracy", "categorical, s", "contrastive, s", "ratio"], lines)


def plot(out: Path, path: Path) -> None:
    """How soon any trial of a side is at each accuracy."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for side, colour in zip(SIDES, COLOURS, strict=False):
        runs = trials(out, side)
        low, high = min(accuracies(run)[0] for run in runs), max(max(accuracies(run)) for run in runs)
        goals = [low + (high - low) * step / 100 for step in range(1, 101)]
        points = [(taken, goal) for goal in goals if (taken := soonest(runs, goal)) is not None]
        axes.plot(*zip(*points, strict=True), color=colour, label=f"{side}: soonest of {len(runs)} trials")
    axes.set(xlabel="seconds of training", ylabel="linear probe accuracy, CIFAR-10")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def winners(out: Path) -> dict[str, list[SweptRun]]:
    return {side: find_runs(str(out / "winners" / f"{side}-*")) for side in SIDES}


def verdict(found: dict[str, list[SweptRun]]) -> tuple[list[str], dict[str, Any]]:
    """The ratio over the seeds, each against its own baseline's best, in words and as figures."""
    goals = [max(accuracies(run)) for run in found["contrastive"]]
    spent = {side: [seconds_to(*pair) for pair in zip(found[side], goals, strict=True)] for side in SIDES}
    figures: dict[str, Any] = {"goals": goals, "seconds_to_goal": spent}
    lines = []
    for seed, (goal, ours, theirs) in enumerate(zip(goals, *spent.values(), strict=True)):
        told = "never" if ours is None else f"{ours:,.0f} s"
        lines.append(
            f"- seed {seed}: contrastive is at its best, {goal:.3f}, after {theirs:,.0f} s; categorical {told}."
        )
    if all(spent["categorical"]):
        ratio = ratio_of(spent["contrastive"], spent["categorical"])  # type: ignore[arg-type]
        figures["ratio"] = ratio._asdict()
        about = f"{ratio.low:.2f} to {ratio.high:.2f} by Student's t over the seeds"
        lines.append(f"\nTime to accuracy, contrastive ÷ categorical: **{ratio.value:.2f}×** ({about}).")
    else:
        lines.append("\nNot every seed of categorical gets there: there is no ratio.")
    return lines, figures


def page(out: Path, path: Path, data: str) -> None:
    goal, found = goal_of(out), winners(out)
    lines, figures = verdict(found)
    plot(out, path.parent / "faster.png")
    around = environment()
    figures |= {"goal_of_the_trials": goal, "environment": around, "trials": {
        side: [{"swept": swept(run), "seconds": [row["seconds"] for row in run.curve], FIGURE: accuracies(run)}
               for run in trials(out, side)] for side in SIDES}}  # fmt: skip
    text = json.dumps(figures, indent=1).replace(f"{data.rstrip('/')}/", "DATA/").replace(f"{out}/", "OUT/")
    (ROOT / "benchmarks" / "results" / "faster-cpu.json").write_text(text)
    samples = int(found["categorical"][0].curve[-1]["samples"])
    tables = "\n\n".join(f"### {side}\n\n{trials_table(out, side, goal)}" for side in SIDES)
    path.write_text(f"""# Faster than the paper

How much sooner is categorical pretraining at the accuracy that the contrastive baseline ends with, if each side has the
best configuration that as many trials find? Written by

    ./scripts/run_faster DATA

on {around["cpu"]}, {around["cores"]} cores, no GPU, torch {around["versions"]["torch"]}, commit
{str(around["commit"])[:9]}: Flickr8k's 6,000 photographs at 64 px, `backbone=vit_mini_64`, {samples:,} pictures seen
by each run, batch 64, probed on CIFAR-10 ten times on the way. The goal is the highest probe accuracy of any
contrastive trial; evaluations are not on the clock; between them lines are straight.

## The winners, over three seeds

{chr(10).join(lines)}

The commands are in `scripts/run_faster`; what won is in bold below.

![How soon any trial of a side is at an accuracy](faster.png)

## The soonest of all trials

From half of the way between the untrained backbone and the goal; each row may be another trial's, one seed each.

{levels_table(out, goal)}

## The trials

One seed each; the goal is {goal:.3f}; in bold what was taken.

{tables}

All figures: [`benchmarks/results/faster-cpu.json`](../benchmarks/results/faster-cpu.json). One standard error of an
accuracy on 1,000 pictures is .016, and the best of many trials is partly luck, on both sides.
""")


def main() -> None:
    if sys.argv[1] == "best":
        print("\n".join(arguments(best(Path(sys.argv[2]), sys.argv[3]), sys.argv[4:])))
    else:
        page(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])


if __name__ == "__main__":
    main()

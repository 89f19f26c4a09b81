"""What scripts/run_faster needs and leaves: write_faster.py best OUT SIDE sweep|all, or page OUT FASTER.md DATA

`best` prints the arguments of a side's best trial, of its sweep or of all: the keys in which they differ, one a line.
It is the one that is first at the goal: the highest accuracy of any contrastive trial, less one standard error, so that
the baseline is not a slow one for the sake of a difference that may be luck.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from catclip.compare.over_seeds import Ratio, ratio_of
from catclip.compare.report import COLOURS
from catclip.compare.results import LEARNED, crossing
from catclip.compare.sweep import SweptRun, find_runs

ROOT = Path(__file__).resolve().parents[1]
SIDES = ("categorical", "contrastive")
TRIED = (*SIDES, "hybrid")  # both losses at once: beside the sides, and never taken for one
GOAL = "retrieval_recall_at_10"  # what trials are judged by
BESIDE = "probe_accuracy"  # of the winners alone
CAPTIONS = 5000  # that the goal is a share of


def curve(run: SweptRun, figure: str = GOAL, over: str = "seconds") -> tuple[list[float], list[float]]:
    """Training seconds, or what else it goes over, and the figure."""
    rows = [row for row in run.curve if figure in row]
    return [row[over] for row in rows], [row[figure] for row in rows]


def seconds_to(run: SweptRun, goal: float, figure: str = GOAL) -> float | None:
    """Training seconds until the run is at the goal; None if never."""
    return crossing(goal, *curve(run, figure))


def spent(run: SweptRun, goal: float, figure: str) -> str:
    """What it takes the run to be at the goal, for people."""
    seconds, pictures = seconds_to(run, goal, figure), crossing(goal, *curve(run, figure, "samples"))
    return "never" if seconds is None or pictures is None else f"{seconds:,.0f} s, {pictures:,.0f} pictures"


def highest(run: SweptRun, figure: str = GOAL) -> float:
    return max(curve(run, figure)[1])


def trials(out: Path, side: str, of: str = "all") -> list[SweptRun]:
    """A side's finished trials, those of its sweep first."""
    folders = [out / side] if of == "sweep" else [out / side, out / "changed" / side]
    return [run for folder in folders if folder.is_dir() for run in find_runs(str(folder)) if run.finished]


def goal_of(out: Path, of: str = "all") -> float:
    """The highest accuracy of any contrastive trial, less one standard error."""
    top = max(highest(run) for run in trials(out, "contrastive", of))
    return top - math.sqrt(top * (1 - top) / CAPTIONS)


def best(out: Path, side: str, of: str = "all") -> SweptRun:
    """The trial that is first at the goal; where none gets there, the one of the highest accuracy."""
    goal = goal_of(out, of)

    def rank(run: SweptRun) -> tuple[float, float]:
        taken = seconds_to(run, goal)
        return (-highest(run), 0.0) if taken is None else (-1.0, taken)

    return min(trials(out, side, of), key=rank)


def settings(run: SweptRun, among: list[SweptRun]) -> dict[str, Any]:
    """The keys in which trials differ."""
    keys = dict.fromkeys(key for each in among for key in each.settings)
    return {
        key: run.settings.get(key) for key in keys if len({json.dumps(each.settings.get(key)) for each in among}) > 1
    }


# ---- the page -------------------------------------------------------------------------------------------------------


def table(head: list[str], lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines])


def told(run: SweptRun, among: list[SweptRun]) -> dict[str, str]:
    """What is a trial's own, in words, by keys without their groups, but for what follows from another key."""
    swept = {key: value for key, value in settings(run, among).items() if key != "objective.vocabulary"}
    return {
        key.rpartition(".")[2]: Path(value).stem if str(value).endswith(".tsv") else _word(value)
        for key, value in swept.items()
    }


def _word(value: Any) -> str:
    return "–" if value is None else json.dumps(value).strip('"')


def trials_table(out: Path, side: str, goal: float) -> str:
    """A line a trial, with what is its own; that which is taken in bold."""
    runs, taken = trials(out, side), best(out, side).path if side in SIDES else None
    lines = []
    for run in runs:
        soon = seconds_to(run, goal)
        cells = [*told(run, runs).values(), f"{curve(run)[0][-1]:,.0f}", f"{highest(run):.3f}"]
        pictures = crossing(goal, *curve(run, over="samples"))
        cells += ["" if each is None else f"{each:,.0f}" for each in (soon, pictures)]
        lines.append([f"**{each}**" if each and run.path == taken else each for each in cells])
    return table([*told(runs[0], runs), "s", "best recall@10", "s to the goal", "pictures"], lines)


def _figures(runs: list[SweptRun]) -> list[dict[str, Any]]:
    """What is on record of trials: what is each one's own, and its curve."""
    return [
        {"swept": settings(run, runs), "seconds": curve(run)[0], "samples": curve(run, over="samples")[0]}
        | {GOAL: curve(run)[1]}
        for run in runs
    ]


def soonest(runs: list[SweptRun], goal: float) -> float | None:
    taken = [each for run in runs if (each := seconds_to(run, goal)) is not None]
    return min(taken) if taken else None


def levels_table(out: Path, goal: float) -> str:
    """The soonest of all trials on the way to the goal."""
    runs = {side: trials(out, side) for side in SIDES}
    lines = []
    for share in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        ours, theirs = (soonest(runs[side], share * goal) for side in SIDES)
        shown = ["" if each is None else f"{each:,.0f}" for each in (ours, theirs)]
        lines.append([f"{share * goal:.3f}", *shown])
    return table(["recall@10", "categorical, s", "contrastive, s"], lines)


def plot(found: dict[str, list[SweptRun]], path: Path) -> None:
    """What the winners learn, a line a seed."""
    figure, pair = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    for axes, name in zip(pair, (GOAL, BESIDE), strict=True):
        for side, colour in zip(SIDES, COLOURS, strict=False):
            for index, run in enumerate(found[side]):
                axes.plot(*curve(run, name), color=colour, alpha=0.8, label=None if index else side)
        axes.set(xlabel="seconds of training", ylabel=LEARNED[name])
        axes.set_xlim(left=0)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def verdict(found: dict[str, list[SweptRun]], figure: str) -> tuple[str, dict[str, Any]]:
    """The ratio over the seeds, each against its own baseline's best, in words and as figures."""
    pairs = list(zip(found["categorical"], found["contrastive"], strict=True))
    goals = [highest(theirs, figure) for _, theirs in pairs]
    times = [tuple(seconds_to(run, goal, figure) for run in pair) for pair, goal in zip(pairs, goals, strict=True)]
    head = ["seed", "untrained", "contrastive's best", "after", "categorical is there after", "categorical's best"]
    lines = [
        [str(theirs.settings["run.seed"]), f"{curve(theirs, figure)[1][0]:.3f}", f"{goal:.3f}",
         spent(theirs, goal, figure), spent(ours, goal, figure), f"{highest(ours, figure):.3f}"]
        for (ours, theirs), goal in zip(pairs, goals, strict=True)
    ]  # fmt: skip
    figures: dict[str, Any] = {"goals": goals, "seconds_of_categorical_and_contrastive": times}
    reached = [(soon, late) for soon, late in times if soon and late]
    if not all(late for _, late in times):
        end = "A baseline that was best before it was trained is no goal: there is no ratio."
    elif len(reached) < len(times):
        end = "Not every seed of categorical gets there: there is no ratio."
    else:
        ratio = ratio_of([late for _, late in reached], [soon for soon, _ in reached])
        figures["ratio"] = ratio._asdict()
        end = _said(ratio)
    return f"{table(head, lines)}\n\n{end}", figures


def _said(ratio: Ratio) -> str:
    about = "one seed" if ratio.low is None else f"{ratio.low:.2f} to {ratio.high:.2f} by Student's t over the seeds"
    if ratio.supported:
        return f"Time to accuracy, contrastive ÷ categorical: **{ratio.value:.2f}×** ({about})."
    return f"Time to accuracy, contrastive ÷ categorical: the seeds are too far apart for a ratio ({about})."


def page(out: Path, path: Path, data: str) -> None:
    found = {side: find_runs(str(out / "winners" / f"{side}-*")) for side in SIDES}
    goal = goal_of(out)
    plot(found, path.parent / "faster.png")
    made = json.loads((found["categorical"][0].path / "environment.json").read_text())
    around = {key: value for key, value in made.items() if key != "command"}
    said, measured = zip(*(verdict(found, name) for name in (GOAL, BESIDE)), strict=True)
    figures = dict(zip((GOAL, BESIDE), measured, strict=True)) | {"goal_of_the_trials": goal, "environment": around}
    figures["trials"] = {side: _figures(trials(out, side)) for side in TRIED}
    text = json.dumps(figures, indent=1).replace(f"{data.rstrip('/')}/", "DATA/").replace(f"{out}/", "OUT/")
    (ROOT / "benchmarks" / "results" / "faster-cpu.json").write_text(text)
    runs = {"trial": trials(out, "categorical")[0], **{side: found[side][0] for side in SIDES}}
    seen = {name: int(run.curve[-1]["samples"]) for name, run in runs.items()}
    winners = "\n".join(
        f"- {side}: " + ", ".join(f"`{key}` {value}" for key, value in told(best(out, side), trials(out, side)).items())
        for side in SIDES
    )
    tables = "\n\n".join(
        f"### {side.capitalize()}\n\n{trials_table(out, side, goal)}" for side in TRIED if trials(out, side)
    )
    path.write_text(f"""# Faster than the paper

How much sooner is categorical pretraining at the accuracy that the contrastive baseline ends with, if each side has the
best configuration that as many trials find? Written by

    ./scripts/run_faster DATA

on {around["cpu"]}, {around["cores"]} cores, no GPU, torch {around["versions"]["torch"]}, commit
{str(around["commit"])[:9]}: Flickr8k's 6,000 photographs at 64 px, `backbone=vit_mini_64`, {seen["trial"]:,} pictures
seen by each trial. Trials are judged by the task that CLIP is trained for and both sides can do: of 5,000 held-out
captions, the share whose photograph is among the ten of 1,000 that fit best (`catclip retrieve` with
`data.caption_key=json.captions data.captions=all`), by chance .01.
Contrastive runs search by text, categorical ones by labels. Of either side that trial is taken which is first at
{goal:.3f}, the best of any contrastive trial less its standard error. Evaluations are not on the clock; between them
lines are straight. Trials and winners are judged by the same held-out photographs, of which each side makes the same
use.

What won, and then was trained from {len(found["categorical"])} seeds with linear probes on CIFAR-10 on the way, on
{seen["categorical"]:,} pictures for categorical runs and {seen["contrastive"]:,} for contrastive ones, whose pictures
take longer:

{winners}

## Retrieval

{said[0]}

## Linear probe on CIFAR-10

{said[1]}

One standard error of an accuracy on 1,000 pictures is .016: the best of several evaluations is partly luck. A goal is
the best of the baseline's run; where its lines still rise at the end, a longer one would set another goal.

![What the winners learn, a line a seed](faster.png)

## The soonest of all trials

On the way to the goal, {goal:.3f}; each row may be another trial's. Of one seed each there is no ratio to give.

{levels_table(out, goal)}

## The trials

One seed each; in bold what was taken. Eight are a sweep; eight change its best in one thing each. Hybrid is the sum of
both losses, each as the best of its side's sweep has it, with all else as categorical's best has it; it searches by
text, and as it is of both sides it is taken for neither.

{tables}

Biases that start at the labels' shares are the default of categorical runs.

All figures: [`benchmarks/results/faster-cpu.json`](../benchmarks/results/faster-cpu.json).
""")


def main() -> None:
    if sys.argv[1] == "best":
        out, side, of = Path(sys.argv[2]), *sys.argv[3:]
        swept = settings(best(out, side, of), trials(out, side, of))
        print("\n".join(f"{key}={json.dumps(value)}" for key, value in swept.items()))
    else:
        page(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])


if __name__ == "__main__":
    main()

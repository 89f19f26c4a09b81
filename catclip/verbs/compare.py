"""`catclip compare`: several objectives, one backbone, the same batches, interleaved."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from catclip.compare.page import write_page
from catclip.compare.plots import drawn, write_pngs
from catclip.compare.report import plot, table
from catclip.compare.results import collect
from catclip.compare.sections_report import section_grids, to_table
from catclip.compare.step import first_batches, peak_memory_bytes
from catclip.compare.words import sentences
from catclip.config import CompareConfig, PretrainConfig
from catclip.environment import environment
from catclip.errors import UserError
from catclip.files import locked, write_atomically
from catclip.train.checkpoint import list_checkpoints
from catclip.train.flops import flops_per_image
from catclip.train.folder import RunFolder
from catclip.train.memory import memory_errors
from catclip.verbs.compare_runs import compare_runs
from catclip.verbs.compare_sections import check_sections, measure_sections
from catclip.verbs.training import check, pick_device, train

WRITTEN = (
    "compare",
    "summary.json",
    ".",
)  # beside the runs of a comparison over seeds, and what a kill left half written


def run(config: CompareConfig) -> None:
    """Compare, or go on comparing, into `config.run.out`, and print the table; of `config.runs` nothing is trained."""
    assert config.run.out is not None
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UserError("`catclip compare` runs in one process: start it without torchrun.")
    console = Console()
    if config.runs is not None:
        compare_runs(config, console)
    else:
        show(compare(config, console), Path(config.run.out), console)


def compare(config: CompareConfig, console: Console) -> dict[str, Any]:
    """Train every objective and write `compare.json` and `compare.png`; what is done already is only read.

    Returns:
        What `catclip.compare.results.collect` returns.

    Raises:
        UserError: the folder holds something else; what training raises.
    """
    assert config.run.out is not None
    out = Path(config.run.out)
    seeds = seed_folders(config)
    check_sections(config)
    _check_begun(out, config)
    sections, wanted = _sections_done(out), config.compare.sections
    config = replace(config, compare=replace(config.compare, sections=list(dict.fromkeys([*sections, *wanted]))))
    configs = {name: single(config, name) for name in config.objectives}
    done = _is_done(out, list(seeds)) and set(wanted) <= set(sections)
    if not done:
        for each in configs.values():
            check(each)
    with locked(out, "compares in"):  # two at once would measure each other
        return _compared(config, configs, seeds, done, console)


def _compared(
    config: CompareConfig, configs: dict[str, PretrainConfig], seeds: dict[int, Path], done: bool, console: Console
) -> dict[str, Any]:
    """Measure and train what is not done yet, and return all results."""
    out = Path(str(config.run.out))
    if done:
        measure_sections(config, configs, out, console)  # refuses what was configured otherwise, as RunFolder
        for seed, folder in seeds.items() if "learning" in config.compare.sections else ():
            for name in config.objectives:
                RunFolder(folder / name, single(config, name, seed))
        console.print(f"{out} is done already.", markup=False)
        results = json.loads((out / "compare.json").read_text())
    else:
        measured = measure_sections(config, configs, out, console)
        results = {"objectives": list(configs)}
        if "learning" in config.compare.sections:
            costs = measure_costs(configs)
            for seed, folder in seeds.items():
                _train_pair(config, seed, folder, console)
            results = collect({name: [folder / name for folder in seeds.values()] for name in configs}, costs)
        results |= {"sections": config.compare.sections} | measured
        _write(out, results, [folder / name for folder in seeds.values() for name in configs])
    return results


def _sections_done(out: Path) -> list[str]:
    """What a report that is there has: it stays there when another section is asked for."""
    file = out / "summary.json"
    return json.loads(file.read_text()).get("sections", ["learning"]) if file.exists() else []


def _is_done(out: Path, seeds: list[int]) -> bool:
    """Whether the report is written, and of these seeds: more can be asked for later."""
    file = out / "summary.json"
    return file.exists() and json.loads(file.read_text()).get("seeds", seeds) == seeds


def seed_folders(config: CompareConfig) -> dict[int, Path]:
    """Where the runs of each seed lie: of `compare.seeds` in folders of their own.

    Raises:
        UserError: a seed is below 0, or there twice.
    """
    assert config.run.out is not None
    out, seeds = Path(config.run.out), config.compare.seeds
    if seeds is None:
        return {config.run.seed: out}
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise UserError(f"compare.seeds={seeds} must be different numbers, at least 0, as [0,1,2].")
    return {seed: out / f"seed-{seed}" for seed in seeds}


def _train_pair(config: CompareConfig, seed: int, folder: Path, console: Console) -> None:
    """Train the objectives from one seed, in turn on the same batches; go on with what was begun."""
    configs = {name: single(config, name, seed) for name in config.objectives}
    folders = {name: folder / name for name in configs}
    if all((each / "summary.json").exists() for each in folders.values()):
        for name, each in configs.items():
            RunFolder(folders[name], each)
        return
    if config.compare.seeds is not None:
        console.print(f"Seed {seed}:")
    train(configs, folders, label="comparing")


def show(results: dict[str, Any], out: Path, console: Console) -> None:
    """Print the table, what it says in words, and where the page is."""
    learned = "learning" in results.get("sections", ["learning"])
    if learned:
        console.print(table(results))
    for grid in section_grids(results):
        console.print(to_table(grid), "")
    if len(results["objectives"]) > 1:
        console.print("", *sentences(results), sep="\n", markup=False, highlight=False)
    plots = "compare.png" if learned else "compare-*.png"
    console.print(f"Page, plots and figures: compare.html, {plots}, compare.json in {out}", markup=False)


def single(config: CompareConfig, name: str, seed: int | None = None) -> PretrainConfig:
    """The configuration under which one of the objectives could be trained alone; `seed` in place of `run.seed`."""
    return PretrainConfig(
        config.data,
        config.backbone,
        config.objectives[name],
        config.optim,
        config.track,
        config.run if seed is None else replace(config.run, seed=seed),
        config.evaluators,
    )


def _check_begun(out: Path, config: CompareConfig) -> None:
    """Refuse a folder of something else, or of a comparison of other objectives: they start together or not at all."""
    folders = seed_folders(config)
    if config.compare.seeds is not None and out.is_dir():
        foreign = [each.name for each in out.iterdir() if not each.name.startswith(("seed-", *WRITTEN))]
        if foreign:
            raise UserError(
                f"{out} holds {', '.join(sorted(foreign)[:4])}, not a comparison over seeds: choose another run.out."
            )
    for folder in folders.values():
        if folder.is_dir():
            _check_pair(folder, set(config.objectives))


def _check_pair(folder: Path, names: set[str]) -> None:
    begun = {file.parent.name for file in folder.glob("*/config.yaml")}
    trained = {name for name in begun if list_checkpoints(folder / name / "checkpoints")}
    if not begun <= names or (trained and begun != names):
        raise UserError(
            f"{folder} holds a comparison of other objectives: it was {', '.join(sorted(begun))}, "
            f"is now {', '.join(sorted(names))}. Choose another run.out."
        )
    ours = WRITTEN if (folder / "compare.json").exists() else ("compare", ".")
    others = [child.name for child in folder.iterdir() if not child.name.startswith(ours)]
    if not begun and not names.issuperset(others):
        raise UserError(f"{folder} is not empty and holds no comparison of these objectives: choose another run.out.")


def measure_costs(configs: dict[str, PretrainConfig]) -> dict[str, dict[str, float]]:
    """Operations and memory of each objective's step, before any of them trains."""
    costs = {}
    for name, config in configs.items():
        device = pick_device(config.run.device)
        objective, (first,) = first_batches(config, 1)
        with memory_errors(config, device):
            costs[name] = {
                "flops_per_image": flops_per_image(objective, first),
                "peak_memory_bytes": peak_memory_bytes(config, device),
            }
    return costs


def _environments(out: Path, results: dict[str, Any], runs: list[Path]) -> dict[str, Any]:
    """Of each section, where and in which precision it was measured: maybe at other times, by other commits.

    Args:
        out: the comparison's folder.
        results: what was measured.
        runs: where they are, if any were trained.
    """
    found: dict[str, Any] = {}
    for name in results["sections"]:
        if (file := out / f"compare.{name}.json").exists():
            stored = json.loads(file.read_text())
            found[name] = stored["environment"] | {"precision": stored["settings"]["run"]["precision"]}
    if "learning" in results["sections"]:
        run = next(each for each in runs if (each / "environment.json").is_file())
        precision = json.loads((run / "summary.json").read_text())["precision"]
        found["learning"] = json.loads((run / "environment.json").read_text()) | {"precision": precision}
    return {"environments": found}


def _write(out: Path, results: dict[str, Any], runs: list[Path]) -> None:
    around = environment()
    if "learning" in results["sections"]:
        plot(results, out / "compare.png")
    figures = drawn(results)
    write_pngs(figures, out)
    write_page(results, around, figures, out / "compare.html")
    text = json.dumps(results | {"environment": around} | _environments(out, results, runs), indent=1)
    write_atomically(out / "compare.json", text)
    write_atomically(out / "summary.json", text)

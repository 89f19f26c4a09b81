"""What a comparison found, in sentences, made of its figures alone."""

import math
from collections.abc import Iterator
from typing import Any

from catclip.compare.over_seeds import WIDEST
from catclip.compare.peers import PEERS
from catclip.compare.ratios import EQUAL, wide_interval
from catclip.compare.results import LEARNED, same_labels

_BUDGETS = {"seconds": "time", "samples": "pictures", "flops": "floating-point operations"}


def sentences(results: dict[str, Any]) -> list[str]:
    """Which objective wins where, and why; what the figures do not say is said too.

    Steps, batches and ranks are set against those of the first objective, what is learned against the second's, which
    is the baseline.
    """
    names = results["objectives"]
    if len(names) < 2:
        return [f"Only {names[0]} was measured: there is nothing to compare it with."]
    first, baseline, *others = names
    said = [*_step(results, first, baseline), *_peers(results), *_batches(results, first, baseline)]
    said += [*_learning(results, first, baseline), *_scaling(results, first, baseline)]
    for name in others:
        found = _beside(results, name)
        said += [*_step(found, first, name), *_batches(found, first, name)]
        said += [*_learning(found, name, baseline), *_scaling(found, first, name)]
    said += _sensitivities(results)
    if said and len(results.get("seeds", [])) == 1:
        said.append("This is one seed: how much the figures vary between seeds is not known.")
    return said or ["Nothing was measured of both."]


def _beside(results: dict[str, Any], name: str) -> dict[str, Any]:
    """The results with what is known of a further objective in place of what is known of the first two."""
    pair, own = ("ratio.", "reached.", "untrained.", "too_coarse.", "at_least."), f"beside.{name}."
    shared = {key: value for key, value in results.items() if not key.startswith(pair)}
    return shared | {key.removeprefix(own): value for key, value in results.items() if key.startswith(own)}


def _step(results: dict[str, Any], first: str, second: str) -> Iterator[str]:
    time, operations = (_step_ratio(results, figure, first, second) for figure in ("milliseconds", "flops"))
    if time is not None:
        yield _than(f"A step of {second} takes", time, "as long as one of", first)
        if operations is not None and time > operations > 1:
            yield (
                f"Counted in operations the two differ by {operations:.2f}×, which leaves {time / operations:.2f}× "
                "to memory traffic, small operations and everything else."
            )
        elif operations is not None:
            yield f"Counted in operations the two differ by {operations:.2f}×."
    else:
        yield from _step_without_ratio(results, first, second)
        if operations is not None:
            yield f"Counted in operations the two differ by {operations:.2f}×."
    memory = _step_ratio(results, "peak_memory_bytes", first, second)
    if memory is not None:
        yield _than(f"At its peak a step of {second} takes", memory, "the memory of one of", first)


def _step_without_ratio(results: dict[str, Any], first: str, second: str) -> Iterator[str]:
    name = f"step.ratio.{second}_to_{first}.milliseconds"
    if results.get(f"{name}.verdict") == EQUAL:
        yield f"A step of {second} takes as long as one of {first}."
    elif wide := wide_interval(results, name):
        yield f"A step of {second} takes {wide[0]:.2f} to {wide[1]:.2f} times as long as one of {first}."
    elif f"{name}.verdict" in results or all(f"{each}.step_milliseconds" in results for each in (first, second)):
        yield "What was measured of the steps' times varies too much to give a ratio."


def _step_ratio(results: dict[str, Any], figure: str, first: str, second: str) -> float | None:
    """By the steps' own section where there is one, else as training had it."""
    measured = f"step.ratio.{second}_to_{first}.{figure}"
    if measured in results or f"{measured}.verdict" in results:
        return results.get(measured)
    trained = {"milliseconds": "step_milliseconds", "flops": "flops_per_image"}
    return results.get(f"ratio.{trained.get(figure, figure)}")


def _than(start: str, ratio: float, what: str, first: str) -> str:
    return f"{start} {ratio:.2f}× {what} {first}."


def _peers(results: dict[str, Any]) -> Iterator[str]:
    for name, title in PEERS.items():
        for ours in results["objectives"]:
            ratio = results.get(f"step.ratio.{name}_to_{ours}.milliseconds")
            if ratio is not None:
                yield f"The step of {title}, takes {ratio:.2f}× as long as ours of {ours}."


def _batches(results: dict[str, Any], first: str, second: str) -> Iterator[str]:
    if "batch.memory_bytes" not in results:
        return
    largest = [f"{results[f'batch.{name}.largest']:,} pictures" for name in (first, second)]
    slow = [results.get(f"batch.{name}.limited_by") == "seconds" for name in (first, second)]
    largest = [f"{each} (larger ones take too long)" if s else each for each, s in zip(largest, slow, strict=True)]
    there = f"batch.ratio.{second}_to_{first}.images_per_second"
    ratio, verdict = results.get(there), results.get(f"{there}.verdict")
    if ratio is not None:
        faster, times = (first, 1 / ratio) if ratio < 1 else (second, ratio)
        speed = f"there {faster} sees {times:.2f}× as many pictures a second"
    elif wide := wide_interval(results, there):
        speed = f"there {second} sees {wide[0]:.2f} to {wide[1]:.2f} times as many pictures a second as {first}"
    else:
        speed = "there no difference in speed was found" if verdict == EQUAL else "how fast each is there is not clear"
    yield (
        f"In {results['batch.memory_bytes'] / 2**30:.2f} GiB the largest batch of {first} has {largest[0]}, "
        f"that of {second} {largest[1]}; {speed}."
    )


# ---- learning -------------------------------------------------------------------------------------------------------


def _learning(results: dict[str, Any], first: str, second: str) -> Iterator[str]:
    for figure, title in LEARNED.items():
        if any(f"{name}.{figure}" not in results for name in (first, second)):
            continue
        yield _reached(results, figure, title, first, second)
        for budget, spent in _BUDGETS.items():
            yield from _to_accuracy(results, figure, budget, spent, first, second)


def _reached(results: dict[str, Any], figure: str, title: str, first: str, second: str) -> str:
    ends = " and ".join(f"{name} {_with_spread(results, f'{name}.{figure}')}" for name in (first, second))
    starts = [results.get(f"{name}.curve_{figure}", [None])[0] for name in (first, second)]
    before = f", from {_both(starts[0], starts[1])} untrained" if None not in starts else ""
    text = f"At the end {ends} of {title}{before}."
    if figure == "map" and not same_labels(results, results, (f"{first}.", f"{second}.")):
        text += " Their labels are not the same: neither is better for it."
    share = results.get(f"reached.{figure}")
    if best_untrained := results.get(f"untrained.{figure}"):
        seeds = len(results["seeds"])
        often = "" if best_untrained == 1 else f"in {round(best_untrained * seeds)} of {seeds} seeds "
        text += (
            f" {second.capitalize()} was {often}best before it was trained: there is nothing to reach, and no ratio."
        )
    if results.get(f"too_coarse.{figure}"):
        text += _too_coarse(results, figure, first, second)
    if share is not None and share < 1:
        count, seeds = round(share * len(results["seeds"])), len(results["seeds"])
        text += (
            f" {first.capitalize()} reached the best of {second} in {count} of {seeds} "
            f"seed{'s' if seeds > 1 else ''}: there is no time-to-accuracy ratio."
        )
    return text


def _both(one: float, other: float) -> str:
    """Two starts; backbones start alike and probe alike, but heads and towers are not the same."""
    return f"{one:.3f}" if f"{one:.3f}" == f"{other:.3f}" else f"{one:.3f} and {other:.3f}"


def _too_coarse(results: dict[str, Any], figure: str, first: str, second: str) -> str:
    why = f" The best of {second} was passed before the first evaluation after the start: there is no"
    bound = results.get(f"at_least.seconds_to_{figure}")
    if bound is None:
        return f"{why} time-to-accuracy ratio. Evaluate more often (run.evaluate_every) for one."
    seeds = "in every seed " if len(results["seeds"]) > 1 else ""
    return f"{why} ratio of times to it, but {seeds}{second} needs at least {bound:.2f}× the time of {first}."


def _with_spread(results: dict[str, Any], key: str) -> str:
    around = results.get(f"{key}.spread")
    return f"has {results[key]:.3f}" + (f" ± {around:.3f}" if around is not None else "")


def _to_accuracy(
    results: dict[str, Any], figure: str, budget: str, spent: str, first: str, second: str
) -> Iterator[str]:
    key = f"ratio.{budget}_to_{figure}"
    low, high = results.get(f"{key}.low"), results.get(f"{key}.high")
    if key in results:
        ratio = results[key]
        interval = f" ({low:.2f} to {high:.2f} over the seeds)" if low is not None and high is not None else ""
        faster, slower, times = (first, second, ratio) if ratio >= 1 else (second, first, 1 / ratio)
        if ratio < 1 and low is not None and high is not None:
            interval = f" ({1 / high:.2f} to {1 / low:.2f} over the seeds)"
        yield f"To the best of {second}, {slower} needs {times:.2f}×{interval} the {spent} that {faster} needs."
    elif low is not None and high is not None:
        why = "on both sides of 1" if low <= 1 <= high else f"more than {WIDEST:g}-fold"
        yield (
            f"Of the {spent} to the best of {second} there is no ratio to give: "
            f"the seeds leave {low:.2f}× to {high:.2f}×, which is {why}."
        )


# ---- scaling --------------------------------------------------------------------------------------------------------


def _scaling(results: dict[str, Any], first: str, second: str) -> Iterator[str]:
    if "scaling.gpus" not in results:
        return
    sent = [results[f"scaling.{name}.bytes_per_step"] / 2**20 for name in (first, second)]
    yield (
        f"On {results['scaling.measured_ranks'][-1]} ranks each sends {sent[0]:,.1f} MiB in a step of {first} and "
        f"{sent[1]:,.1f} MiB in one of {second} (measured)."
    )
    most = results["scaling.gpus"][-1]
    rates = [results[f"scaling.{name}.predicted_images_per_second_at_{most}"] for name in (first, second)]
    alone = f"scaling.ratio.{second}_to_{first}.seconds_at_1"
    why = "; their times on one rank, which it rests on, vary too much for a ratio."
    if alone in results:
        why = f", {rates[0] / rates[1]:.2f}× as many for {first}."
    elif results.get(f"{alone}.verdict") == EQUAL:
        why = "; their times on one rank, which it rests on, are equal."
    yield (
        f"Prediction, not measured: at {most:,} ranks {first} would see {rates[0]:,.0f} images a second and {second} "
        f"{rates[1]:,.0f}{why}"
    )


# ---- sensitivities --------------------------------------------------------------------------------------------------


def _sensitivities(results: dict[str, Any]) -> Iterator[str]:
    """Of each the changes that save most, and cost most, as far as the rounds tell."""
    for name in results["objectives"]:
        changes = _clear_changes(results, name)
        saves = min((each for each in changes.items() if each[1][0] < 1), key=lambda each: each[1][0], default=None)
        costs = max((each for each in changes.items() if each[1][0] > 1), key=lambda each: each[1][0], default=None)
        if said := [f"{change} ({text})" for change, (_, text) in filter(None, (saves, costs))]:
            yield f"What changes a step of {name} most: {' and '.join(said)}."


def _clear_changes(results: dict[str, Any], name: str) -> dict[str, tuple[float, str]]:
    """Of changes that surely make a step longer or shorter: the ratio, of a wide one its middle, and its text."""
    start, end = f"sensitivity.{name}.", ".milliseconds.ratio"
    found = {}
    for key in results:
        if not key.startswith(start) or not key.endswith(f"{end}.verdict"):
            continue
        ratio = key.removesuffix(".verdict")
        change = ratio.removeprefix(start).removesuffix(end)
        if ratio in results:
            found[change] = (results[ratio], f"{results[ratio]:.2f}×")
        elif wide := wide_interval(results, ratio):
            found[change] = (math.sqrt(wide[0] * wide[1]), f"{wide[0]:.2f}–{wide[1]:.2f}×")
    return found

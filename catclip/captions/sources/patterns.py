"""`data.sources`: patterns of files, with their weights in the statistics."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from catclip.captions.sources.files import expand
from catclip.errors import UserError, nearest

_LEAST_WEIGHT, _GREATEST_WEIGHT = Fraction(1, 1000), 1000


class WeightedFile(NamedTuple):
    """A file, and how often each of its captions counts."""

    path: str
    weight: Fraction


def weighted_files(sources: Any) -> list[WeightedFile]:
    """Return the files of `data.sources`, sorted, each once.

    Args:
        sources: a pattern as `expand` takes it, a mapping ``{path: PATTERNS, weight: 2.0}``, or a list of both. A
            weight w makes each caption of those files count as if it stood there w times.

    Raises:
        UserError: a pattern matches nothing; a mapping has other keys; a weight is not from 0.001 to 1000 with at most
            three decimals; a file has two weights.
    """
    entries = [sources] if isinstance(sources, str | Path | Mapping) else list(sources)
    if not entries:
        raise UserError("The list of sources is empty.")
    weights: dict[str, Fraction] = {}
    for entry in entries:
        patterns, weight = _parse_source(entry) if isinstance(entry, Mapping) else ([entry], Fraction(1))
        for path in expand(patterns):
            if weights.setdefault(path, weight) != weight:
                raise UserError(
                    f"{path} is in two sources, with weights {float(weights[path]):g} and {float(weight):g}. "
                    "Give patterns that do not overlap."
                )
    return [WeightedFile(path, weights[path]) for path in sorted(weights)]


def _parse_source(source: Mapping[str, Any]) -> tuple[Sequence[Any], Fraction]:
    for key in source:
        if key not in ("path", "weight"):
            raise UserError(f"A source has path and weight, no '{key}'.{nearest(str(key), ('path', 'weight'))}")
    if "path" not in source:
        raise UserError(f"The source {dict(source)} has no path.")
    weight = source.get("weight", 1)
    try:
        exact = Fraction(str(weight))
    except ValueError:
        raise UserError(f"weight={weight} of {source['path']} is no number.") from None
    if not _LEAST_WEIGHT <= exact <= _GREATEST_WEIGHT or (exact * 1000).denominator != 1:
        raise UserError(
            f"weight={weight} of {source['path']}: a weight is a number from 0.001 to 1000 with at most three decimals."
        )
    path = source["path"]
    return [path] if isinstance(path, str | Path) else list(path), exact


def describe(sources: Any) -> str:
    """Return in a line what `data.sources` says, for a vocabulary's metadata."""
    entries = [sources] if isinstance(sources, str | Path | Mapping) else list(sources)
    return " ".join(_describe_one(entry) for entry in entries)


def _describe_one(source: Any) -> str:
    if not isinstance(source, Mapping):
        return str(source)
    patterns, weight = _parse_source(source)
    joined = " ".join(map(str, patterns))
    return joined if weight == 1 else f"{joined} (weight {float(weight):g})"

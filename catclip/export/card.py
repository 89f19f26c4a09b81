"""The model card: what a reader of the exported weights must know, in Markdown."""

import json
from typing import Any, NamedTuple

from catclip import __version__
from catclip.export.release import Release

_LIBRARIES = {"timm": "timm", "timm-hub": "timm", "open_clip": "open_clip", "onnx": "onnx", "torch": "pytorch"}
# Of what a run measures, what says more of the machine and the optimiser than of the weights.
_LEFT_OUT = {"lr", "grad_norm", "images_per_second", "data_wait", "memory", "mfu", "recompilations", "nonfinite_steps"}


class Section(NamedTuple):
    title: str
    text: str


def code(lines: list[str]) -> str:
    """Lines of Python as Markdown."""
    return "\n".join(["```python", *lines, "```"])


def card(release: Release, form: str, sections: list[Section]) -> str:
    """The card of an export.

    Args:
        release: what was exported.
        form: in which format.
        sections: of the format: how the files are used, and what they take.
    """
    task = "image-feature-extraction" if release.head is None else "image-classification"
    task = "zero-shot-image-classification" if form == "open_clip" else task
    name = release.config["run"].get("name") or release.path.resolve().name
    head = ["---", f"library_name: {_LIBRARIES[form]}", f"pipeline_tag: {task}", "tags:", "- catclip", f"- {task}"]
    own = [Section("Model", _model(release)), *sections, Section("Training", _training(release))]
    own += [Section("Measured", _measured(release)), Section("Licence", _LICENCE)]
    parts = ["\n".join([*head, "---"]), f"# {name}", *(f"## {section.title}\n\n{section.text}" for section in own)]
    return "\n\n".join(parts) + "\n"


_LICENCE = (
    "None is given here: it is for whoever publishes these weights to choose, with the licence of the pictures and "
    "captions in mind (on the Hub: a line `license: …` above)."
)


def _model(release: Release) -> str:
    backbone, objective = release.objective.backbone, release.objective
    parameters = sum(each.numel() for each in backbone.trunk.parameters())
    lines = [
        f"- backbone: {release.timm_name}, {parameters / 1e6:.1f} M parameters, features of {backbone.width}, pictures "
        f"of {release.image_size} pixels{_in_brackets(release.timm_arguments)}",
        f"- objective: {type(objective).__name__.lower()}{_in_brackets(_options(release))}",
    ]
    if release.labels:
        lines.append(f"- vocabulary: {_vocabulary(release)}")
    if release.pair is not None:
        lines.append(
            f"- text: {release.pair.text_settings['context_length']} tokens, joint embedding of "
            f"{release.pair.projection.out_features}"
        )
    return "\n".join(lines)


def _options(release: Release) -> dict[str, Any]:
    given = release.config["objective"].items()
    elsewhere = ("_target_", "vocabulary", "classes")
    return {key: value for key, value in given if key not in elsewhere and value is not None}


def _vocabulary(release: Release) -> str:
    vocabulary: Any = getattr(release.objective, "vocabulary", None)
    made = _in_brackets(dict(getattr(vocabulary, "metadata", {})))
    first = ", ".join(label.name for label in release.labels[:8]) + (" …" if len(release.labels) > 8 else "")
    return f"{len(release.labels):,} labels, {first}{made}; `labels.tsv` has them in the order of the head's rows"


def _training(release: Release) -> str:
    config, step = release.config, release.measured["step"]
    data = config.get("data") or {}
    used = {key: data.get(key) for key in ("sources", "folder", "train", "val", "test")}
    lines = [f"- data.{key}: {_plain(value)}" for key, value in used.items() if value is not None]
    weights = "averaged over the training" if release.weights == "ema" else "the last"
    lines += [
        f"- {step:,} steps of {config['run']['batch']:,} pictures; these weights are {weights}",
        f"- optimiser: AdamW{_in_brackets(config['optim'])}",
        f"- made with catclip {__version__}",
    ]
    return "\n".join(lines)


def _measured(release: Release) -> str:
    # A run evaluates its averaged weights, where it has some.
    if release.weights == "last" and release.config["optim"]["ema"] is not None:
        return "Nothing: the run measured its averaged weights, and these are those of its last step."
    figures = {key: each for key, each in release.measured.items() if key not in _LEFT_OUT | {"step"}}
    rows = [f"| {key} | {each:.6g} |" for key, each in figures.items() if isinstance(each, int | float)]
    return "\n".join(["| figure | value |", "|---|---|", *rows]) if rows else "Nothing."


def _in_brackets(settings: dict[str, Any]) -> str:
    said = ", ".join(f"{key}={_plain(value)}" for key, value in settings.items())
    return f" ({said})" if said else ""


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

"""`format=timm`: a checkpoint for `timm.create_model`; `format=timm-hub`: the folder that timm loads by itself."""

import json
from pathlib import Path
from typing import Any

import timm
from timm.models import model_entrypoint
from torch import nn

from catclip.errors import UserError
from catclip.export.card import Section, code
from catclip.export.release import Release, write_labels, write_weights

FILE = "model.safetensors"  # one of the names by which timm finds weights in a folder


def write_checkpoint(release: Release, folder: Path, out: Path) -> list[Section]:
    """Write the weights with timm's names, the label head as timm's classifier.

    Args:
        release: what to write.
        folder: where to.
        out: what the folder will be called in the end.

    Returns:
        How they are loaded, for the card.

    Raises:
        UserError: timm alone cannot build the model.
    """
    model = timm_model(release)
    write_weights(model, folder / FILE)
    write_labels(release, folder)
    arguments = {"checkpoint_path": str(out / FILE), "num_classes": classes(release), **release.timm_arguments}
    lines = [
        "import timm",
        f"model = timm.create_model({release.timm_name!r}, {_keywords(arguments)}).eval()",
        *_use(release),
    ]
    return [Section("Use", code(lines)), _normalisation(release, "the model does not do it")]


def write_folder(release: Release, folder: Path, out: Path) -> list[Section]:
    """Write the weights and timm's `config.json`; the rest as `write_checkpoint`."""
    model = timm_model(release)
    write_weights(model, folder / FILE)
    write_labels(release, folder)
    (folder / "config.json").write_text(json.dumps(timm_config(release, classes(release)), indent=1))
    lines = [
        "import timm",
        f"model = timm.create_model({f'local-dir:{out}'!r}, pretrained=True).eval()  # or hf-hub:, once it is there",
        "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))",
        *_use(release),
    ]
    return [Section("Use", code(lines)), _normalisation(release, "timm's transform does it, as `config.json` says")]


def timm_model(release: Release) -> nn.Module:
    """The backbone as timm alone builds it, with the label head as its classifier, or none.

    Raises:
        UserError: the model is none of timm's own, or its classifier is not one linear layer.
    """
    check_is_timms(release)
    name, head = release.timm_name, release.head
    model: Any = timm.create_model(name, num_classes=classes(release), **release.timm_arguments)
    state = release.objective.backbone.trunk.state_dict()
    if head is not None:
        classifier = model.get_classifier()
        fits = isinstance(classifier, nn.Linear) and classifier.weight.shape == head.weight.shape
        if not fits or classifier.bias is None:
            raise UserError(
                f"The classifier of timm's {name} is no linear layer with a bias: give format=onnx or torch."
            )
        place = next(path for path, module in model.named_modules() if module is classifier)
        state |= {f"{place}.{key}": value for key, value in head.state_dict().items()}
    model.load_state_dict(state)
    return model.eval()


def classes(release: Release) -> int:
    """As many as the label head has; 0 without one."""
    return 0 if release.head is None else release.head.out_features


def check_is_timms(release: Release) -> None:
    """Raise `UserError` for a model that timm does not know where catclip is not."""
    if not model_entrypoint(release.timm_name).__module__.startswith("timm."):
        raise UserError(f"{release.timm_name} is catclip's, timm alone has no such model: give format=onnx or torch.")


def timm_config(release: Release, num_classes: int) -> dict[str, Any]:
    """What timm's `config.json` says of a model of so many classes."""
    size = [3, release.image_size, release.image_size]
    usual = release.objective.backbone.trunk.pretrained_cfg
    names = [label.wnid or label.name for label in release.labels]
    labels: dict[str, Any] = {"label_names": names} if names else {}
    if any(label.wnid for label in release.labels):
        labels["label_descriptions"] = {label.wnid: label.name for label in release.labels}
    return {
        "architecture": release.timm_name,
        "num_classes": num_classes,
        "num_features": release.objective.backbone.width,
        **labels,
        "model_args": release.timm_arguments,
        "pretrained_cfg": {
            "tag": "catclip",
            "custom_load": False,
            "input_size": size,
            "fixed_input_size": release.objective.backbone.takes_size,  # what takes no img_size must not be given one
            "interpolation": "bicubic",
            "crop_pct": 1.0,  # pictures are looked at as runs of ours do: their largest central square
            "crop_mode": "center",
            "mean": release.mean,
            "std": release.std,
            "num_classes": num_classes,
            "pool_size": None,
            "first_conv": usual.get("first_conv"),
            "classifier": usual.get("classifier"),
        },
    }


def _use(release: Release) -> list[str]:
    features = "features = model.forward_head(model.forward_features(pictures), pre_logits=True)"
    width = release.objective.backbone.width
    lines = [f"{features}  # [B, {width}]"]
    if release.head is not None:
        lines.append(f"logits = model(pictures)  # [B, {len(release.labels)}], in the order of labels.tsv")
    return lines


def _normalisation(release: Release, who: str) -> Section:
    size = release.image_size
    return Section(
        "Pictures",
        f"Float [B, 3, {size}, {size}], from 0 to 1, less the mean {release.mean}, divided by the standard deviation "
        f"{release.std}: {who}. The largest central square, resized to {size} pixels, bicubic.",
    )


def _keywords(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in arguments.items())

"""`format=open_clip`: the folder that `open_clip.create_model_and_transforms` loads, both towers."""

import json
from pathlib import Path
from typing import Any

import torch

from catclip.errors import UserError
from catclip.export.card import Section, code
from catclip.export.release import Release, write_labels, write_weights
from catclip.export.to_timm import check_is_timms, timm_config

TRUNK = "trunk"  # the folder with timm's configuration of an unusual backbone


def write_folder(release: Release, folder: Path, out: Path) -> list[Section]:
    """Write both towers as open_clip's `CustomTextCLIP` has them: the backbone is its `TimmModel`'s trunk.

    open_clip builds a trunk by its name alone. One of another shape than its name says needs a configuration of its
    own, which lies in the folder and is found by its absolute path.

    Args:
        release: what to write.
        folder: where to.
        out: what the folder will be called in the end.

    Returns:
        How it is loaded, for the card.

    Raises:
        UserError: the run has no text tower, or timm alone cannot build the backbone.
    """
    pair = release.pair
    if pair is None:
        raise UserError(
            f"format=open_clip needs a text tower, which this run ({type(release.objective).__name__}) has not: give "
            "timm, timm-hub, onnx or torch."
        )
    check_is_timms(release)
    backbone = release.objective.backbone
    if backbone.trunk.num_features != backbone.width:
        raise UserError(
            f"{release.timm_name} has a layer between its {backbone.trunk.num_features} features and the "
            f"{backbone.width} that it gives, which open_clip does not build: give format=timm, onnx or torch."
        )
    unusual = bool(release.timm_arguments)
    if unusual:
        (folder / TRUNK).mkdir()
        (folder / TRUNK / "config.json").write_text(json.dumps(timm_config(release, 0), indent=1))
    name = f"local-dir:{(out / TRUNK).resolve()}" if unusual else release.timm_name
    (folder / "open_clip_config.json").write_text(json.dumps(_config(release, name), indent=1))
    write_weights(_state(release), folder / "open_clip_model.safetensors")
    write_labels(release, folder)
    if release.head is not None:
        write_weights(release.head, folder / "label_head.safetensors")
    return [Section("Use", _use(release, out)), *([_moving(name)] if unusual else []), _pictures(release)]


def _config(release: Release, trunk: str) -> dict[str, Any]:
    pair = release.pair
    model = {
        "embed_dim": pair.projection.out_features,
        "vision_cfg": {
            "timm_model_name": trunk,
            "timm_model_pretrained": False,
            "timm_pool": "",  # as the trunk has it
            "timm_proj": "linear",
            "image_size": release.image_size,
        },
        "text_cfg": pair.text_settings,
        "quick_gelu": pair.quick_gelu,
        "custom_text": True,
    }
    if pair.bias is not None:
        model["init_logit_bias"] = 0.0  # so that there is one; its value is in the weights
    preprocess = {"mean": release.mean, "std": release.std, "interpolation": "bicubic", "resize_mode": "shortest"}
    return {"model_cfg": model, "preprocess_cfg": preprocess}


def _state(release: Release) -> dict[str, torch.Tensor]:
    pair = release.pair
    state = {f"visual.trunk.{key}": each for key, each in release.objective.backbone.trunk.state_dict().items()}
    state |= {f"text.{key}": each for key, each in pair.text.state_dict().items()}
    state |= {"visual.head.proj.weight": pair.projection.weight, "logit_scale": pair.log_scale}
    return state if pair.bias is None else state | {"logit_bias": pair.bias}


def _use(release: Release, out: Path) -> str:
    folder = f"local-dir:{out}"
    lines = [
        "import open_clip",
        f"model, _, preprocess = open_clip.create_model_and_transforms({folder!r})",
        f"tokenizer = open_clip.get_tokenizer({folder!r})",
        "pictures = model.eval().encode_image(preprocess(picture)[None], normalize=True)",
        "texts = model.encode_text(tokenizer(['a photo of a dog.']), normalize=True)",
    ]
    if release.head is None:
        return code(lines)
    lines += [
        "",
        "from safetensors.torch import load_file  # the label head, rows as in labels.tsv",
        f"head = load_file({str(out / 'label_head.safetensors')!r})",
        "logits = model.visual.trunk(preprocess(picture)[None]) @ head['weight'].T + head['bias']",
    ]
    return code(lines)


def _moving(name: str) -> Section:
    return Section(
        "Moving this folder",
        "open_clip builds the image tower by the name in `open_clip_config.json`, under `timm_model_name`; this one "
        f"is not as one of timm's names says, and so it stands there as `{name}`. If you move the folder, change that "
        "path to where `trunk/` is. To publish it, export with format=timm-hub as well, and write `hf-hub:…` there.",
    )


def _pictures(release: Release) -> Section:
    return Section(
        "Pictures",
        f"open_clip's `preprocess` resizes, crops and normalises them, as `open_clip_config.json` says (mean "
        f"{release.mean}, standard deviation {release.std}); the model does not.",
    )

"""Where a backbone starts from: checkpoints of timm, open_clip and CatLIP, and run folders of ours."""

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from timm.models import load_state_dict, model_entrypoint
from torch import nn

from catclip.errors import UserError
from catclip.models.backbone import Backbone

State = dict[str, torch.Tensor]

_STEP = re.compile(r"step-(\d+)")
_RESAMPLED = ("pos_embed", "patch_embed.proj.weight")  # by timm
_SHOWN = 3  # names of tensors in a message


def load_weights(backbone: Backbone, source: str | Path) -> None:
    """Start a backbone from a checkpoint. Heads, projections and text towers in it are left out.

    Positions are resampled to the backbone's picture size, as timm does it.

    Args:
        backbone: changed in place.
        source: a checkpoint file, `.safetensors` or torch's (of which only tensors are read, no code is run): timm's,
            open_clip's, with one of timm's towers or a ViT of its own, or CatLIP's; a run folder, of whose last
            checkpoint the averaged weights are taken where there are any; or a folder that `catclip export` wrote.

    Raises:
        UserError: there is none, it cannot be read, or it holds another backbone.
    """
    file = _file(Path(source))
    found = _of_backbone(_read(file))
    if not found:
        raise UserError(f"backbone.weights={file} has no weights in it.")
    try:
        fitted = _fit(found, backbone)
        _check(fitted, backbone)
    except _OtherBackboneError as error:
        raise UserError(
            f"backbone.weights={file} holds another backbone than {backbone.name} with the backbone.options given: "
            f"{error}. Give the backbone that it was made with.{_hint(found)}"
        ) from error
    backbone.trunk.load_state_dict(fitted)


class _OtherBackboneError(ValueError):
    """Tensors do not fit; says which."""


def _file(path: Path) -> Path:
    """The file of a run folder or an exported one; a file as it is."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"backbone.weights={path} does not exist: give a checkpoint file, or a run folder.")
    steps = [(int(match[1]), each) for each in path.glob("checkpoints/*") if (match := _STEP.fullmatch(each.name))]
    candidates = [max(steps)[1] / f"{name}.safetensors" for name in ("ema", "last")] if steps else []
    candidates += [path / "model.safetensors", path / "open_clip_model.safetensors"]
    for file in candidates:
        if file.is_file():
            return file
    raise UserError(
        f"backbone.weights={path} is a folder without a checkpoint: give a run folder that has one, or a file."
    )


def _read(file: Path) -> State:
    try:
        state = load_state_dict(str(file), weights_only=True)
        return {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
    except Exception as error:  # broken bytes make the readers raise nearly anything, and all mean the same
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        if "weights_only" in reason:  # torch's advice is to run what is in it
            reason = "Or has it more in it than tensors? Code is not run: save its state_dict alone."
        raise UserError(f"backbone.weights={file} cannot be read as a checkpoint; is it cut short? {reason}") from error


def _of_backbone(state: State) -> State:
    """The tensors of the backbone: with timm's names, or those that timm's own conversions take."""
    for prefix in ("backbone.trunk.", "visual.trunk."):  # a run of ours, open_clip's of a timm tower
        if any(key.startswith(prefix) for key in state):
            return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    if "visual.class_embedding" in state:  # open_clip's own ViT
        return {key: value for key, value in state.items() if key.startswith("visual.")}
    if any(key.startswith("patch_emb.") for key in state):
        return _catlip(state)
    return state


def _catlip(state: State) -> State:
    """CatLIP's names (CoreNet's ViT) as MobileCLIP's, which are CoreNet's too, and which timm converts."""
    others = ("classifier.", "neural_augmentor.")
    return {
        f"image_encoder.model.{key.replace('.out_proj_attn.', '.out_proj.')}": value
        for key, value in state.items()
        if not key.startswith(others)
    }


def _fit(found: State, backbone: Backbone) -> State:
    """With timm's names, the positions resampled, without a classifier."""
    convert = _conversion(backbone.name)
    try:
        fitted = convert(found, backbone.trunk)
    # What the conversions raise on tensors that they do not expect.
    except (RuntimeError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        other = _first_difference(found, backbone.trunk.state_dict(), _RESAMPLED) or str(error) or type(error).__name__
        raise _OtherBackboneError(other) from error
    classifier = backbone.trunk.pretrained_cfg.get("classifier") or ()
    names = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    own, dropped = backbone.trunk.state_dict(), tuple(f"{name}." for name in names)
    return {key: value for key, value in fitted.items() if key in own or not key.startswith(dropped)}


def _conversion(name: str) -> Callable[[State, nn.Module], State]:
    """timm's own conversion of foreign checkpoints of a model, where it has one."""
    module: Any = import_module(model_entrypoint(name).__module__)
    convert: Callable[[State, nn.Module], State] = getattr(module, "checkpoint_filter_fn", lambda state, _: state)
    return convert


def _first_difference(found: State, own: State, left_out: tuple[str, ...] = ()) -> str | None:
    """The first of our tensors that is there in another shape."""
    for key in own:
        if key in found and key not in left_out and found[key].shape != own[key].shape:
            return f"{key} is {list(found[key].shape)} there and {list(own[key].shape)} here"
    return None


def _check(fitted: State, backbone: Backbone) -> None:
    own = backbone.trunk.state_dict()
    if other := _first_difference(fitted, own):
        raise _OtherBackboneError(other)
    if missing := [key for key in own if key not in fitted]:
        raise _OtherBackboneError(f"it lacks {_some(missing)}")
    if extra := [key for key in fitted if key not in own]:
        raise _OtherBackboneError(f"it also has {_some(extra)}")


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _hint(found: State) -> str:
    if "visual.class_embedding" in found:
        return " CLIP's ViTs are timm's vit_…_clip_…, as vit_base_patch16_clip_224 (OpenAI's: …_clip_quickgelu_…)."
    if any(key.startswith("image_encoder.model.patch_emb.") for key in found):
        return " CatLIP's are backbone=catlip_b_16, catlip_l_16 and catlip_h_16."
    return ""

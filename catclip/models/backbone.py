"""The vision backbone: any timm model, by name."""

from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import nn

import catclip.models.catlip  # noqa: F401 - more models, by name
from catclip.errors import UserError, nearest


class Backbone(nn.Module):
    """A timm model without its classifier, from uint8 pictures to pooled features.

    Args:
        name: any model of `timm.list_models()`.
        image_size: pixels; pictures of other sides may come where `any_side` is true.
        options: passed to `timm.create_model` (depth, embed_dim, global_pool …).
        patch_dropout: the share of a picture's patches left out in training, at random (FLIP, arXiv 2212.00794).
        checkpoint_activations: keep only what goes into each block, and compute the rest again in the backward pass.
        channels_last: lay pictures out as [B, H, W, 3], in which convolutions on GPUs are faster.

    Attributes:
        width: D, the size of the features.
        patch: pixels of a patch's side; None where the model has no patches of one size.
        any_side: whether the model takes pictures of any side that is a multiple of the patch: its positions are
            resampled then.
        takes_size: whether the model is made for one size, as timm's `img_size`; convolutional networks are not.

    Raises:
        UserError: timm knows no such model, or it does not take these options.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        name: str,
        image_size: int,
        options: Mapping[str, Any] | None = None,
        *,
        patch_dropout: float = 0.0,
        checkpoint_activations: bool = False,
        channels_last: bool = False,
    ):
        super().__init__()
        if name not in timm.list_models():
            raise UserError(f"timm has no model '{name}'.{nearest(name, timm.list_models('*vit*'))}")
        if not 0 <= patch_dropout < 1:
            raise UserError(f"backbone.patch_dropout={patch_dropout} must be at least 0 and below 1.")
        if patch_dropout and "patch_drop_rate" in (options or {}):
            raise UserError(
                f"backbone.patch_dropout={patch_dropout} and backbone.options.patch_drop_rate are the same: give "
                "backbone.patch_dropout alone."
            )
        trunk, self.takes_size = _create(name, image_size, dict(options or {}), patch_dropout)
        if getattr(trunk, "global_pool", None) == "":
            raise UserError("backbone.options.global_pool='' gives no one vector a picture: use avg or token.")
        if getattr(getattr(trunk, "patch_embed", None), "num_patches", 1) < 1:
            raise UserError(f"backbone.image_size={image_size} is smaller than one patch of {name}.")
        # Several kinds call something else, of no one ratio, by that name: pit, pvt, crossvit, hiera …
        ratio = getattr(getattr(trunk, "patch_embed", None), "feat_ratio", None)
        self.patch: int | None = ratio() if ratio else None
        self.any_side = self.patch is not None and bool(getattr(trunk, "dynamic_img_size", False))
        if self.any_side and self.patch and image_size % self.patch:
            below = image_size // self.patch * self.patch
            raise UserError(
                f"backbone.image_size={image_size} is no multiple of {name}'s patch of {self.patch} pixels: give "
                f"{below} or {below + self.patch}."
            )
        if checkpoint_activations:
            _set_checkpointing(trunk, name)
        self.trunk = trunk.to(memory_format=torch.channels_last) if channels_last else trunk
        self.name, self.image_size, self.channels_last = name, image_size, channels_last
        self.width: int = getattr(trunk, "head_hidden_size", trunk.num_features)  # some have a layer after pooling
        data = trunk.pretrained_cfg
        self.register_buffer("mean", 255 * torch.tensor(data["mean"]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(data["std"]).view(3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Pooled features [B, D] of uint8 images [B, 3, H, W]; they are normalised here, on the device."""
        if self.channels_last:  # as bytes still: a quarter of what there is to move
            images = images.contiguous(memory_format=torch.channels_last)
        return self.trunk((images - self.mean) / self.std)


def _create(name: str, image_size: int, options: dict[str, Any], patch_dropout: float) -> tuple[Any, bool]:
    """timm's model, which takes pictures of any side where its kind can; and whether it was told their side."""
    given = {**({"patch_drop_rate": patch_dropout} if patch_dropout else {}), **options}
    sizes = {"dynamic_img_size": True, "img_size": image_size}  # convolutional networks know neither
    state = torch.get_rng_state()
    try:
        while True:
            torch.set_rng_state(state)
            try:
                trunk = timm.create_model(name, pretrained=False, num_classes=0, **{**sizes, **given})
                return trunk, "img_size" in sizes
            except TypeError as error:
                unknown = next((key for key in sizes if f"'{key}'" in str(error) and key not in options), None)
                if unknown is None:
                    raise
                del sizes[unknown]
    # What timm's models raise for options that they do not know or that do not fit.
    except (TypeError, AssertionError, ValueError, KeyError, ZeroDivisionError, RuntimeError) as error:
        if "patch_drop_rate" in str(error) and patch_dropout:
            raise UserError(f"{name} has no dropout of patches: give backbone.patch_dropout=0.") from error
        raise UserError(
            f"backbone.name={name} at backbone.image_size={image_size} cannot be built with backbone.options="
            f"{options}: {str(error) or 'timm refuses that size; is it a multiple of the patch?'}"
        ) from error


def _set_checkpointing(trunk: Any, name: str) -> None:
    try:
        trunk.set_grad_checkpointing(True)
    except (AttributeError, AssertionError) as error:
        raise UserError(f"{name} cannot compute activations again: give backbone.checkpoint_activations=false.") from (
            error
        )


def build_backbone(name: str, image_size: int, options: Mapping[str, Any], seed: int, **settings: Any) -> Backbone:
    """A backbone whose initial weights depend on `seed` alone, whatever is built before or after it.

    Args:
        name, image_size, options, settings: `Backbone`'s.
        seed: of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Backbone(name, image_size, options, **settings)

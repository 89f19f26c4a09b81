"""The vision backbone: any timm vision transformer, by name."""

from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import nn

from catclip.errors import UserError, nearest


class Backbone(nn.Module):
    """A timm model without its classifier, from uint8 pictures to pooled features.

    Args:
        name: any model of `timm.list_models()` that takes `img_size`.
        image_size: pixels.
        options: passed to `timm.create_model` (depth, embed_dim, global_pool …).

    Attributes:
        width: D, the size of the features.

    Raises:
        UserError: timm knows no such model, or it does not take these options.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, name: str, image_size: int, options: Mapping[str, Any] | None = None):
        super().__init__()
        if name not in timm.list_models():
            raise UserError(f"timm has no model '{name}'.{nearest(name, timm.list_models('*vit*'))}")
        try:
            trunk: Any = timm.create_model(
                name, pretrained=False, num_classes=0, img_size=image_size, **(options or {})
            )
        # What timm's models raise for options that they do not know or that do not fit.
        except (TypeError, AssertionError, ValueError, KeyError, ZeroDivisionError, RuntimeError) as error:
            raise UserError(
                f"backbone.name={name} at backbone.image_size={image_size} cannot be built with backbone.options="
                f"{dict(options or {})}: {str(error) or type(error).__name__}"
            ) from error
        if getattr(trunk, "global_pool", None) == "":
            raise UserError("backbone.options.global_pool='' gives no one vector a picture: use avg or token.")
        if getattr(getattr(trunk, "patch_embed", None), "num_patches", 1) < 1:
            raise UserError(f"backbone.image_size={image_size} is smaller than one patch of {name}.")
        self.trunk = trunk
        self.image_size = image_size
        self.width: int = trunk.num_features
        data = trunk.pretrained_cfg
        self.register_buffer("mean", 255 * torch.tensor(data["mean"]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(data["std"]).view(3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Pooled features [B, D] of uint8 images [B, 3, H, W]; they are normalised here, on the device."""
        return self.trunk((images - self.mean) / self.std)


def build_backbone(name: str, image_size: int, options: Mapping[str, Any], seed: int) -> Backbone:
    """A backbone whose initial weights depend on `seed` alone, whatever is built before or after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Backbone(name, image_size, options)

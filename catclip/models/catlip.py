"""CatLIP's ViT-L/16 and ViT-H/16 as it published them: timm's ViT behind a stem of three convolutions.

timm has the B/16 of this kind, `vit_base_mci_224` (MobileCLIP's). These are registered beside it, so that
`backbone.name` finds them. The class token has no position, and pictures are not normalised.
"""

from typing import Any

from timm.layers import HybridEmbed
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import ConvStem, checkpoint_filter_fn
from torch import nn

_CFG = {
    "num_classes": 1000,
    "input_size": (3, 224, 224),
    "pool_size": None,
    "crop_pct": 0.9,
    "interpolation": "bicubic",
    "fixed_input_size": True,
    "mean": (0.0, 0.0, 0.0),
    "std": (1.0, 1.0, 1.0),
    "first_conv": "patch_embed.backbone.0.conv",
    "classifier": "head",
}
default_cfgs = generate_default_cfgs({f"vit_{size}_mci_224.untrained": _CFG for size in ("large", "huge")})


@register_model
def vit_large_mci_224(pretrained: bool = False, **options: Any) -> VisionTransformer:
    """1024 wide, 24 deep, patches of 16 pixels."""
    return _create("vit_large_mci_224", pretrained, {"embed_dim": 1024, "depth": 24, "num_heads": 16, **options})


@register_model
def vit_huge_mci_224(pretrained: bool = False, **options: Any) -> VisionTransformer:
    """1280 wide, 32 deep, patches of 16 pixels."""
    return _create("vit_huge_mci_224", pretrained, {"embed_dim": 1280, "depth": 32, "num_heads": 20, **options})


def _create(variant: str, pretrained: bool, options: dict[str, Any]) -> VisionTransformer:
    width = options["embed_dim"]
    stem = ConvStem(
        channels=(width // 4, width // 4, width), stride=(4, 2, 2), kernel_size=(4, 2, 2), padding=0, act_layer=nn.GELU
    )

    def embed(**settings: Any) -> HybridEmbed:
        return HybridEmbed(stem, proj=False, **settings)

    return build_model_with_cfg(
        VisionTransformer,
        variant,
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"out_indices": 3, "feature_cls": "getter"},
        embed_layer=embed,
        **{"patch_size": 1, "no_embed_class": True, **options},
    )

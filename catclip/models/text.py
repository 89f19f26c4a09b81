"""The contrastive objective's text tower and its tokenizer: open_clip's, by the name of one of its models."""

from typing import Any

import open_clip
from open_clip.model import CLIPTextCfg, _build_text_tower
from torch import nn

from catclip.errors import UserError, nearest


def text_settings(model: str, **changes: int | None) -> tuple[dict[str, Any], int, bool]:
    """What open_clip says of a model's text tower, with changes.

    Args:
        model: one of `open_clip.list_models()`.
        changes: of `embed_dim`, or of the fields of open_clip's `CLIPTextCfg`; those that are None change nothing.

    Returns:
        The fields of `CLIPTextCfg`, the size of the joint embedding, and whether it has CLIP's approximate GELU.

    Raises:
        UserError: open_clip has no such model, or its text tower is one of Hugging Face's.
    """
    config = open_clip.get_model_config(model)
    if config is None:
        raise UserError(f"open_clip has no model '{model}'.{nearest(model, open_clip.list_models())}")
    settings = config["text_cfg"] | {key: value for key, value in changes.items() if value is not None}
    embed = settings.pop("embed_dim", config["embed_dim"])
    if settings.get("hf_model_name"):
        raise UserError(
            f"The text tower of open_clip's {model} is Hugging Face's {settings['hf_model_name']}, not one of its own. "
            "Choose another, as ViT-B-16."
        )
    settings.pop("output_tokens", None)  # for CoCa's captioner: here one vector a text is wanted
    return settings, embed, config.get("quick_gelu", False)


def build_text_tower(settings: dict[str, Any], embed: int, quick_gelu: bool = False) -> nn.Module:
    """A text transformer with random weights: tokens int64 [B, context_length] → [B, embed].

    CLIP's (arXiv 2103.00020, section 2.4) reads causally and takes what stands at the end of the text.

    Args:
        settings: fields of open_clip's `CLIPTextCfg`.
        embed: E.
        quick_gelu: CLIP's approximate GELU.

    Raises:
        UserError: width and heads do not fit together.
    """
    config = CLIPTextCfg(**settings)
    if config.width % config.heads:
        raise UserError(f"objective.text_width={config.width} is no multiple of objective.text_heads={config.heads}.")
    return _build_text_tower(embed, config, quick_gelu)


def build_tokenizer(model: str, length: int) -> Any:
    """The tokenizer of one of open_clip's models: texts → tokens int64 [B, length]. Nothing is downloaded.

    Raises:
        UserError: it is Hugging Face's, and not on this machine.
    """
    name = open_clip.get_model_config(model)["text_cfg"].get("hf_tokenizer_name")
    if not name:
        return open_clip.get_tokenizer(model, context_length=length)
    try:
        return open_clip.get_tokenizer(model, context_length=length, local_files_only=True)
    except (ImportError, OSError) as error:
        raise UserError(
            f"open_clip's {model} reads captions with Hugging Face's {name}, which is not here: {error} Install "
            "transformers and fetch that tokenizer, or choose a tower with CLIP's own, as ViT-B-16."
        ) from error

"""In which precision matrix products run, and which of them a device is fast at."""

import torch

from catclip.errors import check_choice

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": None}  # what autocast casts to
SETTINGS = ("auto", *PRECISIONS)


def pick_precision(setting: str, device: torch.device, key: str = "run.precision") -> str:
    """One of `PRECISIONS`: `auto` is bf16 where the device has instructions for it, and fp32 elsewhere.

    Args:
        setting: one of `SETTINGS`.
        device: where products run.
        key: what the user calls the choice.

    Raises:
        UserError: it is none of them.
    """
    check_choice(key, setting, SETTINGS)
    if setting != "auto":
        return setting
    return "bf16" if multiplies_bf16(device) else "fp32"


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bf16; elsewhere it is emulated, on CPUs about a hundred times slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported()

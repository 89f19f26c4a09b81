"""What a model gives is finite numbers, or its weights are lost."""

import numpy as np
import torch

from catclip.errors import UserError


def check_finite(*outputs: torch.Tensor | np.ndarray) -> None:
    """Raise `UserError` unless features or scores are finite: nothing is above NaN, so that it would win rankings."""
    if not all(bool(torch.as_tensor(each).isfinite().all()) for each in outputs):
        raise UserError(
            "The model's outputs are not finite numbers: these weights are lost. Take an earlier checkpoint: move the "
            "newest out of the run's checkpoints/."
        )

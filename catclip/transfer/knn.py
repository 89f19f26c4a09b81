"""The nearest neighbours' classes: a probe that learns nothing."""

import numpy as np
import torch
import torch.nn.functional as F

from catclip.models.finite import check_finite

TEMPERATURE = 0.07  # Wu et al., arXiv 1805.01978, section 3.4
_CHUNK = 1024  # test pictures at a time


def knn_scores(
    train: np.ndarray, truth: np.ndarray, test: np.ndarray, k: int, device: torch.device | str = "cpu"
) -> np.ndarray:
    """What a test picture's nearest training pictures show, weighted by exp(cosine / .07) (arXiv 1805.01978).

    Args:
        train: features [N, D].
        truth: which classes those pictures show, bool [N, C].
        test: features [P, D].
        k: how many neighbours have a say; all, where there are fewer.
        device: where it is computed.

    Returns:
        float32 [P, C], from 0 to 1: of the weight of the neighbours the share of those that show a class.

    Raises:
        UserError: features that are not finite.
    """
    check_finite(train, test)
    known, shown = F.normalize(torch.from_numpy(train).to(device).float(), dim=1), torch.from_numpy(truth).to(device)
    scores = []
    for some in torch.from_numpy(test).to(device).float().split(_CHUNK):
        near, rows = (F.normalize(some, dim=1) @ known.T).topk(min(k, len(known)), dim=1)
        weights = (near / TEMPERATURE).softmax(dim=1)
        scores.append(torch.einsum("pk,pkc->pc", weights, shown[rows].float()))
    return torch.cat(scores).cpu().numpy()

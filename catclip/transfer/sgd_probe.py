"""The linear probe by gradient steps, with CatLIP's rates (arXiv 2404.15653, appendix)."""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.preprocessing import StandardScaler
from torch import nn

from catclip.config import OptimConfig, SgdProbeConfig
from catclip.models.finite import check_finite
from catclip.train.optim import learning_rate


def sgd_scores(
    train: np.ndarray,
    truth: np.ndarray,
    test: np.ndarray,
    multilabel: bool,
    config: SgdProbeConfig,
    seed: int,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """A linear layer from zero on standardised features: AdamW without decay, cosine schedule.

    Args:
        train: features [N, D].
        truth: which classes those pictures show, bool [N, C].
        test: features [P, D].
        multilabel: a sigmoid a class; otherwise softmax.
        config: epochs, rates, batch.
        seed: of the order of the pictures.
        device: where it is computed.

    Returns:
        Logits float32 [P, C].

    Raises:
        UserError: features that are not finite.
    """
    check_finite(train, test)
    scaler = StandardScaler().fit(train)
    x, y = torch.from_numpy(scaler.transform(train)).to(device).float(), torch.from_numpy(truth).to(device)
    layer = nn.Linear(x.shape[1], y.shape[1], device=device)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.AdamW(layer.parameters(), weight_decay=0)
    rates = OptimConfig(lr=config.lr, min_lr=config.min_lr, warmup=0)
    generator = torch.Generator().manual_seed(seed)
    batches = -(-len(x) // config.batch)
    for epoch in range(config.epochs):
        for t, rows in enumerate(torch.randperm(len(x), generator=generator).split(config.batch)):
            optimizer.param_groups[0]["lr"] = learning_rate(epoch * batches + t, config.epochs * batches, rates)
            logits, shown = layer(x[rows]), y[rows].float()
            if multilabel:
                loss = F.binary_cross_entropy_with_logits(logits, shown, reduction="sum") / len(rows)
            else:
                loss = F.cross_entropy(logits, shown)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return layer(torch.from_numpy(scaler.transform(test)).to(device).float()).cpu().numpy()

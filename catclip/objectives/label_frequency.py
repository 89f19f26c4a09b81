"""How rare each label is, counted while training: SuperClass's inverse document frequencies (NeurIPS 2024)."""

import torch
from torch import distributed, nn


class LabelFrequency(nn.Module):
    """In how many of the pictures seen so far each label stands, over all ranks. Saved with the weights.

    Args:
        labels: V.
    """

    pictures: torch.Tensor
    with_label: torch.Tensor

    def __init__(self, labels: int):
        super().__init__()
        # Whole numbers: those of float32 stop counting at 2^24.
        self.register_buffer("pictures", torch.zeros((), dtype=torch.int64))
        self.register_buffer("with_label", torch.zeros(labels, dtype=torch.int64))

    @torch.no_grad()
    def count(self, label_ids: torch.Tensor, pictures: int) -> None:
        """Count this rank's pictures, with those of the other ranks: all must call it, at the same step.

        Args:
            label_ids: int64 [N], each once a picture.
            pictures: their number.
        """
        ids = label_ids.to(self.with_label.device)
        seen = torch.zeros(len(self.with_label) + 1, dtype=torch.int64, device=ids.device)
        seen[-1] = pictures
        seen.index_add_(0, ids, torch.ones_like(ids))
        if distributed.is_initialized():
            distributed.all_reduce(seen)
        self.with_label += seen[:-1]
        self.pictures += seen[-1]

    def inverse(self, label_ids: torch.Tensor) -> torch.Tensor:
        """log((1 + |D|) / (1 + df)) of labels int64 [N], float32 [N], at least 0.

        The paper leaves out the first 1; with it, as in the authors' code, no label has a negative weight.
        """
        return ((1 + self.pictures.float()) / (1 + self.with_label[label_ids].float())).log()

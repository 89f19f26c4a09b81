"""The batch sizes that a configuration asks for."""

from collections.abc import Callable

from catclip.config import PretrainConfig
from catclip.data.batch_sizes import BatchSizes, multi_scale_sides
from catclip.models.backbone import build_backbone


def plan_batch_sizes(config: PretrainConfig, ranks: int) -> Callable[[int], BatchSizes] | None:
    """From a run's length in steps to its batch sizes; None where all batches have `run.batch` pictures of one size.

    Raises:
        UserError: the backbone takes no pictures of these sides.
    """
    data, backbone, run = config.data, config.backbone, config.run
    if data.sizes is None:
        return None
    # Its weights are not used: how large its patches are, and whether it takes other sides, the model itself knows.
    built = build_backbone(backbone.name, backbone.image_size, backbone.options, seed=0)
    sides = multi_scale_sides(data, built.patch if built.any_side else None)
    rising = data.size_schedule == "rising"

    def sizes(steps: int) -> BatchSizes:
        return BatchSizes(sides, backbone.image_size, run.batch, ranks=ranks, rising=rising, seed=run.seed, steps=steps)

    return sizes

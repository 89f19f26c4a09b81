"""Others' training steps and labellers, beside ours in the same run: the packages themselves."""

import copy
from collections.abc import Callable, Mapping
from itertools import cycle, islice
from typing import Any, NamedTuple

from catclip.compare.captions_speed import PublishedRule, Side, labelling_figures
from catclip.compare.full_step import Setting, open_clip_step, timm_step
from catclip.compare.ratios import median_figures, ratio_figures
from catclip.config import OptimConfig
from catclip.data.loader import Batch
from catclip.data.pairs import Pairs
from catclip.errors import UserError
from catclip.objectives.base import Objective
from catclip.objectives.categorical import Categorical
from catclip.objectives.contrastive import Contrastive

PEERS = {"timm": "timm, dense targets", "open_clip": "open_clip's CLIP, no EMA"}
_CAPTIONS = 10_000  # read
_REPEATED = 200_000  # to as many for the default, whose calls have a cost of their own
_SLOW_CAPTIONS = 200  # in a round of the published rule


class Peer(NamedTuple):
    """Another's training step.

    Attributes:
        beside: the name of our objective that does the same.
        step: takes it.
    """

    beside: str
    step: Callable[[], object]


def peer_steps(
    objectives: Mapping[str, Objective], batches: Mapping[str, Batch], setting: Setting, optim: OptimConfig
) -> dict[str, Peer]:
    """The steps of `PEERS` that have a counterpart among the objectives, on copies of their weights and their batches.

    Args:
        objectives: by name, before they are compiled.
        batches: of each, from the loader.
        setting: its precision is bf16 or fp32.
        optim: ours; where it clips gradients so do they, where it averages weights timm does, and open_clip never.
    """
    peers: dict[str, Peer] = {}
    for name, objective in objectives.items():
        batch = batches[name]
        if isinstance(objective, Categorical) and objective.loss_name == "bce" and "label_weights" not in batch:
            peers.setdefault("timm", Peer(name, timm_step(copy.deepcopy(objective), batch, setting, optim)))
        # What CoCa's text towers add to a text, its CLIP does not.
        if (
            isinstance(objective, Contrastive)
            and objective.bias is None
            and not objective.text_settings.get("embed_cls")
        ):
            step = open_clip_step(copy.deepcopy(objective), batch, setting, optim.clip)
            peers.setdefault("open_clip", Peer(name, step))
    return peers


def labeller_figures(pairs: Pairs, rounds: int) -> dict[str, Any]:
    """Captions a second and core of the default rule and of the published one as its code does it, and their ratio.

    Returns:
        `labeller.<rule>.captions_per_second`, `labeller.ratio.default_to_published`; or `labeller.note`, why not.
    """
    read = [each[0] for each in islice(pairs.captions(), _CAPTIONS)]
    captions = list(islice(cycle(read), _REPEATED))
    try:
        sides: dict[str, Side] = {"published": PublishedRule().extract_many}
    except UserError as error:
        return {"labeller.note": str(error)}
    found = [labelling_figures(captions, sides, 1, _SLOW_CAPTIONS) for _ in range(rounds)]
    rates = {rule: [each[f"{rule}.captions_per_second"] for each in found] for rule in ("default", "published")}
    figures: dict[str, Any] = ratio_figures("labeller.ratio.default_to_published", rates["default"], rates["published"])
    for rule, values in rates.items():
        figures |= median_figures(f"labeller.{rule}.captions_per_second", values)
    return figures

"""`catclip retrieve`: captions → pictures and back on held-out shards."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from catclip.captions.sources import describe
from catclip.config import RetrieveConfig
from catclip.data.loader import HeldOutBatches, Loader
from catclip.data.pairs import Pairs
from catclip.errors import UserError
from catclip.evaluate.ranking import CaptionTexts, retrieve_by_labels, retrieve_by_text
from catclip.train.folder import load_objective
from catclip.verbs.classifying import choose_way
from catclip.verbs.limits import check_at_least, check_file
from catclip.verbs.measured import check_replaces, write_measured
from catclip.verbs.training import pick_device


def run(config: RetrieveConfig) -> None:
    """Measure recall, write `retrieve.json`, and say it."""
    console, device = Console(highlight=False), pick_device(config.device, "device")
    check_at_least({"batch": (config.batch, 1), "data.workers": (config.data.workers, 0)})
    check_file(config.out)
    if config.data.val is None:
        raise UserError("Give the shards to search as data.val=…")
    objective = load_objective(Path(config.model), config.weights, device)
    by = choose_way(objective, config.by)
    # Stored labels are of no use: captions are searched with, and may be any text.
    pairs = Pairs(config.data.val, replace(config.data, labels=None))
    settings = {"model": config.model, "data.val": describe(config.data.val), "data.captions": config.data.captions}
    settings |= {"data.caption_key": pairs.caption_key, "weights": config.weights, "by": by}
    out = Path(config.out or Path(config.model) / "retrieve.json")
    check_replaces(out, settings)
    batches = HeldOutBatches(pairs, [CaptionTexts()], objective.backbone.image_size, config.batch)
    loader = Loader(batches, 0, len(batches), workers=config.data.workers, max_bad=config.data.max_bad)
    with console.status("embedding"):
        found = dict((retrieve_by_text if by == "text" else retrieve_by_labels)(objective, loader))
    results: dict[str, Any] = settings | found
    write_measured(out, results)
    if loader.bad:
        console.print(loader.report(), markup=False)
    console.print(f"By {by}, {_describe(results)} {out}", markup=False)


def _describe(results: dict[str, Any]) -> str:
    ways = {"text_to_image": "caption → picture", "image_to_text": "picture → caption"}
    recalls = [
        f"{words}: recall@1 {results[f'{way}_recall_at_1']:.3f}, @10 {results[f'{way}_recall_at_10']:.3f}"
        for way, words in ways.items()
        if f"{way}_recall_at_1" in results
    ]
    text = f"{results['images']:,} pictures, {results['captions']:,} captions; {'; '.join(recalls)}."
    if results.get("captions_without_labels"):
        text += f" {results['captions_without_labels']:,} captions have no label, and find nothing."
    return text

"""`catclip demo`: the whole road on drawn pictures, in a few minutes: data, vocabulary, comparison, probe."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from catclip.captions import SynsetExtractor, Vocabulary
from catclip.captions.counting.counter import count_files, make_vocabulary
from catclip.config import DemoConfig, GlyphsConfig
from catclip.data.glyphs import GlyphSettings, is_made, make_glyphs
from catclip.data.images import held_out_picture
from catclip.data.pairs import Pairs
from catclip.errors import UserError
from catclip.objectives.categorical import Categorical
from catclip.train.folder import load_objective
from catclip.transfer.probe import probe
from catclip.verbs.compare import compare, show
from catclip.verbs.training import pick_device


def run(config: DemoConfig) -> None:
    """Draw, count, train, probe; narrated."""
    assert config.run.out is not None
    start, console, out = time.perf_counter(), Console(highlight=False), Path(config.run.out)
    _step(console, 1, "Drawing pictures, and writing a caption for each.")
    _draw(config.glyphs, console)
    _step(console, 2, f"Captions become labels: their nouns' WordNet synsets, if seen {config.tau} times.")
    vocabulary = _build_vocabulary(config, console)
    _step(console, 3, "One backbone, two objectives: name the synsets, or match the captions.")
    results = compare(config, console)
    if "categorical" in config.objectives:
        _step(console, 4, "What the categorical model sees in pictures it never saw:")
        _predict(config, out / "categorical", vocabulary, console)
    _step(console, 5, "A linear probe of the frozen backbones, read back from their checkpoints:")
    _probe(config, out, results, console)
    _step(console, 6, f"Side by side, {time.perf_counter() - start:.0f} s after the start:")
    show(results, out, console)
    console.print("Next, your own shards: `catclip vocab`, then `catclip pretrain`; see README.md.")


def _step(console: Console, number: int, text: str) -> None:
    console.print(f"\n[bold cyan]{number}[/]  {text}")


def _draw(glyphs: GlyphsConfig, console: Console) -> None:
    settings = GlyphSettings(glyphs.train, glyphs.val, glyphs.size, glyphs.seed, glyphs.shard_size)
    if is_made(Path(glyphs.out), settings):
        console.print(f"   {glyphs.out} is there already.")
        return
    start = time.perf_counter()
    with console.status("drawing"):
        make_glyphs(Path(glyphs.out), workers=glyphs.workers, **asdict(settings))
    seconds = time.perf_counter() - start
    console.print(f"   {glyphs.train:,} to learn from and {glyphs.val:,} held out, in {seconds:.0f} s: {glyphs.out}")


def _build_vocabulary(config: DemoConfig, console: Console) -> Vocabulary:
    extractor = SynsetExtractor()
    data = config.data
    assert data.vocabulary is not None
    corpus = count_files(data.sources, extractor, caption_key=data.caption_key, captions=data.captions)
    sources = str(data.sources)
    vocabulary = make_vocabulary(corpus, extractor, config.tau, sources, data.caption_key, data.captions)
    _check_may_be_written(Path(data.vocabulary), vocabulary, Path(config.glyphs.out))
    vocabulary.save(data.vocabulary)
    caption = next(captions[0] for captions in Pairs(data.sources, data).captions() if extractor(captions[0]))
    names = ", ".join(vocabulary.names[label] for label in vocabulary.labels(caption))
    console.print(f'   "{caption}" → {names}', markup=False)
    console.print(
        f"   {corpus.captions:,} captions gave {len(vocabulary)} labels, the most frequent "
        f"{vocabulary.names[0]} ({vocabulary.counts[0]:,}×)"
    )
    return vocabulary


def _check_may_be_written(path: Path, vocabulary: Vocabulary, own: Path) -> None:
    """Refuse to overwrite another vocabulary; in the demo's own folder it is the demo's."""
    if path.exists() and path.parent != own and Vocabulary.load(path).digest != vocabulary.digest:
        raise UserError(f"data.vocabulary={path} holds other labels, and would be overwritten: give another file.")


def _predict(config: DemoConfig, folder: Path, vocabulary: Vocabulary, console: Console, pictures: int = 4) -> None:
    objective = load_objective(folder)
    assert isinstance(objective, Categorical)
    pairs = Pairs(config.data.val, config.data)
    for row in range(pictures):
        data, captions = pairs.read(0, row)
        image = held_out_picture(data, config.backbone.image_size)
        with torch.no_grad():
            shares = objective.predict(image[None]).sigmoid()[0]
        top = ", ".join(f"{vocabulary.names[i].split('.')[0]} {shares[i]:.2f}" for i in shares.topk(3).indices.tolist())
        line = f'   "{captions[0]}" → {top}'
        console.print(line if len(line) <= console.width else line.replace(" → ", "\n      → "), markup=False)


def _probe(config: DemoConfig, out: Path, results: dict[str, Any], console: Console) -> None:
    device = pick_device(config.run.device)
    assert config.data.probe is not None
    for name in config.objectives:
        result = probe(load_objective(out / name, device=device), config.data.probe, device, config.data.workers)
        before = results[f"{name}.curve_probe_accuracy"][0]
        console.print(f"   {name:<12} {result.accuracy:.3f} over {result.classes} classes (untrained {before:.3f})")

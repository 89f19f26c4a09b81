"""How fast captions are labelled and counted: every rule and tagger beside the published rule as its code does it.

All sides take turns on the same captions, so that what else the machine does hits them alike; a figure is the median of
its rounds.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from catclip.captions.clean import published_clean
from catclip.captions.counting.counter import count_files
from catclip.captions.extract import SynsetExtractor
from catclip.compare.memory import PeakMemory
from catclip.errors import UserError

# What must be reached.
TARGETS = {
    "default.captions_per_second": 300_000,
    "ratio.default_to_published": 150,
    "ratio.reference_to_published": 20,
    "count_parquet.captions_per_second": 1_000_000,
    "count_text.captions_per_second": 1_000_000,
}
SLOW_SIDES = ("published", "nltk", "spacy")
_FILE_SIZE = 1_000_000  # captions

Side = Callable[[list[str]], list[list[str]]]


# ---- labelling ------------------------------------------------------------------------------------------------------


class PublishedRule:
    """CatLIP's published rule in the straightforward form of its public code: NLTK tokenises, tags and lemmatises.

    Raises:
        UserError: NLTK's data is not installed.
    """

    def __init__(self) -> None:
        from nltk import pos_tag
        from nltk.corpus import wordnet
        from nltk.stem import WordNetLemmatizer
        from nltk.tokenize import word_tokenize

        try:
            wordnet.ensure_loaded()
            pos_tag(word_tokenize("a dog"))
        except LookupError:
            raise UserError(
                "The published rule needs NLTK's data: "
                "python -m nltk.downloader wordnet punkt_tab averaged_perceptron_tagger_eng (or set NLTK_DATA)."
            ) from None
        self._wordnet, self._tokenize, self._tag = wordnet, word_tokenize, pos_tag
        self._lemmatizer: WordNetLemmatizer = WordNetLemmatizer()

    def __call__(self, caption: str) -> list[str]:
        """Return a caption's labels as WNIDs."""
        from nltk.corpus.reader.wordnet import WordNetError

        labels = []
        for token, _ in self._tag(self._tokenize(published_clean(caption))):
            name = f"{self._lemmatizer.lemmatize(token, pos='n')}.n.01"
            try:
                synset = self._wordnet.synset(name)
            except (WordNetError, ValueError):
                continue
            if synset.name() == name:
                labels.append(f"n{synset.offset():08d}")
        return labels

    def extract_many(self, captions: Sequence[str]) -> list[list[str]]:
        """Return for each caption what calling the rule gives."""
        return [self(caption) for caption in captions]


def make_sides(pipeline: str) -> tuple[dict[str, Side], list[str]]:
    """Return what is measured by name, each a function of captions, and why others are not there."""
    makers: dict[str, Callable[[], PublishedRule | SynsetExtractor]] = {
        "published": PublishedRule,
        "reference": lambda: SynsetExtractor(rule="reference"),
        "default_lists": SynsetExtractor,
        "none": lambda: SynsetExtractor(tagger="none"),
        "nltk": lambda: SynsetExtractor(tagger="nltk"),
        "spacy": lambda: SynsetExtractor(tagger=f"spacy:{pipeline}"),
    }
    sides: dict[str, Side] = {}
    missing = []
    for name, make in makers.items():
        try:
            sides[name] = make().extract_many
        except UserError as error:
            missing.append(f"Without {name}: {error}")
    return sides, missing


def labelling_figures(captions: list[str], sides: dict[str, Side], rounds: int, slow: int) -> dict[str, float]:
    """Return captions a second and core for each side, by the median round, and the spread of its rounds.

    Args:
        captions: what is labelled in each round.
        sides: see `make_sides`. `default` is added to them: the default rule on an Arrow column, as loaders and
            counting use it; `default_lists` gives Python lists of WNIDs.
        rounds: how often each side is measured; one more, before, is not: it learns the words.
        slow: how many captions the SLOW_SIDES get.
    """
    column, extractor = pa.array(captions, pa.large_string()), SynsetExtractor()
    start = time.perf_counter()
    extractor.label_column(column)
    first = time.perf_counter() - start
    rates: dict[str, list[float]] = {name: [] for name in ("default", *sides)}
    for turn in range(rounds + 1):
        gc.freeze()  # or a side that makes many lists would pay for what all the others hold
        for name in rates:
            some = captions[:slow] if name in SLOW_SIDES else captions
            start = time.perf_counter()
            if name == "default":
                extractor.label_column(column)
            else:
                sides[name](some)
            if turn:
                rates[name].append(len(some) / (time.perf_counter() - start))
    gc.unfreeze()
    results = {"default.first_seconds": first}
    for name, values in rates.items():
        results[f"{name}.captions_per_second"] = statistics.median(values)
        results[f"{name}.spread"] = (max(values) - min(values)) / statistics.median(values)
    return results


def ratios(results: dict[str, float]) -> dict[str, float]:
    """Return each side's rate as a multiple of the published rule's, where that was measured."""
    published = results.get("published.captions_per_second")
    rates = {key.removesuffix(".captions_per_second"): value for key, value in results.items() if "per_second" in key}
    return {f"ratio.{side}_to_published": rate / published for side, rate in rates.items()} if published else {}


# ---- counting -------------------------------------------------------------------------------------------------------


def counting_figures(captions: list[str], total: int, folder: Path, workers: int) -> dict[str, float]:
    """Return captions a second over all cores, and the peak memory, of counting files of captions.

    Args:
        captions: repeated to `total`.
        folder: where the files are written; a million captions, under as many names as it takes.
        workers: processes.
    """
    results: dict[str, float] = {"count.captions": total, "count.workers": workers}
    for name, file in _write_files(captions, folder).items():
        files = list(_links(file, max(1, total // _FILE_SIZE)))
        # In a process of its own, for its memory to be that of counting alone.
        with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
            rate, peak = fresh.submit(_count, files, workers).result()
        results[f"count_{name}.captions_per_second"] = rate
        if peak is not None:
            results[f"count_{name}.peak_memory_bytes"] = peak
    return results


def _count(files: list[str], workers: int) -> tuple[float, int | None]:
    """Return captions a second and the peak memory in bytes."""
    with PeakMemory() as memory:
        start = time.perf_counter()
        corpus = count_files(files, SynsetExtractor(), workers=workers)
        seconds = time.perf_counter() - start
    return corpus.captions / seconds, memory.peak


def _write_files(captions: list[str], folder: Path) -> dict[str, Path]:
    text, table = folder / "captions.txt", folder / "captions.parquet"
    schema = pa.schema([("caption", pa.string())])
    with text.open("w", encoding="utf-8") as lines, pq.ParquetWriter(table, schema) as rows:
        for first in range(0, _FILE_SIZE, len(captions)):
            some = captions[: _FILE_SIZE - first]
            lines.writelines(f"{caption}\n" for caption in some)
            rows.write_table(pa.table({"caption": some}))
    return {"text": text, "parquet": table}


def _links(file: Path, number: int) -> Iterator[str]:
    for i in range(number):
        link = file.with_name(f"{file.stem}-{i:05d}{file.suffix}")
        link.hardlink_to(file)
        yield str(link)

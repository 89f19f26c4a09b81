"""How often each synset occurs in a corpus, and the vocabulary that comes of it."""

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

from catclip.captions.counting.cluster import connect, count_on_ray
from catclip.captions.counting.corpus import CorpusCounts
from catclip.captions.counting.examples import caption_keys
from catclip.captions.counting.journal import Journal
from catclip.captions.counting.parts import PART_SIZE, SLOW_PART_SIZE, Counting, Part, PartProgress, divide, part_size
from catclip.captions.counting.processes import run_in_processes
from catclip.captions.extract import SynsetExtractor
from catclip.captions.lexicon import lexicon_version
from catclip.captions.sources.patterns import weighted_files
from catclip.captions.sources.texts import from_python, present
from catclip.captions.vocabulary import Vocabulary
from catclip.errors import UserError, check_choice

TAUS = (5, 10, 20, 50, 100, 500)
CAPTION_MODES = ("first", "sample", "all")
RAY = "ray"
_BATCH = 8192  # captions

# (captions, bytes of the files) counted since the last call, and the bytes of all files, None where that is unknown.
Progress = Callable[[int, int, int | None], None]


def count(captions: Iterable[str], extractor: SynsetExtractor) -> CorpusCounts:
    """Count the synsets of captions, holding one batch of them at a time."""
    corpus = CorpusCounts(extractor.synsets)
    captions = iter(captions)
    while batch := list(islice(captions, _BATCH)):
        column, skipped, samples, _ = present(from_python(batch), "empty caption")
        corpus.samples += samples
        corpus.skipped.update(skipped)
        corpus.add(column, extractor.label_column(column), keys=caption_keys(0, corpus.captions, len(column)))
    return corpus


def count_files(
    sources: Any,
    extractor: SynsetExtractor,
    *,
    caption_key: str | None = None,
    captions: str = "first",
    workers: int | str | None = 1,
    progress: Progress | None = None,
    journal: Journal | None = None,
) -> CorpusCounts:
    """Count the synsets of all captions in some files. The result does not depend on `workers`.

    Args:
        sources: patterns and weights, as `catclip.captions.sources.weighted_files` takes them.
        extractor: gives a caption's labels.
        caption_key: column or key of the captions; None finds the usual ones.
        captions: of a sample's list of captions count the ``first`` only, or each (``all``; ``sample``, which trains on
            each in turn, counts each too).
        workers: processes, each of which counts parts of files; None for one a core; ``ray`` for a Ray cluster.
        progress: is told of captions and bytes as they are counted.
        journal: keeps what is counted; what it has kept before is not counted again.

    Raises:
        UserError: no file matches, or one cannot be read as captions; `workers` is none of the above; another process
            uses the journal.
    """
    check_choice("data.captions", captions, CAPTION_MODES)
    processes = _processes(workers)
    parts, unit = divide(weighted_files(sources), _part_size(extractor))
    counting = Counting(extractor, caption_key, captions == "first", unit)
    corpus = CorpusCounts(extractor.synsets, unit)
    fingerprints = counting.fingerprints(parts)
    done = journal.restore(fingerprints, corpus) if journal else set()
    left = [(part, key) for part, key in zip(parts, fingerprints, strict=True) if key not in done]

    sizes = [part_size(part) for part in parts]
    total = None if None in sizes else sum(size or 0 for size in sizes)

    def report(captions: int, size: int) -> None:
        if progress:
            progress(captions, size, total)

    report(0, sum(size or 0 for size, key in zip(sizes, fingerprints, strict=True) if key in done))
    with closing(_count_parts(counting, [part for part, _ in left], processes, report)) as counted:
        for place, part_counts in counted:
            corpus.merge(part_counts)
            if journal:
                journal.add(left[place][1], part_counts, corpus)
    return corpus


def _processes(workers: int | str | None) -> int | None:
    """Return how many processes count here; None where a Ray cluster does."""
    if workers == RAY:
        connect()  # or say what is missing
        return None
    if workers is None:
        return available_processes()
    if not isinstance(workers, int) or workers < 1:
        raise UserError(f"workers={workers}: give a number of processes, null for one a core, or {RAY}.")
    return workers


def available_processes() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _part_size(extractor: SynsetExtractor) -> int:
    is_model = extractor.rule == "default" and extractor.tagger.partition(":")[0] in ("nltk", "spacy")
    return SLOW_PART_SIZE if is_model else PART_SIZE


def _count_parts(
    counting: Counting, parts: Sequence[Part], processes: int | None, report: PartProgress
) -> Generator[tuple[int, CorpusCounts], None, None]:
    """Yield (place in `parts`, its counts), in the order in which they are done."""
    if processes is None:
        yield from count_on_ray(counting, parts, report)
    elif processes > 1 and len(parts) > 1:
        for place, arrays in run_in_processes(counting.count_to_arrays, parts, processes, report):
            yield place, CorpusCounts.from_arrays(arrays, counting.extractor.synsets)
    else:
        for place, part in enumerate(parts):
            yield place, counting.count(part, report)


def make_vocabulary(
    corpus: CorpusCounts,
    extractor: SynsetExtractor,
    tau: int,
    created_from: str,
    caption_key: str | None = None,
    captions: str | None = None,
) -> Vocabulary:
    """Return the synsets of a corpus that occur at least `tau` times, with how they were made: see `whole_vocabulary`.

    Raises:
        UserError: there are none; the message says which tau would leave some.
    """
    return whole_vocabulary(corpus, extractor, created_from, caption_key, captions).prune(tau)


def whole_vocabulary(
    corpus: CorpusCounts,
    extractor: SynsetExtractor,
    created_from: str,
    caption_key: str | None = None,
    captions: str | None = None,
) -> Vocabulary:
    """Return all synsets of a corpus, with how they were made.

    Args:
        corpus: the counts.
        extractor: gave the captions' labels.
        created_from: the corpus in a line.
        caption_key: as `count_files` was given it; not written where the usual ones were to be found.
        captions: as `count_files` was given it; not written where there were no samples.

    Raises:
        UserError: there are none.
    """
    if not corpus.counts:
        raise UserError(f"None of the {corpus.captions:,} captions gave a label; is data.caption_key right?")
    metadata = {
        "tau": "1",
        "captions": str(corpus.captions),
        "rule": extractor.rule,
        "tagger": extractor.tagger,
        "sense": extractor.sense,
        "lexicon": lexicon_version(),
        "data.caption_key": caption_key,
        "data.captions": captions,
        "created_from": created_from,
    }
    return Vocabulary.from_counts(corpus.counts, {key: said for key, said in metadata.items() if said is not None})

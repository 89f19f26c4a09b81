"""How often each synset occurs in a corpus, and the vocabulary that comes of it. One process or one per file."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field

from catclip.captions.extract import SynsetExtractor
from catclip.captions.lexicon import lexicon_version
from catclip.captions.sources import Skipped, expand, read_captions
from catclip.captions.vocabulary import Vocabulary
from catclip.errors import UserError, check_choice

TAUS = (5, 10, 20, 50, 100, 500)
CAPTION_MODES = ("first", "sample", "all")
_REPORT_EVERY = 10_000  # captions

Progress = Callable[[int, int], None]  # (captions, files) counted since the last call


@dataclass
class CorpusCounts:
    """What counting a corpus gives. Adding two gives the counts of both corpora.

    Attributes:
        tau: `coverage` is known up to this threshold.
        counts: synset → occurrences, repeats within a caption included.
        captions: captions read.
        labelled: captions with at least one label.
        skipped: reason → samples that gave no caption.
        rare: label set → captions, for captions all of whose labels were rarer than `tau` when they were counted. The
            others are covered at every threshold, since counts only grow, so that most captions need not be kept.
    """

    tau: int = max(TAUS)
    counts: Counter[str] = field(default_factory=Counter)
    captions: int = 0
    labelled: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    rare: Counter[frozenset[str]] = field(default_factory=Counter)

    def add(self, labels: list[str]) -> None:
        """Count one caption's labels."""
        self.captions += 1
        if not labels:
            return
        self.labelled += 1
        counts = self.counts
        for label in labels:
            counts[label] += 1
        if all(counts[label] < self.tau for label in labels):
            self.rare[frozenset(labels)] += 1

    def merge(self, other: "CorpusCounts") -> None:
        """Add the counts of another corpus to these."""
        assert self.tau == other.tau
        self.counts.update(other.counts)
        self.captions += other.captions
        self.labelled += other.labelled
        self.skipped.update(other.skipped)
        self.rare.update(other.rare)

    def size(self, tau: int) -> int:
        """Return how many synsets occur at least `tau` times."""
        return sum(count >= tau for count in self.counts.values())

    def coverage(self, tau: int) -> float:
        """Return the share of captions with a label that occurs at least `tau` times in the corpus."""
        assert tau <= self.tau, f"counted for thresholds up to {self.tau}"
        lost = sum(n for labels, n in self.rare.items() if all(self.counts[label] < tau for label in labels))
        return (self.labelled - lost) / self.captions if self.captions else 0.0


def count(
    captions: Iterable[str | Skipped],
    extractor: SynsetExtractor,
    tau: int = max(TAUS),
    progress: Progress | None = None,
) -> CorpusCounts:
    """Count the synsets of captions, holding one batch of them at a time."""
    corpus = CorpusCounts(tau)

    def present() -> Iterator[str]:
        for caption in captions:
            if isinstance(caption, Skipped):
                corpus.skipped[caption.reason] += 1
            else:
                yield caption

    for labels in extractor.stream(present()):
        corpus.add(labels)
        if progress and corpus.captions % _REPORT_EVERY == 0:
            progress(_REPORT_EVERY, 0)
    if progress:
        progress(corpus.captions % _REPORT_EVERY, 0)
    return corpus


def count_files(
    sources: str | Iterable[str],
    extractor: SynsetExtractor,
    *,
    caption_key: str | None = None,
    captions: str = "first",
    tau: int = max(TAUS),
    workers: int = 1,
    progress: Progress | None = None,
) -> CorpusCounts:
    """Count the synsets of all captions in some files. The result does not depend on `workers`.

    Args:
        sources: patterns as `catclip.captions.sources.expand` takes them.
        extractor: gives a caption's labels.
        caption_key: column or key of the captions; None finds the usual ones.
        captions: of a sample's list of captions count the ``first`` only, or each (``all``; ``sample``, which trains on
            each in turn, counts each too).
        tau: make `coverage` known up to this threshold.
        workers: processes; each counts whole files.
        progress: is told of captions and files as they are counted.

    Raises:
        UserError: no file matches, or one cannot be read as captions.
    """
    check_choice("data.captions", captions, CAPTION_MODES)
    files = expand(sources)
    work = _CountFile(extractor, caption_key, captions == "first", tau)
    corpus = CorpusCounts(tau)
    if workers < 2 or len(files) == 1:
        for file in files:
            corpus.merge(work(file, progress))
            if progress:
                progress(0, 1)
        return corpus
    with ProcessPoolExecutor(min(workers, len(files)), initializer=_set_work, initargs=(work,)) as pool:
        try:
            for done in as_completed([pool.submit(_do_work, file) for file in files]):
                part = done.result()
                corpus.merge(part)
                if progress:
                    progress(part.captions, 1)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return corpus


@dataclass(frozen=True)
class _CountFile:
    extractor: SynsetExtractor
    caption_key: str | None
    first_only: bool
    tau: int

    def __call__(self, file: str, progress: Progress | None = None) -> CorpusCounts:
        return count(read_captions(file, self.caption_key, self.first_only), self.extractor, self.tau, progress)


_work: _CountFile | None = None  # a worker process's own, so that its extractor's memory lasts from file to file


def _set_work(work: _CountFile) -> None:
    global _work
    _work = work


def _do_work(file: str) -> CorpusCounts:
    assert _work is not None
    return _work(file)


def make_vocabulary(corpus: CorpusCounts, extractor: SynsetExtractor, tau: int, created_from: str) -> Vocabulary:
    """Return the synsets of a corpus that occur at least `tau` times, with how they were made.

    Raises:
        UserError: there are none; the message says which tau would leave some.
    """
    if not corpus.counts:
        raise UserError(f"None of the {corpus.captions:,} captions gave a label; is data.caption_key right?")
    most = max(corpus.counts.values())
    if most < tau:
        raise UserError(
            f"tau={tau} leaves no labels: the most frequent one occurs {most:,} times in {corpus.captions:,} captions. "
            f"The largest tau that leaves any is {most}."
        )
    metadata = {
        "tau": str(tau),
        "captions": str(corpus.captions),
        "rule": extractor.rule,
        "tagger": extractor.tagger,
        "sense": extractor.sense,
        "lexicon": lexicon_version(),
        "created_from": created_from,
    }
    return Vocabulary.from_counts({wnid: n for wnid, n in corpus.counts.items() if n >= tau}, metadata)

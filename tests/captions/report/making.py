"""Corpora small enough to count by hand, and large ones made of numbers."""

import random

import numpy as np

from catclip.captions import SynsetExtractor, Vocabulary
from catclip.captions.counting.corpus import CorpusCounts
from catclip.captions.counting.counter import count, whole_vocabulary
from catclip.captions.lexicon import load_lexicon

WORDS = ["dog", "corgi", "dalmatian", "cat", "sofa", "table", "ant", "bee", "chess", "person", "group", "Iowa"]


def corpus_of(captions: list[str]) -> tuple[CorpusCounts, Vocabulary]:
    """Captions counted, and the vocabulary of all their synsets."""
    extractor = SynsetExtractor()
    corpus = count(captions, extractor)
    return corpus, whole_vocabulary(corpus, extractor, "captions.txt")


def captions(number: int, seed: int = 0) -> list[str]:
    """Captions of a few words, the first ones of WORDS the most frequent; some without."""
    draw = random.Random(seed)
    weights = [1 / rank**1.5 for rank in range(1, len(WORDS) + 1)]
    return [
        " and ".join(f"a {word}" for word in draw.choices(WORDS, weights, k=draw.randrange(4))) or "up"
        for _ in range(number)
    ]


def large_corpus(labels: int, tail: int) -> tuple[CorpusCounts, Vocabulary]:
    """A corpus of which tau=10 leaves `labels`, and `tail` synsets more; without captions."""
    wnids = load_lexicon().wnids()
    corpus = CorpusCounts(wnids)
    ranks = np.random.default_rng(0).permutation(len(wnids))
    corpus.label_units = np.where(ranks < labels, 10 + 10_000_000 // (ranks + 1), np.where(ranks < labels + tail, 9, 0))
    corpus.length_units[1] = 1_000_000
    metadata = {"tau": "1", "captions": "1000000", "rule": "default", "tagger": "lexicon", "sense": "visual"}
    return corpus, Vocabulary.from_counts(corpus.counts, metadata | {"created_from": "x", "lexicon": "y"})

"""`SynsetExtractor`: caption → WordNet synsets, by the default rule or by the one that CatLIP published."""

import math
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from catclip.captions.clean import clean, published_clean, published_tokenize, tokenize
from catclip.captions.lexicon import Lexicon, load_lexicon, read_table
from catclip.captions.taggers import FUNCTION_WORDS, AnyWordTagger, LexiconTagger, NltkTagger, SpacyTagger, Tagger
from catclip.errors import UserError, check_choice
from catclip.paths import VOCAB

RULES = ("default", "reference")
TAGGERS = ("lexicon", "nltk", "spacy", "none")
SENSES = ("first", "visual")

SENSES_FILE = VOCAB / "senses.tsv"

# How well a sense of each of WordNet's categories can be seen; the others count 0.
VISIBILITY = {
    "animal": 3.0,
    "artifact": 3.0,
    "food": 2.6,
    "body": 2.6,
    "object": 2.6,
    "person": 2.2,
    "plant": 2.0,
    "substance": 1.8,
    "group": 1.6,
    "phenomenon": 1.6,
    "tops": 1.5,
    "location": 1.2,
    "event": 1.2,
    "act": 1.0,
    "shape": 1.0,
    "time": 0.5,
    "communication": 0.5,
    "attribute": 0.3,
    "state": 0.2,
}
AGENT = 0.8  # a word made of a verb and -er or -or (driver, dancer) rather means the person
INDIVIDUAL = -2.0  # Crane the poet, Jersey the island
HEAD = 0.4  # the word that names the synset, not a synonym
FREQUENCY = 0.5  # times the log of the sense's share in WordNet's counts
PLACE = -0.1  # a step down in WordNet's order


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The two-letter words that captions use; the others are chemical symbols, states and function words.
_SHORT_NOUNS = _words("tv pc cd dj ox ad")
_NO_NOUNS = _words(
    "km cm mm kg mg ml lb lbs oz ft mph px hz mb gb usd eur gbp jpg jpeg png gif pdf html http https www com"
)
# Before a noun these rather describe it than make a multiword noun with it.
_QUALIFIERS = _words(
    "black white red blue green yellow brown pink purple gray grey golden silver dark light bright "
    "big small little large tall long short young old"
)
_FUNCTION_WORDS = frozenset(word for words in FUNCTION_WORDS.values() for word in words.split())
_LONGEST = 64  # characters in a word; WordNet's longest has 45


class ColumnLabels(NamedTuple):
    """The labels of a column of B captions, ragged.

    Attributes:
        ids: int32 [N], places in `SynsetExtractor.synsets`, captions one after the other, in the order of their words,
            repeats kept.
        offsets: int64 [B+1]; caption b has ``ids[offsets[b] : offsets[b + 1]]``.
    """

    ids: np.ndarray
    offsets: np.ndarray


class SynsetExtractor:
    """Caption → synsets: ``SynsetExtractor()("Two couches") == ["n04256520"]``.

    ``rule="reference"`` gives exactly the labels of CatLIP's published rule (arXiv 2404.15653, public code), whatever
    `tagger` and `sense` say. The default rule repairs what that one loses: it labels nouns only, maps synonyms to their
    synset, matches multiword nouns and prefers the sense that can be seen.

    Args:
        rule: ``default`` or ``reference``.
        tagger: which words are nouns: ``lexicon`` (no model), ``nltk``, ``spacy`` or ``spacy:PIPELINE``, ``none`` (any
            word with a noun entry).
        sense: ``first`` (WordNet's order) or ``visual``.

    Raises:
        UserError: an unknown choice, or a tagger whose package or data is not installed.
    """

    def __init__(self, rule: str = "default", tagger: str = "lexicon", sense: str = "visual") -> None:
        check_choice("rule", rule, RULES)
        check_choice("captions.tagger", tagger.partition(":")[0], TAGGERS)
        check_choice("captions.sense", sense, SENSES)
        self.rule = rule
        self.tagger = tagger
        self.sense = sense
        self.lexicon = load_lexicon()
        self._tagger = _make_tagger(tagger, self.lexicon) if rule == "default" else None
        self._labels: dict[str, str | None] = {}
        self._published_labels: dict[str, str | None] = {}
        self._multiwords: dict[str, str | None] = {}

    def __reduce__(self) -> tuple[type["SynsetExtractor"], tuple[str, str, str]]:
        return SynsetExtractor, (self.rule, self.tagger, self.sense)

    def __call__(self, caption: str) -> list[str]:
        """Return the WNIDs of a caption's nouns in the order of the words, repeats kept."""
        return next(self.stream([caption]))

    def extract_many(self, captions: Iterable[str]) -> list[list[str]]:
        """Return for each caption what calling the extractor gives."""
        return list(self.stream(captions))

    def stream(self, captions: Iterable[str]) -> Iterator[list[str]]:
        """Yield for each caption what calling the extractor gives, holding no more than a batch of them."""
        if self._tagger is None:
            return (self._published(caption) for caption in captions)
        return self._default(captions, self._tagger)

    @cached_property
    def synsets(self) -> list[str]:
        """All WNIDs that a label can be, sorted: what the ids of `label_column` stand for, in any process."""
        return self.lexicon.wnids()

    def label_column(self, captions: pa.Array | pa.ChunkedArray) -> ColumnLabels:
        """Label an Arrow column of strings without making a Python object of each; a null has no labels."""
        labels = self.extract_many(caption or "" for caption in captions.to_pylist())
        ids = np.array([self._ids[wnid] for found in labels for wnid in found], np.int32)
        return ColumnLabels(ids, np.cumsum([0, *map(len, labels)], dtype=np.int64))

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {wnid: i for i, wnid in enumerate(self.synsets)}

    # ---- default rule -------------------------------------------------------------------------------------------

    def _default(self, captions: Iterable[str], tagger: Tagger) -> Iterator[list[str]]:
        waiting: deque[list[str]] = deque()

        def tokens_of() -> Iterator[list[str]]:
            for caption in captions:
                waiting.append(tokenize(clean(caption)))
                yield waiting[-1]

        for nouns in tagger.nouns(tokens_of()):
            yield self._labels_of(waiting.popleft(), nouns)

    def _labels_of(self, tokens: list[str], nouns: list[bool]) -> list[str]:
        words = _lower_but_names(tokens)
        found = []
        taken = 0  # words that a multiword noun has used up
        for i, word in enumerate(words):
            if i < taken:
                continue
            length, label = (
                self._multiword_at(words, nouns, i) if _first_part(word) in self._multiword_starts else (0, None)
            )
            if not length and nouns[i]:
                label = self._label(word)
            if label:
                found.append(label)
            taken = i + length
        return found

    def _label(self, word: str) -> str | None:
        try:
            return self._labels[word]
        except KeyError:
            return self._labels.setdefault(word, self._find_label(word))

    def _find_label(self, word: str) -> str | None:
        if len(word) > _LONGEST or word in _NO_NOUNS:
            return None
        if word != word.lower():  # a name: only senses that WordNet too spells with a capital
            return self._sense_of_name(word.lower())
        if len(word) < 2 or (len(word) == 2 and word not in _SHORT_NOUNS):
            return None
        if not word.isascii():
            word = unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode()
        lemma = self._lemma(word)
        return self._choose(word, lemma) if lemma else None

    def _lemma(self, word: str) -> str | None:
        """Return the noun that one word is: by itself, or a multiword written with hyphens or solid (firetruck)."""
        if "-" in word and (multiword := self._multiword_lemma(word.replace("-", "_"))):
            return multiword
        if lemma := self.lexicon.noun_lemma(word):
            return lemma
        return next((self._solid[base] for base in (word, word.removesuffix("s")) if base in self._solid), None)

    @cached_property
    def _solid(self) -> dict[str, str]:
        """Multiword nouns by their words run together; only two of at least three letters each, to be no other word."""
        pairs = ((joined.split("_"), lemma) for joined, lemma in self.lexicon.multiwords.items())
        return {"".join(words): lemma for words, lemma in pairs if len(words) == 2 and min(map(len, words)) > 2}

    def _choose(self, form: str, lemma: str) -> str | None:
        """Return the synset of a lemma by `sense`; None where the reviewed table says that it gives no label."""
        if self.sense == "first":
            return self.lexicon.synsets(lemma)[0]
        for word in (form, lemma):
            if word in self._overrides:
                return self._overrides[word]
        wnid = visual_sense(self.lexicon, lemma)
        return None if self._is_one_person(wnid) else wnid

    def _is_one_person(self, wnid: str) -> bool:
        return self.lexicon.is_instance(wnid) and self.lexicon.category(wnid) == "person"

    def _sense_of_name(self, word: str) -> str | None:
        lemma = self.lexicon.noun_lemma(word)
        for wnid in self.lexicon.synsets(lemma) if lemma else ():
            spellings = {spelling for spelling in self.lexicon.lemmas(wnid) if spelling.lower() == lemma}
            category = self.lexicon.category(wnid)
            seen = VISIBILITY.get(category, 0.0) >= 1.0 and category != "person"
            if seen and all(spelling != spelling.lower() for spelling in spellings):
                return wnid
        return None

    @cached_property
    def _overrides(self) -> dict[str, str | None]:
        rows = read_table(SENSES_FILE, ("word", "synset", "name", "reason"))
        return {word: None if synset == "-" else synset for word, synset, _, _ in rows}

    # ---- multiword nouns ----------------------------------------------------------------------------------------

    def _multiword_at(self, words: list[str], nouns: list[bool], start: int) -> tuple[int, str | None]:
        """Return the length in words and the label of the longest multiword noun that starts here, or (0, None)."""
        longest = self._multiword_starts[_first_part(words[start])]
        for stop in range(min(start + longest, len(words)), start + 1, -1):
            # Taggers take the last word for a verb where they do not know the noun: two question marks.
            if nouns[stop - 1] or (nouns[start] and words[stop - 1].endswith("s")):
                joined = "_".join(words[start:stop]).lower().replace("-", "_").replace("_'s", "'s")
                lemma = self._multiword_lemma(joined)
                if not lemma and stop == start + 2 and nouns[start] and nouns[start + 1]:
                    lemma = self._solid_pair(words[start], words[start + 1])
                label = self._choose(lemma, lemma) if lemma else None
                if label and (words[start] not in _QUALIFIERS or self._is_kind_of(label, words[stop - 1], lemma)):
                    return stop - start, label
        return 0, None

    def _is_kind_of(self, wnid: str, word: str, lemma: str | None) -> bool:
        """Whether a multiword's synset is below its last word's: a red fox is a fox, a red spider, a mite, is none."""
        whole = self._label(word)
        return lemma in self._overrides or whole is None or whole == wnid or whole in self.lexicon.ancestors(wnid)

    def _solid_pair(self, first: str, second: str) -> str | None:
        """Return the one-word noun that a caption writes as two: wine glass → wineglass."""
        return self.lexicon.noun_lemma(first + second) if min(len(first), len(second)) > 2 else None

    def _multiword_lemma(self, joined: str) -> str | None:
        """Return the multiword noun that words joined by ``_`` are, the last perhaps inflected: hot_dogs → hot_dog."""
        if joined not in self._multiwords:
            first, _, last = joined.rpartition("_")
            forms = [joined, *(f"{first}_{base}" for base in self.lexicon.noun_candidates(last))]
            self._multiwords[joined] = next(
                (self.lexicon.multiwords[f] for f in forms if f in self.lexicon.multiwords), None
            )
        return self._multiwords[joined]

    @cached_property
    def _multiword_starts(self) -> dict[str, int]:
        """First word → the number of words in the longest multiword that starts with it."""
        starts: dict[str, int] = {}
        for joined in self.lexicon.multiwords:
            tokens = joined.replace("'s", "_'s")  # the possessive is a token of its own
            first = tokens.partition("_")[0]
            starts[first] = max(starts.get(first, 0), tokens.count("_") + 1)
        return {word: length for word, length in starts.items() if word not in _FUNCTION_WORDS}

    # ---- published rule -----------------------------------------------------------------------------------------

    def _published(self, caption: str) -> list[str]:
        labels = (self._published_label(token) for token in published_tokenize(published_clean(caption)))
        return [label for label in labels if label]

    def _published_label(self, token: str) -> str | None:
        if token not in self._published_labels:
            self._published_labels[token] = self._find_published_label(token)
        return self._published_labels[token]

    def _find_published_label(self, token: str) -> str | None:
        """The first sense of the shortest lemma, but only where that lemma heads the synset."""
        lemma = min(self.lexicon.noun_candidates(token), key=len, default=token)
        wnid = next(iter(self.lexicon.synsets(lemma)), None)
        return wnid if wnid and self.lexicon.lemmas(wnid)[0].lower() == lemma else None


def _first_part(word: str) -> str:
    return word.lower().partition("-")[0]


def visual_sense(lexicon: Lexicon, lemma: str) -> str:
    """Return the sense of a noun lemma that a picture most likely shows: by category, count and WordNet's order."""
    senses = lexicon.senses(lemma)
    total = sum(count for _, count in senses)
    agent = lemma.endswith(("er", "or")) and any(lexicon.verb_candidates(lemma[:cut]) for cut in (-1, -2, -3))

    def visibility(place: int) -> float:
        wnid, count = senses[place]
        category = lexicon.category(wnid)
        score = (
            VISIBILITY.get(category, 0.0) + FREQUENCY * math.log((count + 1) / (total + len(senses))) + PLACE * place
        )
        score += AGENT if agent and category == "person" else 0.0
        score += INDIVIDUAL if lexicon.is_instance(wnid) else 0.0
        return score + (HEAD if lexicon.lemmas(wnid)[0].lower() == lemma else 0.0)

    return senses[max(range(len(senses)), key=visibility)][0]


def _make_tagger(tagger: str, lexicon: Lexicon) -> Tagger:
    name, _, pipeline = tagger.partition(":")
    if pipeline and name != "spacy":
        raise UserError(f"captions.tagger={tagger}: only spacy takes a name after the colon.")
    if name == "lexicon":
        return LexiconTagger(lexicon)
    if name == "nltk":
        return NltkTagger()
    if name == "spacy":
        return SpacyTagger(pipeline) if pipeline else SpacyTagger()
    return AnyWordTagger()


def _lower_but_names(tokens: list[str]) -> list[str]:
    """Lower-case the tokens, but keep runs of two or more capitalised words inside a sentence: they are names.

    A caption in which most words have a capital is a headline, in which capitals say nothing.
    """
    words = [token.lower() for token in tokens]
    capital = [token != word for token, word in zip(tokens, words, strict=True)]
    if sum(capital) < 2 or sum(capital) * 2 > sum(word[0].isalpha() for word in words):
        return words
    capital[0] = capital[0] and words[0] not in _FUNCTION_WORDS
    for i in range(1, len(tokens)):
        beside = capital[i - 1] or (i + 1 < len(tokens) and capital[i + 1])
        if capital[i] and beside and tokens[i].istitle() and tokens[i - 1] not in (".", "!", "?", ":", "|"):
            words[i] = tokens[i]
    return words

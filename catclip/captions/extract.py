"""`SynsetExtractor`: caption → WordNet synsets, by the default rule or by the one that CatLIP published."""

import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from catclip.captions.clean import SENTENCE_BREAKS, clean, published_clean, published_tokenize, tokenize
from catclip.captions.columns.given import text_batches
from catclip.captions.columns.labeller import ColumnLabeller, ColumnLabels
from catclip.captions.lexicon import Lexicon, load_lexicon
from catclip.captions.names import NO_NAME, Names, begins_name, is_introduced, is_office
from catclip.captions.senses import Reading, Senses
from catclip.captions.taggers import (
    FUNCTION_WORDS,
    REMEMBERED,
    AnyWordTagger,
    LexiconTagger,
    NltkTagger,
    SpacyTagger,
    Tagger,
)
from catclip.captions.units import UNIT, is_unit_at
from catclip.errors import UserError, check_choice

RULES = ("default", "reference")
TAGGERS = ("lexicon", "nltk", "spacy", "none")
SENSES = ("first", "visual")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The two-letter words that captions use; the others are chemical symbols, states and function words.
_SHORT_NOUNS = _words("tv pc cd dj ox ad")
_NUMBERS = _words(FUNCTION_WORDS["#"])
_NO_NOUNS = _NUMBERS | _words(
    "km cm mm kg mg ml lb lbs oz ounce ounces ft mph px hz mb gb usd eur gbp "
    "jpg jpeg png gif pdf html http https www com"
)
# Before a noun these rather describe it than make a multiword noun with it.
_QUALIFIERS = _words(
    "black white red blue green yellow brown pink purple gray grey golden silver dark light bright "
    "big small little large tall long short young old"
)
_FUNCTION_WORDS = frozenset(word for words in FUNCTION_WORDS.values() for word in words.split())
_NO_START = _FUNCTION_WORDS - _NUMBERS - _words("can us")  # three-piece suit, can opener, US Army
_BATCH = 1 << 14  # captions
_LONGEST = 64  # characters in a word; WordNet's longest has 45


class Match(NamedTuple):
    """Words ``start`` to ``stop`` of a caption, one or a multiword noun, and their label if they have one."""

    start: int
    stop: int
    wnid: str | None


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
        self.senses = Senses(self.lexicon, sense)
        self._tagger = _make_tagger(tagger, self.lexicon) if rule == "default" else None
        # Bounded: a corpus has no end of new words.
        self._label = lru_cache(REMEMBERED)(self._find_label)
        self._published_label = lru_cache(REMEMBERED)(self._find_published_label)
        self._multiword_lemma = lru_cache(REMEMBERED)(self._find_multiword_lemma)
        self.name_part = lru_cache(REMEMBERED)(Names(self.lexicon).part)

    def __reduce__(self) -> tuple[type["SynsetExtractor"], tuple[str, str, str]]:
        return SynsetExtractor, (self.rule, self.tagger, self.sense)

    def __call__(self, caption: str) -> list[str]:
        """Return the WNIDs of a caption's nouns in the order of the words, repeats kept."""
        return next(self.stream([caption]))

    def extract_many(self, captions: Iterable[str]) -> list[list[str]]:
        """Return for each caption what calling the extractor gives; for one that is missing (None, NaN), nothing.

        Args:
            captions: a list, an iterator, or a column of pyarrow, polars, pandas or numpy.

        Raises:
            UserError: it is a single string, or something in it is no string.
        """
        return [labels for batch in text_batches(captions, _BATCH) for labels in self._extract_batch(batch)]

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
        chunks = captions.chunks if isinstance(captions, pa.ChunkedArray) else [captions]
        parts = [self._label_chunk(chunk.cast(pa.large_string())) for chunk in chunks]
        counts = [np.diff(part.offsets) for part in parts]
        ids = np.concatenate([np.zeros(0, np.int32), *(part.ids for part in parts)])
        return ColumnLabels(ids, np.concatenate([[0], np.cumsum(np.concatenate([*counts, np.zeros(0, np.int64)]))]))

    # ---- columns ------------------------------------------------------------------------------------------------

    def _extract_batch(self, captions: list[str]) -> list[list[str]]:
        try:
            column = pa.array(captions, pa.large_string())
        except UnicodeEncodeError:  # half of a surrogate pair, which Arrow cannot hold
            return list(self.stream(captions))
        if self._columns is None:
            return list(self.stream(captions))
        labels = self._label_chunk(column)
        names = self._synset_array[labels.ids].tolist()
        bounds = labels.offsets.tolist()
        return [names[start:stop] for start, stop in pairwise(bounds)]

    def _label_chunk(self, captions: pa.LargeStringArray) -> ColumnLabels:
        if self._columns is None:
            labels = list(self.stream(caption or "" for caption in captions.to_pylist()))
            ids = np.array([self._ids[wnid] for found in labels for wnid in found], np.int32)
            return ColumnLabels(ids, np.cumsum([0, *map(len, labels)], dtype=np.int64))
        if captions.null_count:
            captions = captions.fill_null("")
        _, offsets, data = captions.buffers()
        first = captions.offset
        return self._columns.label(
            np.frombuffer(data or b"", np.uint8), np.frombuffer(offsets, np.int64)[first : first + len(captions) + 1]
        )

    @cached_property
    def _columns(self) -> ColumnLabeller | None:
        if isinstance(self._tagger, LexiconTagger):
            return ColumnLabeller(self, self._tagger)
        return ColumnLabeller(self, None) if isinstance(self._tagger, AnyWordTagger) else None

    @cached_property
    def _synset_array(self) -> np.ndarray:
        return np.array(self.synsets, object)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {wnid: i for i, wnid in enumerate(self.synsets)}

    def word_id(self, word: str) -> int:
        """Return the place in `synsets` of a word's label, -1 for none."""
        wnid = self.read(word).wnid
        return self._ids[wnid] if wnid else -1

    def starts_multiword(self, word: str) -> bool:
        """Return whether a multiword noun may start with this word."""
        return _first_part(word) in self._multiword_starts

    def multiword_id(self, words: list[str], nouns: list[bool]) -> tuple[int, int]:
        """Return the number of words and the place in `synsets` of the longest multiword noun that starts `words`."""
        length, wnid = self._multiword_at(words, nouns, 0)
        return (length, self._ids[wnid]) if wnid else (0, -1)

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
        return [match.wnid for match in self._matches(self.lower_but_names(tokens), nouns) if match.wnid]

    def lower_but_names(self, tokens: list[str]) -> list[str]:
        """Lower-case the tokens, but keep names: runs of two or more capitalised words inside a sentence.

        Elsewhere two words are a name where `begins_name` says so, and one where `is_introduced` or `is_office` does.
        A caption in which most words have a capital is a headline, in which capitals say nothing. Units of measure
        that could be something else become one that could not.
        """
        lower = [token.lower() for token in tokens]
        words = self._keep_names(tokens, lower)
        return [UNIT if is_unit_at(lower, i) else word for i, word in enumerate(words)]

    def _keep_names(self, tokens: list[str], lower: list[str]) -> list[str]:
        words = list(lower)
        capital = [token != word for token, word in zip(tokens, words, strict=True)]
        capitals, letters = sum(capital), sum(word[0].isalpha() for word in words)
        if not capitals:
            return words
        first = [i == 0 or tokens[i - 1] in SENTENCE_BREAKS for i in range(len(tokens))]
        mostly_lower = 2 * (capitals - 2) <= letters - 2 and letters > 2
        parts = [self.name_part(token) if is_one else NO_NAME for token, is_one in zip(tokens, capital, strict=True)]
        starts, offices = [False] * len(tokens), [False] * len(tokens)
        for i in range(len(tokens) - 1):
            if capital[i] and capital[i + 1]:
                alone = tokens[i + 1].istitle() and (i == 0 or not capital[i - 1])
                offices[i] = is_office(parts[i], parts[i + 1], alone, mostly_lower)
                starts[i] = not offices[i] and begins_name(parts[i], parts[i + 1], first[i], mostly_lower)
        introduced = [is_introduced(tokens, i) for i in range(len(tokens))]
        told = [is_one or (i > 0 and offices[i - 1]) for i, is_one in enumerate(introduced)]
        capital = [
            is_one and not offices[i] and (starts[i] or introduced[i] or not first[i])
            for i, is_one in enumerate(capital)
        ]
        for i in range(len(tokens)):
            named = starts[i] or told[i] or (i > 0 and starts[i - 1])
            beside = (i > 0 and capital[i - 1]) or (i + 1 < len(tokens) and capital[i + 1])
            if capital[i] and tokens[i].istitle() and (named or (beside and 2 * capitals <= letters)):
                words[i] = tokens[i]
        for i in range(1, len(tokens)):
            if told[i] and tokens[i].isascii():
                words[i] = tokens[i].upper()
            # Of a person nothing is read as a place, as Jordan may be. Capitals throughout say so to `read`.
            if self._is_person(tokens, words, lower, i):
                words[i - 1 : i + 1] = [word.upper() for word in words[i - 1 : i + 1]]
        return words

    def _is_person(self, tokens: list[str], words: list[str], lower: list[str], i: int) -> bool:
        """Whether two words of a name, the first before place `i`, are a person's."""
        if words[i - 1] == lower[i - 1] or words[i] == lower[i] or not (tokens[i - 1] + tokens[i]).isascii():
            return False
        return self.name_part(tokens[i - 1]).given and self.name_part(tokens[i]).surname

    def _matches(self, words: list[str], nouns: list[bool]) -> Iterator[Match]:
        """Yield each word, or multiword noun, from left to right with its label; a multiword's words are used up."""
        start = 0
        while start < len(words):
            length, label = 0, None
            if _first_part(words[start]) in self._multiword_starts:
                length, label = self._multiword_at(words, nouns, start)
            if not length and nouns[start]:
                label = self._label(words[start])
            stop = start + (length or 1)
            yield Match(start, stop, label)
            start = stop

    def _find_label(self, word: str) -> str | None:
        return self.read(word).wnid

    def read(self, word: str) -> Reading:
        """Return how a noun of one word is read: its lemma, label, and why.

        It is in lower case, but with its capital as part of a name, and in capitals as part of a person's.
        """
        if len(word) > _LONGEST:
            return Reading(None, None, "too long for a word")
        if word in _NO_NOUNS:
            return Reading(None, None, "a number, unit or file type")
        if word.isupper():
            return Reading(None, None, "a person's name")
        if word != word.lower():
            return self.senses.read_name(word.lower())
        if not word.isascii():
            word = unicodedata.normalize("NFD", word).encode("ascii", "ignore").decode()
        lemma = self._lemma(word) if len(word) > 1 else None
        if not lemma:
            return Reading(None, None, "no noun in WordNet")
        if len(lemma) <= 2 and lemma not in _SHORT_NOUNS:
            return Reading(lemma, None, "too short")
        return self.senses.read(word, lemma)

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

    # ---- multiword nouns ----------------------------------------------------------------------------------------

    def _multiword_at(self, words: list[str], nouns: list[bool], start: int) -> tuple[int, str | None]:
        """Return the length in words and the label of the longest multiword noun that starts here, or (0, None)."""
        longest = self._multiword_starts[_first_part(words[start])]
        for stop in range(min(start + longest, len(words)), start + 1, -1):
            # Taggers take the last word for a verb where they do not know the noun: two question marks.
            if nouns[stop - 1] or (nouns[start] and words[stop - 1].endswith("s")):
                lemma = self._lemma_of_words(words[start:stop], nouns[start:stop])
                label = self.senses.read(lemma, lemma).wnid if lemma else None
                if label and (words[start] not in _QUALIFIERS or self._is_kind_of(label, words[stop - 1], lemma)):
                    return stop - start, label
        return 0, None

    def _is_kind_of(self, wnid: str, word: str, lemma: str | None) -> bool:
        """Whether a multiword's synset is below its last word's: a red fox is a fox, a red spider, a mite, is none."""
        whole = self._label(word)
        return lemma in self.senses.overrides or whole is None or whole == wnid or whole in self.lexicon.ancestors(wnid)

    def _lemma_of_words(self, words: list[str], nouns: list[bool]) -> str | None:
        """Return the noun that several words are: a multiword, or one that a caption writes as two (wine glass)."""
        lemma = self._multiword_lemma("_".join(words).lower().replace("-", "_").replace("_'s", "'s"))
        if not lemma and len(words) == 2 and all(nouns) and min(map(len, words)) > 2:
            lemma = self.lexicon.noun_lemma("".join(words))
            if lemma and len(lemma) < len(words[0]) + 3:  # a man uses a tool, but no manus
                lemma = None
        return lemma

    def _find_multiword_lemma(self, joined: str) -> str | None:
        """Return the multiword noun that words joined by ``_`` are, the last perhaps inflected: hot_dogs → hot_dog."""
        first, _, last = joined.rpartition("_")
        forms = [joined, *(f"{first}_{base}" for base in self.lexicon.noun_candidates(last))]
        return next((self.lexicon.multiwords[form] for form in forms if form in self.lexicon.multiwords), None)

    @cached_property
    def _multiword_starts(self) -> dict[str, int]:
        """First word → the number of words in the longest multiword that starts with it."""
        starts: dict[str, int] = {}
        for joined in self.lexicon.multiwords:
            tokens = joined.replace("'s", "_'s")  # the possessive is a token of its own
            first = tokens.partition("_")[0]
            starts[first] = max(starts.get(first, 0), tokens.count("_") + 1)
        return {word: length for word, length in starts.items() if word not in _NO_START}

    # ---- published rule -----------------------------------------------------------------------------------------

    def _published(self, caption: str) -> list[str]:
        labels = (self._published_label(token) for token in published_tokenize(published_clean(caption)))
        return [label for label in labels if label]

    def _find_published_label(self, token: str) -> str | None:
        return self.read_published(token).wnid

    def read_published(self, token: str) -> Reading:
        """Return how the published rule reads a token: as the shortest lemma's first sense, if the lemma heads it."""
        lemma = min(self.lexicon.noun_candidates(token), key=len, default=None)
        if lemma is None:
            return Reading(None, None, "no noun in WordNet")
        wnid = self.lexicon.synsets(lemma)[0]
        head = self.lexicon.lemmas(wnid)[0]
        if head.lower() != lemma:
            return Reading(lemma, None, f"its first sense is named {head}: dropped, as published")
        return Reading(lemma, wnid, "WordNet's first sense, which it names")


def _first_part(word: str) -> str:
    return word.lower().partition("-")[0]


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

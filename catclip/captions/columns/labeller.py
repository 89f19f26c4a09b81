"""Captions → labels a column at a time: the default rule of `SynsetExtractor` in numpy, label for label the same."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from catclip.captions.columns.phrases import PhraseFinder
from catclip.captions.columns.split import chunks, split
from catclip.captions.columns.words import (
    ALPHA,
    BEGINS_NAME,
    BREAK,
    CAPITAL,
    FORM,
    FORMS,
    GIVEN,
    INTRODUCES,
    LEAN,
    MEASURES,
    NOUN,
    OFFICE,
    OTHERWISE,
    SURE_NAME,
    SURNAME,
    TAG,
    TAGS,
    TITLE,
    UNIT_PLACE,
    WordTable,
    number,
)
from catclip.captions.taggers import EVIDENCE, LexiconTagger
from catclip.captions.units import is_unit_at

if TYPE_CHECKING:
    from catclip.captions.extract import SynsetExtractor


class ColumnLabels(NamedTuple):
    """The labels of a column of B captions, ragged.

    Attributes:
        ids: int32 [N], places in `SynsetExtractor.synsets`, captions one after the other, in the order of their words,
            repeats kept.
        offsets: int64 [B+1]; caption b has ``ids[offsets[b] : offsets[b + 1]]``.
    """

    ids: np.ndarray
    offsets: np.ndarray


class _Captions(NamedTuple):
    """Where captions of T tokens begin and end."""

    offsets: np.ndarray  # int64 [B+1]
    first: np.ndarray  # bool [T], the first token of a caption
    last: np.ndarray  # bool [T]


class ColumnLabeller:
    """The default rule with the tagger `lexicon`, or `none` when `tagger` is None."""

    def __init__(self, extractor: "SynsetExtractor", tagger: LexiconTagger | None) -> None:
        self._words = WordTable(extractor, tagger)
        self._phrases = PhraseFinder(extractor, self._words)
        self._context = tagger is not None

    def label(self, data: np.ndarray, offsets: np.ndarray) -> ColumnLabels:
        """Label captions given as UTF-8: uint8 `data`, int64 [B+1] `offsets` into it."""
        parts = [self._label(data, offsets[first : end + 1]) for first, end in chunks(offsets)]
        if not parts:
            return ColumnLabels(np.zeros(0, np.int32), np.zeros(1, np.int64))
        counts = np.concatenate([np.diff(part.offsets) for part in parts])
        return ColumnLabels(np.concatenate([part.ids for part in parts]), np.concatenate([[0], np.cumsum(counts)]))

    def _label(self, data: np.ndarray, offsets: np.ndarray) -> ColumnLabels:
        tokens = split(data, offsets)
        ids = self._words.find(tokens)
        flags = self._words.flags[ids]
        captions = _captions(tokens.offsets, len(ids))
        nouns = self._nouns(ids, flags, captions) if self._context else np.ones(len(ids), bool)
        names, told = _names(flags, captions)
        units = self._units(ids, flags, captions)
        ids[units], flags[units], names[units] = UNIT_PLACE, self._words.flags[UNIT_PLACE], False
        labels = np.where(nouns, self._words.label[ids], np.int32(-1))
        named = np.flatnonzero(names & nouns)
        labels[named] = self._words.name_label[ids[named]]
        labels[_persons(flags, names)] = -1
        labels[told] = -1
        starts, lengths, whole = self._phrases.find(ids, flags, captions.last, nouns, names)
        for step in range(int(lengths.max(initial=0))):
            labels[starts[lengths > step] + step] = -1
        labels[starts] = whole
        kept = np.flatnonzero(labels >= 0)
        return ColumnLabels(labels[kept], np.searchsorted(kept, tokens.offsets))

    def _units(self, ids: np.ndarray, flags: np.ndarray, captions: _Captions) -> list[int]:
        """Return the tokens that are units of measure; few words can be, so they are looked at one by one."""
        found = []
        for place in np.flatnonzero((flags & MEASURES) != 0).tolist():
            start = place
            while start > place - 2 and not captions.first[start]:
                start -= 1
            stop = place + 1 if captions.last[place] else place + 2
            if is_unit_at([self._words.texts[i].lower() for i in ids[start:stop]], place - start):
                found.append(place)
        return found

    def _nouns(self, ids: np.ndarray, flags: np.ndarray, captions: _Captions) -> np.ndarray:
        """Return bool [T]: `LexiconTagger.tags` says N or S."""
        tags = number(flags, LEAN)
        after = np.append(tags[1:], np.uint32(TAG["$"]))
        after[captions.last] = TAG["$"]
        undecided = np.flatnonzero(number(flags, FORM) != 0)
        evidence_after = _AFTER[number(flags[undecided], FORM), after[undecided]]
        for now in _rounds(undecided, captions.first):
            places = undecided[now]
            word = flags[places]
            before = np.where(captions.first[places], np.uint32(TAG["^"]), tags[places - 1])
            evidence_before = _BEFORE[number(word, FORM), before]
            score = self._words.evidence[ids[places]] + evidence_before + evidence_after[now]
            tags[places] = np.where(score > 0, number(word, NOUN), number(word, OTHERWISE))
        return (tags == TAG["N"]) | (tags == TAG["S"])


def _captions(offsets: np.ndarray, tokens: int) -> _Captions:
    first, last = np.zeros(tokens + 1, bool), np.zeros(tokens + 1, bool)
    first[offsets] = True
    last[offsets[1:][np.diff(offsets) > 0] - 1] = True
    return _Captions(offsets, first[:-1], last[:-1])


def _evidence(side: Literal[0, 1]) -> np.ndarray:
    """The evidence before or after a word, by its form and the neighbour's class."""
    table = np.zeros((len(FORMS), len(TAGS)))
    for form, (_, *sides) in EVIDENCE.items():
        for tag, value in sides[side].items():
            table[FORMS.index(form), TAG[tag]] = value
    return table


_BEFORE, _AFTER = _evidence(0), _evidence(1)


def _rounds(undecided: np.ndarray, first: np.ndarray) -> Iterator[np.ndarray]:
    """Group undecided tokens so that each stands after one that is decided: the first of each run, the second …"""
    begins = np.append(first[undecided], True)
    begins[0] = True
    begins[1:-1] |= undecided[1:] != undecided[:-1] + 1
    now = np.flatnonzero(begins[:-1])
    while len(now):
        yield now
        now = now[~begins[now + 1]] + 1


def _names(flags: np.ndarray, captions: _Captions) -> tuple[np.ndarray, np.ndarray]:
    """Return which tokens keep their capital, bool [T], and the places of those that another word says are names.

    See `SynsetExtractor.lower_but_names`.
    """
    introduced = _introduced(flags, captions)
    names = np.zeros(len(flags), bool)
    names[introduced] = True
    places = np.flatnonzero((flags & CAPITAL) != 0)
    numbers = np.diff(np.searchsorted(places, captions.offsets))
    several = numbers > 1
    if not several.any():
        return names, introduced
    letters = _sums((flags & ALPHA) != 0, captions.offsets)
    at = np.repeat(np.arange(len(numbers)), numbers)
    places, at = places[several[at]], at[several[at]]
    sentence = (2 * numbers <= letters)[at]
    mostly_lower = ((2 * (numbers - 2) <= letters - 2) & (letters > 2))[at]
    own = flags[places]
    after = np.append(own[1:], np.uint32(0))
    first = captions.first[places] | ((flags[places - 1] & BREAK) != 0)
    # Whether it stands right behind the capital before, in one caption: with another False at the end.
    behind = np.zeros(len(places) + 1, bool)
    behind[1:-1] = (np.diff(places) == 1) & (at[1:] == at[:-1])
    offices = behind[1:] & ~behind[:-1] & mostly_lower & _are_offices(own, after)
    starts = behind[1:] & ~offices & _begin_names(own, after, first & mostly_lower)
    capital = ~offices & (starts | names[places] | ~first)
    beside = behind[1:] | (behind[:-1] & np.append(False, capital[:-1]))
    second = behind[:-1] & np.append(False, starts[:-1])
    held = np.append(False, offices[:-1])
    kept = starts | second | held | (capital & beside & sentence)
    names[places[kept & ((own & TITLE) != 0)]] = True
    return names, np.concatenate([introduced, places[held]])


def _introduced(flags: np.ndarray, captions: _Captions) -> np.ndarray:
    """Return the places of the tokens of which `is_introduced` holds."""
    before = np.flatnonzero((flags & INTRODUCES) != 0)
    before = before[~captions.last[before]]
    # A form of address, which has a capital, may end in a full stop.
    stopped = before[((flags[before] & CAPITAL) != 0) & ((flags[before + 1] & BREAK) != 0)] + 1
    places = np.concatenate([before, stopped[~captions.last[stopped]]]) + 1
    return places[(flags[places] & TITLE) != 0]


def _are_offices(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """`is_office` by the flags of two words, where what stands around them allows it."""
    return ((first & OFFICE) != 0) & ((second & TITLE) != 0) & ((second & (GIVEN | SURNAME)) != 0)


def _begin_names(first: np.ndarray, second: np.ndarray, could: np.ndarray) -> np.ndarray:
    """`begins_name` by the flags of two words, and whether they begin a mostly lower-case sentence."""
    begins = ((first & BEGINS_NAME) != 0) | (((first & GIVEN) != 0) & ((second & SURNAME) != 0))
    return ((first & SURE_NAME) != 0) | (could & begins)


def _persons(flags: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Return the tokens of names that are a person's: a given name and a surname."""
    given = np.flatnonzero(names[:-1] & names[1:] & ((flags[:-1] & GIVEN) != 0) & ((flags[1:] & SURNAME) != 0))
    return np.concatenate([given, given + 1])


def _sums(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    return np.diff(np.concatenate([[0], np.cumsum(values)])[offsets])

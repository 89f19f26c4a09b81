"""Multiword nouns in a column of captions: a sieve on hashes that lets through all of them and little else."""

from typing import TYPE_CHECKING

import numpy as np

from catclip.captions.columns.hashing import RADIX, KeyTable, Sieve, text_hashes
from catclip.captions.columns.words import ENDS_S, POSSESSIVE, STARTS, WordTable
from catclip.captions.lexicon import NOUN_ENDINGS, Lexicon

if TYPE_CHECKING:
    from catclip.captions.extract import SynsetExtractor

_WHOLE, _PREFIX, _SOLID = 1, 2, 4
_JOINT = np.uint64(ord("_") + 1)
_FOLD = np.uint64(0xD1342543DE82EF95)
_NONE_SETTLED = np.zeros((2, 0), np.int64)  # of each candidate met: how many tokens it takes, and its label


class PhraseFinder:
    """Finds the multiword nouns of captions; what each is, the extractor says, once for each phrase met."""

    def __init__(self, extractor: "SynsetExtractor", words: WordTable) -> None:
        self._extractor = extractor
        self._words = words
        self._sieve = _make_sieve(extractor.lexicon)
        self._settled = _NONE_SETTLED
        self._forget()

    def find(
        self, ids: np.ndarray, flags: np.ndarray, last: np.ndarray, nouns: np.ndarray, names: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the first token, the number of tokens and the label of each multiword noun, none within another.

        Args:
            ids: int32 [T], the tokens' places in the word table; `flags` uint32 [T] from there.
            last: bool [T], the last token of its caption.
            nouns: bool [T], the tagger's decisions; `names` bool [T], the tokens that keep their capital.
        """
        starts, lengths = self._candidates(ids, flags, last, nouns)
        if not len(starts):
            return starts, lengths, starts
        keys = self._keys(ids, nouns, names, starts, lengths)
        places = self._find_known(keys, ids, nouns, names, starts, lengths)
        lengths, labels = self._settled[:, places]
        real = np.flatnonzero(lengths)
        starts, lengths, labels = starts[real], lengths[real], labels[real]
        kept = _leftmost(starts, starts + lengths)
        return starts[kept], lengths[kept], labels[kept]

    def _candidates(
        self, ids: np.ndarray, flags: np.ndarray, last: np.ndarray, nouns: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return where the sieve lets a phrase pass, and how many tokens long the longest is there."""
        starts = np.flatnonzero(((flags & STARTS) != 0) & ~last)
        longest = np.zeros(len(starts), np.int64)
        on = np.arange(len(starts))  # those of `starts` that may still become a phrase
        hashes = self._words.hash[ids[starts]]
        length = 1
        while len(on):
            begin, end = starts[on], starts[on] + length
            power, own = self._words.power[ids[end]], self._words.hash[ids[end]]
            possessive = (flags[end] & POSSESSIVE) != 0  # stands without a joint: cat's_cradle
            joined = np.where(possessive, hashes, hashes * RADIX + _JOINT) * power + own
            passed = self._sieve.get(joined)
            whole = ((passed & _WHOLE) != 0) & (nouns[end] | (nouns[begin] & ((flags[end] & ENDS_S) != 0)))
            if length == 1:
                pairs = np.flatnonzero(nouns[begin] & nouns[end])
                solid = self._sieve.get((hashes * power + own)[pairs])
                whole[pairs[(solid & _SOLID) != 0]] = True
            length += 1
            longest[on[whole]] = length
            more = np.flatnonzero(((passed & _PREFIX) != 0) & ~last[end])
            on, hashes = on[more], joined[more]
        hit = longest > 0
        return starts[hit], longest[hit]

    def _keys(
        self, ids: np.ndarray, nouns: np.ndarray, names: np.ndarray, starts: np.ndarray, lengths: np.ndarray
    ) -> np.ndarray:
        """Return a uint64 for each candidate that stands for its words and all else that decides."""
        states = ids.astype(np.uint64) * np.uint64(4) + nouns * np.uint64(2) + names
        keys = lengths.astype(np.uint64)
        for step in range(int(lengths.max())):
            on = np.flatnonzero(lengths > step)
            folded = (keys[on] ^ states[starts[on] + step]) * _FOLD
            keys[on] = folded ^ (folded >> np.uint64(32))
        return keys

    def _find_known(
        self,
        keys: np.ndarray,
        ids: np.ndarray,
        nouns: np.ndarray,
        names: np.ndarray,
        starts: np.ndarray,
        lengths: np.ndarray,
    ) -> np.ndarray:
        """Return where in `_settled` each candidate is; the extractor is asked for those that are new."""
        if self._forgotten != self._words.forgotten:
            self._forget()
        found = self._known.get(keys)
        unknown = np.flatnonzero(found < 0)
        if len(unknown):
            new, first, back = np.unique(keys[unknown], return_index=True, return_inverse=True)
            told = [self._ask(ids, nouns, names, starts[i], lengths[i]) for i in unknown[first].tolist()]
            places = np.arange(self._settled.shape[1], self._settled.shape[1] + len(new), dtype=np.int32)
            self._settled = np.concatenate([self._settled, np.array(told, np.int64).T], axis=1)
            self._known.put(new, places)
            found[unknown] = places[back]
        return found

    def _ask(self, ids: np.ndarray, nouns: np.ndarray, names: np.ndarray, start: int, length: int) -> tuple[int, int]:
        tokens = range(start, start + length)
        texts = [self._words.texts[ids[i]] for i in tokens]
        words = [text if names[i] else text.lower() for i, text in zip(tokens, texts, strict=True)]
        return self._extractor.multiword_id(words, nouns[start : start + length].tolist())

    def _forget(self) -> None:
        self._forgotten = self._words.forgotten
        self._known = KeyTable()
        self._settled = _NONE_SETTLED


def _leftmost(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return which of some spans, sorted, are left when each that begins inside an earlier one is dropped."""
    kept = np.ones(len(starts), bool)
    # Only where spans overlap does one have to be looked at after the other.
    inside = starts[1:] < np.maximum.accumulate(ends)[:-1]
    end = 0
    for i in np.flatnonzero(inside).tolist():
        end = max(end, int(ends[i])) if kept[i] else end
        kept[i + 1] = starts[i + 1] >= end
    return np.flatnonzero(kept)


# ---- the sieve ------------------------------------------------------------------------------------------------------


def _make_sieve(lexicon: Lexicon) -> Sieve:
    """Hashes of every spelling under which a caption's words may be a multiword noun, and of their beginnings."""
    marks: dict[str, int] = {}

    def mark(text: str, what: int) -> None:
        marks[text] = marks.get(text, 0) | what

    bases: dict[str, list[str]] = {}  # lemma → its irregular forms
    for form in lexicon.irregular_nouns():
        for base in lexicon.noun_candidates(form):
            bases.setdefault(base, []).append(form)
    for joined in lexicon.multiwords:
        first, _, word = joined.rpartition("_")
        for form in (word, *_inflections(word), *bases.get(word, ())):
            mark(f"{first}_{form}", _WHOLE)
        for place, char in enumerate(joined):
            if place and (char == "_" or joined.startswith("'s", place)):
                mark(joined[:place], _PREFIX)
    for word in lexicon.words():
        if "_" not in word and len(word) > 5:  # of two words with three letters each
            for form in (word, *_inflections(word), *bases.get(word, ())):
                mark(form.replace("-", "_"), _SOLID)
    hashes, _ = text_hashes(list(marks))
    keys, places = np.unique(hashes, return_index=True)
    return Sieve(keys, np.array(list(marks.values()), np.int32)[places])


def _inflections(word: str) -> list[str]:
    """Return the forms that the rules of morphy(7WN) take back to a word."""
    return [word[: len(word) - len(new)] + old for old, new in NOUN_ENDINGS if word.endswith(new)]

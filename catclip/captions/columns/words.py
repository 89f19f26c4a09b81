"""What the default rule knows about each token by itself, in arrays that grow as a corpus shows new ones."""

from typing import TYPE_CHECKING

import numpy as np

from catclip.captions.clean import SENTENCE_BREAKS
from catclip.captions.columns.hashing import KeyTable, text_hashes
from catclip.captions.columns.split import Tokens
from catclip.captions.names import INTRODUCTIONS, NO_NAME
from catclip.captions.taggers import EVIDENCE, FUNCTION_WORDS, LexiconTagger
from catclip.captions.units import UNIT, UNITS

if TYPE_CHECKING:
    from catclip.captions.extract import SynsetExtractor

# The classes that taggers.py names by letters, and the two ends of a caption, as numbers.
TAGS = list(dict.fromkeys([*FUNCTION_WORDS, *"NSARVGE", ",", "^", "$"]))
TAG = {letter: number for number, letter in enumerate(TAGS)}
FORMS = ["", *EVIDENCE]  # 0: context decides nothing
_FORM = {letter: number for number, letter in enumerate(FORMS)}

# A token's flags: three tags in five bits each, its form in three, and what else is true of it.
LEAN, NOUN, OTHERWISE, FORM = 0, 5, 10, 15
CAPITAL, TITLE, ALPHA, BREAK, ENDS_S, POSSESSIVE, STARTS, MEASURES = (np.uint32(1 << bit) for bit in range(18, 26))
SURE_NAME, BEGINS_NAME, GIVEN, SURNAME, OFFICE, INTRODUCES = (np.uint32(1 << bit) for bit in range(26, 32))
assert len(TAGS) <= 32
assert len(FORMS) <= 8
UNIT_PLACE = 0  # of the word as which units are read

_MOST = 1 << 20  # words kept; a corpus has no end of new ones, most of them numbers, names and misspellings


def number(flags: np.ndarray, which: int) -> np.ndarray:
    """Return one of the four numbers in the flags of tokens."""
    return (flags >> np.uint32(which)) & np.uint32(7 if which == FORM else 31)


class WordTable:
    """The words met so far. `find` gives their places in the arrays, which hold for the words of that call.

    Attributes:
        flags: uint32 [W].
        evidence: float64 [W], of a word where context decides.
        label, name_label: int32 [W], its synset's place in `SynsetExtractor.synsets` when it is written small, and when
            it is part of a name; -1 for none.
        hash, power: uint64 [W], what `multiwords` needs to hash it as part of a phrase.
        texts: the words as written.
        forgotten: how often the table has been emptied.
    """

    def __init__(self, extractor: "SynsetExtractor", tagger: LexiconTagger | None) -> None:
        self._extractor = extractor
        self._tagger = tagger
        self.forgotten = -1
        self._forget()

    def find(self, tokens: Tokens) -> np.ndarray:
        """Return int32 [T], the place of each token's word."""
        if len(self.texts) > _MOST:
            self._forget()
        found = self._table.get(tokens.keys)
        unknown = np.flatnonzero(found < 0)
        if len(unknown):
            keys, first, back = np.unique(tokens.keys[unknown], return_index=True, return_inverse=True)
            places = np.arange(len(self.texts), len(self.texts) + len(keys), dtype=np.int32)
            self._learn([tokens.text(i) for i in unknown[first].tolist()])
            self._table.put(keys, places)
            found[unknown] = places[back]
        return found

    def _forget(self) -> None:
        self.forgotten += 1
        self._table = KeyTable()
        self.texts: list[str] = []
        self.flags = np.zeros(0, np.uint32)
        self.evidence = np.zeros(0, np.float64)
        self.label = np.zeros(0, np.int32)
        self.name_label = np.zeros(0, np.int32)
        self.hash = np.zeros(0, np.uint64)
        self.power = np.zeros(0, np.uint64)
        self._learn([UNIT])

    def _learn(self, texts: list[str]) -> None:
        rows = [self._row(text) for text in texts]
        flags, evidence, label, name_label = (list(column) for column in zip(*rows, strict=True))
        hashes, powers = text_hashes([text.lower().replace("-", "_") for text in texts])
        self.texts += texts
        self.flags = _longer(self.flags, flags)
        self.evidence = _longer(self.evidence, evidence)
        self.label = _longer(self.label, label)
        self.name_label = _longer(self.name_label, name_label)
        self.hash = _longer(self.hash, hashes)
        self.power = _longer(self.power, powers)

    def _row(self, text: str) -> tuple[int, float, int, int]:
        word, extractor = text.lower(), self._extractor
        evidence = 0.0
        flags = TAG["N"] << LEAN
        if self._tagger:
            judged = self._tagger.judge(word)
            evidence = judged.evidence
            flags = TAG[judged.lean] << LEAN | _FORM[judged.form] << FORM
            if judged.form:
                flags |= TAG[judged.noun] << NOUN | TAG[judged.otherwise] << OTHERWISE
        name = extractor.name_part(text) if text != word else NO_NAME
        marks = (
            (CAPITAL, text != word),
            (TITLE, text.istitle()),
            (ALPHA, word[0].isalpha()),
            (BREAK, text in SENTENCE_BREAKS),
            (ENDS_S, word.endswith("s")),
            (POSSESSIVE, word == "'s"),
            (STARTS, extractor.starts_multiword(word)),
            (MEASURES, word in UNITS),
            (SURE_NAME, name.sure),
            (BEGINS_NAME, name.begins),
            (GIVEN, name.given),
            (SURNAME, name.surname),
            (OFFICE, name.office),
            (INTRODUCES, text in INTRODUCTIONS),
        )
        flags |= sum(int(mark) for mark, holds in marks if holds)
        name_label = extractor.word_id(text) if text != word and text.istitle() else -1
        return flags, evidence, extractor.word_id(word), name_label


def _longer(array: np.ndarray, more: list | np.ndarray) -> np.ndarray:
    return np.concatenate([array, np.asarray(more, array.dtype)])

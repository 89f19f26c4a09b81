"""Names of people where capitals say little: where a sentence begins, in headlines, and where a name is one word.

WordNet's persons tell which words are given names (Michael, Mark) and which are surnames (Jordan, Bush).
"""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from catclip.captions.clean import SENTENCE_BREAKS
from catclip.captions.lexicon import Lexicon
from catclip.captions.taggers import FUNCTION_WORDS

_PERSON, _PLACES = "person", ("location", "object")
_NO_NAME_PARTS = {"the", "of", "de"}  # Alexander the Great is no Mr Great
_FUNCTION_WORDS = frozenset(word for words in FUNCTION_WORDS.values() for word in words.split())
_BEARERS = 5  # persons that WordNet has of a given name, from which on it is hardly anything else


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NO_GIVEN = _words("the first jean van")  # of few, and captions mostly use them for something else
_TITLES = _words("sir dame president saint baron prince lord")  # of many, and words of their own
# What somebody is, and called by: President Bush is a president, but no bush.
_OFFICES = _words(
    "president prince princess king queen pope emperor empress duke duchess captain senator governor mayor professor "
    "doctor judge"
)
_FORMS_OF_ADDRESS = _words("Mr Mrs Ms Miss Dr Prof")
# Words, as they are written, before a name: a man named Bill, Mr Bean.
INTRODUCTIONS = _words("named called nicknamed") | _FORMS_OF_ADDRESS
# Given names that are words too, of which WordNet has no bearer.
_MORE_GIVEN = _words(
    "tiger rose daisy violet ruby amber crystal jade summer autumn april june joy hope faith dawn heather hazel holly "
    "ivy jasmine olive poppy robin rusty sandy skip brandy candy cherry chase chance colt cliff clay dusty drew drake "
    "melody misty penny piper reed sterling wade brad"
)


class NamePart(NamedTuple):
    """What a word with a capital may be in a name.

    Attributes:
        sure: it is a given name that is hardly anything else: what follows belongs to the name.
        begins: it is sure, or no common word.
        given: it is a given name.
        surname: it can be one: a surname, or no common word.
        office: it says what the person is whose name follows.
    """

    sure: bool
    begins: bool
    given: bool
    surname: bool
    office: bool


NO_NAME = NamePart(False, False, False, False, False)


class Names:
    """Which words names of people are made of, by a lexicon."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon

    def part(self, text: str) -> NamePart:
        """Return what a word, as it is written, may be in a name. An acronym begins none: NFL Fan, JFK Airport."""
        word = text.lower()
        given, surnames = self._persons
        is_given = word in given or word in _MORE_GIVEN
        if word in _FUNCTION_WORDS:
            return NamePart(False, False, is_given, False, False)
        uses = self._common_uses(word)
        is_mainly_name = given[word] >= _BEARERS and given[word] > (uses or 0) and word not in _TITLES
        is_sure = is_mainly_name or (is_given and uses is None and not self._is_place(word))
        begins = not (text.isupper() or "-" in word) and (uses is None or is_sure)
        surname = uses is None or word in surnames or word.removesuffix("s") in surnames
        office = word in _OFFICES and text.istitle()
        return NamePart(begins and is_sure, begins, is_given, surname, office)

    def _is_place(self, word: str) -> bool:
        return any(self.lexicon.category(wnid) in _PLACES for wnid in self.lexicon.synsets(word))

    @cached_property
    def _persons(self) -> tuple[Counter[str], frozenset[str]]:
        """Given names with the number of their bearers, and surnames: persons are listed under those alone too."""
        given: Counter[str] = Counter()
        surnames: set[str] = set()
        for lemmas in self.lexicon.individuals(_PERSON):
            full = [parts for lemma in lemmas if len(parts := lemma.split("_")) > 1 and parts[-1] in lemmas]
            full = [parts for parts in full if _NO_NAME_PARTS.isdisjoint(parts)]
            given.update({parts[0].lower() for parts in full} - _NO_GIVEN)
            surnames |= {parts[-1].lower() for parts in full}
        return given, frozenset(surnames)

    def _common_uses(self, word: str) -> int | None:
        """Return how often WordNet's texts have a word as a common one; None where it is none, but for individuals."""
        counts = self.lexicon.counts(word)
        others = [count for count in (counts.verb, counts.adj, counts.adv) if count is not None]
        lemmas = [word, *self.lexicon.noun_candidates(word)]
        kinds = [
            times
            for lemma in dict.fromkeys(lemmas)
            for wnid, times in self.lexicon.senses(lemma)
            if not self.lexicon.is_instance(wnid)
        ]
        is_inflected = self.lexicon.verb_candidates(word) or self.lexicon.adjective_candidates(word)
        return sum(kinds) + sum(others) if kinds or others or is_inflected else None


def begins_name(first: NamePart, second: NamePart, is_start: bool, mostly_lower: bool) -> bool:
    """Whether two words with capitals are a name whatever stands around them.

    Args:
        first, second: what they may be in a name.
        is_start: they begin a sentence.
        mostly_lower: of the caption's other words few have a capital.
    """
    if first.sure:
        return True
    return is_start and mostly_lower and (first.begins or (first.given and second.surname))


def is_introduced(tokens: Sequence[str], place: int) -> bool:
    """Whether a word is a name by the word before it: Bill in "a man named Bill", Bean in "Mr. Bean"."""
    if not tokens[place].istitle() or not place:
        return False
    before = place - 1
    if place > 1 and tokens[before] in SENTENCE_BREAKS and tokens[before - 1] in _FORMS_OF_ADDRESS:
        before -= 1
    return tokens[before] in INTRODUCTIONS


def is_office(first: NamePart, second: NamePart, is_alone: bool, mostly_lower: bool) -> bool:
    """Whether the first of two words with capitals is a person's office, the second its name: President Bush.

    Args:
        first, second: what they may be in a name.
        is_alone: the word before has no capital; Stephen King is no king.
        mostly_lower: of the caption's other words few have a capital.
    """
    return first.office and is_alone and mostly_lower and (second.given or second.surname)

"""Which sense of a noun a caption means: WordNet's first, or the one that a picture most likely shows; and why."""

import math
from functools import cached_property
from typing import NamedTuple

from catclip.captions.lexicon import Lexicon, read_table
from catclip.paths import VOCAB

SENSES_FILE = VOCAB / "senses.tsv"
_DEFINITE_QUANTITY = "n13576101"  # numbers and units

# How well a sense of each of WordNet's categories can be seen; the others count 0.
VISIBILITY = {
    "animal": 3.0,
    "artifact": 2.9,
    "food": 2.6,
    "body": 2.3,
    "object": 2.5,
    "person": 2.2,
    "plant": 1.9,
    "substance": 1.8,
    "group": 1.6,
    "phenomenon": 1.6,
    "tops": 1.5,
    "location": 1.2,
    "event": 1.3,
    "act": 1.1,
    "shape": 1.0,
    "time": 0.9,
    "communication": 0.5,
    "attribute": 0.3,
    "state": 0.4,
}
AGENT = 0.5  # a word made of a verb and -er or -or (driver, dancer) rather means the person
INDIVIDUAL = -2.0  # Crane the poet, Jersey the island
HEAD = 0.5  # the word that names the synset, not a synonym
FREQUENCY = 0.5  # times the log of the sense's share in WordNet's counts
PLACE = -0.1  # a step down in WordNet's order


class Reading(NamedTuple):
    """What a word, or a multiword noun, is taken for.

    Attributes:
        lemma: the noun that it is a form of, None where it is none.
        wnid: its label, None where it gives none.
        why: the reason, in a few words.
    """

    lemma: str | None
    wnid: str | None
    why: str


class Candidate(NamedTuple):
    """A sense that a lemma may have.

    Attributes:
        place: from 1, in WordNet's order.
        times: how often the lemma has this sense in WordNet's sense-tagged texts.
        visibility: how likely a picture shows it (see `visibilities`).
    """

    place: int
    wnid: str
    times: int
    visibility: float


class Senses:
    """Chooses the sense of a lemma: ``first`` of WordNet, or ``visual``: by the reviewed table, else by visibility."""

    def __init__(self, lexicon: Lexicon, sense: str) -> None:
        self.lexicon = lexicon
        self.sense = sense
        self._candidates: dict[str, list[Candidate]] = {}

    def read(self, form: str, lemma: str) -> Reading:
        """Return how a form of a lemma is read; no label where the reviewed table says so, or for a person's name."""
        if self.sense == "first":
            return Reading(lemma, self.lexicon.synsets(lemma)[0], "WordNet's first sense")
        for word in (form, lemma):
            if word in self.overrides:
                wnid, reason = self.overrides[word]
                return Reading(lemma, wnid, f"reviewed: {reason}")
        wnid = self.candidates(lemma)[0].wnid
        if self.lexicon.is_instance(wnid) and self.lexicon.category(wnid) == "person":
            return Reading(lemma, None, "one person's name")
        if self.lexicon.category(wnid) == "quantity" and _DEFINITE_QUANTITY in self.lexicon.ancestors(wnid):
            return Reading(lemma, None, "a number or unit")
        only = len(self.lexicon.senses(lemma)) == 1
        return Reading(lemma, wnid, "its only sense" if only else "its most visible sense")

    def read_name(self, word: str) -> Reading:
        """Return how a capitalised word inside a name is read: only as what WordNet too spells with a capital."""
        lemma = self.lexicon.noun_lemma(word)
        for wnid in self.lexicon.synsets(lemma) if lemma else ():
            spellings = {spelling for spelling in self.lexicon.lemmas(wnid) if spelling.lower() == lemma}
            category = self.lexicon.category(wnid)
            seen = VISIBILITY.get(category, 0.0) >= 1.0 and category != "person"
            if seen and all(spelling != spelling.lower() for spelling in spellings):
                return Reading(lemma, wnid, "a name that WordNet has")
        return Reading(lemma, None, "part of a name")

    def candidates(self, lemma: str) -> list[Candidate]:
        """Return a noun lemma's senses, those first that the choice prefers, the reviewed table aside."""
        if lemma not in self._candidates:
            self._candidates[lemma] = self._find_candidates(lemma)
        return self._candidates[lemma]

    def _find_candidates(self, lemma: str) -> list[Candidate]:
        places = zip(self.lexicon.senses(lemma), visibilities(self.lexicon, lemma), strict=True)
        found = [Candidate(place, wnid, times, seen) for place, ((wnid, times), seen) in enumerate(places, 1)]
        return found if self.sense == "first" else sorted(found, key=lambda each: -each.visibility)

    @cached_property
    def overrides(self) -> dict[str, tuple[str | None, str]]:
        """The reviewed table: form or lemma → its synset, None for no label, and the reason."""
        rows = read_table(SENSES_FILE, ("word", "synset", "name", "reason"))
        return {word: (None if synset == "-" else synset, reason) for word, synset, _, reason in rows}


def visibilities(lexicon: Lexicon, lemma: str) -> list[float]:
    """Return for each sense of a noun lemma how likely a picture shows it: by category, count and WordNet's order."""
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

    return [visibility(place) for place in range(len(senses))]

"""Class names → WordNet synsets: `crane bird`, `hot_dogs`, `sofa, couch`, `n02084071`, `restaurant kitchen`."""

import re
from collections import Counter
from contextlib import suppress
from typing import NamedTuple

from catclip.captions import SynsetExtractor
from catclip.captions.hierarchy import find_synset
from catclip.captions.lexicon import load_lexicon
from catclip.errors import UserError

_WNID = re.compile(r"(n\d{8})(?:[-_ ].*)?")  # alone, or before a name, as in Stanford Dogs: n02085620-Chihuahua
_SYNSET_NAME = re.compile(r"\S+\.n\.\d+")


class Meaning(NamedTuple):
    """What a class name is taken for.

    Attributes:
        synsets: WNIDs; several where it names several things, none where it names nothing.
        read_as: `wnid`, `name` (the whole of it, or one of its synonyms, is a noun), `parts` (words of it are) or
            `none`.
    """

    synsets: tuple[str, ...]
    read_as: str


def given_synset(name: str) -> str | None:
    """The WNID of a class that is called by one, alone or before its name, or by a synset's name; None for others."""
    wnid = _WNID.fullmatch(name)
    if not (wnid or _SYNSET_NAME.fullmatch(name)):
        return None
    with suppress(UserError):  # WordNet 3.0 has none such
        return find_synset(wnid[1] if wnid else name)
    return None


class ClassReader:
    """Reads class names as captions are read: with the same lexicon and choice of senses.

    Args:
        sense: `visual` or `first`, as the captions of the vocabulary were read.
    """

    def __init__(self, sense: str = "visual") -> None:
        self._lexicon = load_lexicon()
        self._extractor = SynsetExtractor(sense=sense)

    def __call__(self, name: str) -> Meaning:
        """Return what a class name means.

        A WNID, alone or before the name, or a synset's name (`crane.n.05`) is taken at its word. Otherwise the name,
        whose synonyms commas may separate, is looked up whole: underscores are spaces, and a plural its singular. If
        that is no noun, one word may say which sense of another is meant (crane bird); else each noun in it counts.
        """
        name = name.strip()
        if given := given_synset(name):
            return Meaning((given,), "wnid")
        phrases = [_words(synonym) for synonym in re.split(r"[,;]", name)]
        if whole := self._whole(phrases):
            return Meaning((whole,), "name")
        for words in phrases:
            if parts := self._parts(words):
                return Meaning(parts, "parts")
        return Meaning((), "none")

    def _whole(self, phrases: list[list[str]]) -> str | None:
        """The synset that most of the synonyms can mean; of equals the likeliest sense of the first of them."""
        lemmas = [lemma for words in phrases if (lemma := self._lemma(words))]
        if not lemmas:
            return None
        votes = Counter(wnid for lemma in dict.fromkeys(lemmas) for wnid in self._lexicon.synsets(lemma))
        senses = dict.fromkeys(wnid for lemma in lemmas for wnid in self._senses(lemma))
        return max(senses, key=lambda wnid: votes[wnid])

    def _lemma(self, words: list[str]) -> str | None:
        """The noun that words are together, the last perhaps in the plural: hot dogs, T shirt, wine glass."""
        if not words:
            return None
        if len(words) == 1 and (lemma := self._extractor.read(words[0]).lemma):
            return lemma
        *first, last = words
        for base in (last, *self._lexicon.noun_candidates(last)):
            joined = "_".join([*first, base])
            if lemma := self._lexicon.multiwords.get(joined) or (joined if joined in self._lexicon else None):
                return lemma
        if len(words) == 2 and min(map(len, words)) > 2:
            return self._lexicon.noun_lemma("".join(words))
        return None

    def _senses(self, lemma: str) -> list[str]:
        """The senses of a noun, the likeliest first. A class is something, even where captions give no label for it."""
        likeliest = self._extractor.senses.read(lemma, lemma).wnid
        others = [candidate.wnid for candidate in self._extractor.senses.candidates(lemma)]
        return list(dict.fromkeys([likeliest, *others] if likeliest else others))

    def _parts(self, words: list[str]) -> tuple[str, ...]:
        if told_apart := self._told_apart(words):
            return (told_apart,)
        nouns = dict.fromkeys(self._extractor(" ".join(words)))
        if not nouns:  # the tagger sees none: any word that could be one
            nouns = dict.fromkeys(
                self._senses(lemma)[0] for word in words if len(word) > 2 and (lemma := self._lemma([word]))
            )
        # Of a thing and its kind (`church building`) the thing says it all.
        above = {up for wnid in nouns for up in self._lexicon.ancestors(wnid)}
        return tuple(wnid for wnid in nouns if wnid not in above)

    def _told_apart(self, words: list[str]) -> str | None:
        """The sense of one part that lies below what the other part is: crane bird, (bird) crane."""
        for cut in range(1, len(words)):
            parts = [self._lemma(words[:cut]), self._lemma(words[cut:])]
            for one, other in (parts, parts[::-1]):
                if one and other:
                    kind = self._senses(other)[0]
                    below = [wnid for wnid in self._senses(one) if kind in self._lexicon.ancestors(wnid)]
                    if below:
                        return below[0]
        return None


def _words(text: str) -> list[str]:
    return re.sub(r"[_\-/()\[\]:.]+", " ", text.lower()).split()

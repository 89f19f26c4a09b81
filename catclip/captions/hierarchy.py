"""WordNet's noun hierarchy: what lies above a synset, how deep it lies, and synsets by their names."""

import re
from functools import cache

from catclip.captions.lexicon import load_lexicon
from catclip.errors import UserError, nearest

_NAME = re.compile(r"(.+)\.n\.(\d+)")
_WNID = re.compile(r"n\d{8}")


def path(wnid: str) -> list[str]:
    """Return the synsets from entity.n.01 down to `wnid`, both included, along first hypernyms in WordNet's order.

    KeyError for an unknown synset. One synset in forty has further hypernyms, which are left out: a path is a path.
    """
    above = _parent(wnid)
    return [*path(above), wnid] if above else [wnid]


@cache
def _parent(wnid: str) -> str | None:
    return next(iter(load_lexicon().hypernyms(wnid)), None)


@cache
def depth(wnid: str) -> int:
    """Return how many steps a synset lies below entity.n.01, by the shortest way. KeyError for an unknown synset."""
    return min((depth(above) + 1 for above in load_lexicon().hypernyms(wnid)), default=0)


def find_synset(wnid_or_name: str) -> str:
    """Return the WNID of a noun synset given as ``n02084071``, or ``dog.n.01``, or by any lemma: ``domestic_dog.n.01``.

    Raises:
        UserError: WordNet 3.0 has none such.
    """
    lexicon = load_lexicon()
    if _WNID.fullmatch(wnid_or_name):
        try:
            lexicon.lemmas(wnid_or_name)
        except KeyError:
            raise UserError(f"{wnid_or_name} is no noun synset of WordNet 3.0.") from None
        return wnid_or_name
    match = _NAME.fullmatch(wnid_or_name)
    if match is None:
        raise UserError(f"{wnid_or_name!r} is neither a WNID (n02084071) nor a synset's name (dog.n.01).")
    lemma, number = match[1].lower().replace(" ", "_"), int(match[2])
    senses = lexicon.synsets(lemma)
    if not senses:
        raise UserError(f"{wnid_or_name}: WordNet 3.0 has no noun {lemma!r}.{nearest(lemma, lexicon.words())}")
    if not 1 <= number <= len(senses):
        raise UserError(f"{wnid_or_name}: WordNet 3.0 has {lemma}.n.01 to {lemma}.n.{len(senses):02d}.")
    return senses[number - 1]

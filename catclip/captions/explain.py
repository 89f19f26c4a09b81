"""Why a caption has the labels that it has: the extractor's own decisions, word by word, with their reasons."""

from typing import NamedTuple

from catclip.captions.clean import clean, published_clean, published_tokenize, tokenize
from catclip.captions.extract import SynsetExtractor
from catclip.captions.senses import Candidate, Reading
from catclip.captions.taggers import LexiconTagger, Tagger

# The classes of taggers.FUNCTION_WORDS in words.
CLASSES = {
    "D": "determiner",
    "#": "number",
    "P": "preposition",
    "T": "to",
    "C": "conjunction",
    "X": "auxiliary",
    "B": "auxiliary",
    "O": "pronoun",
    "N": "noun",
    "S": "plural noun",
    "A": "adjective",
    "R": "adverb",
    "V": "verb",
    "G": "-ing form",
    "E": "participle",
    ",": "sign",
}


class Explanation(NamedTuple):
    """A word of a caption, or the words of a multiword noun, and what the extractor made of them.

    Attributes:
        start, stop: which tokens of the caption.
        text: as in the cleaned caption.
        tag: the tagger's, of the last word; none by the published rule.
        reading: lemma, label and reason; no lemma where the tagger sees no noun.
        candidates: the lemma's senses, those first that `captions.sense` prefers, or in WordNet's order.
    """

    start: int
    stop: int
    text: str
    tag: str
    reading: Reading
    candidates: list[Candidate]


def explain(extractor: SynsetExtractor, caption: str) -> list[Explanation]:
    """Explain each word of a caption, in order; the labels among the readings are those of ``extractor(caption)``."""
    tagger = extractor._tagger
    return _explain_published(extractor, caption) if tagger is None else _explain_default(extractor, tagger, caption)


def _explain_published(extractor: SynsetExtractor, caption: str) -> list[Explanation]:
    explained = []
    for i, token in enumerate(published_tokenize(published_clean(caption))):
        reading = extractor.read_published(token)
        candidates = extractor.senses.candidates(reading.lemma) if reading.lemma else []
        in_order = sorted(candidates, key=lambda each: each.place)
        explained.append(Explanation(i, i + 1, token, "", reading, in_order))
    return explained


def _explain_default(extractor: SynsetExtractor, tagger: Tagger, caption: str) -> list[Explanation]:
    tokens = tokenize(clean(caption))
    words = extractor.lower_but_names(tokens)
    nouns = next(iter(tagger.nouns([tokens])))
    tags, reasons = _tags(tagger, tokens)
    explained = []
    for start, stop, wnid in extractor._matches(words, nouns):
        if stop - start > 1:
            lemma = extractor._lemma_of_words(words[start:stop], nouns[start:stop])
            assert lemma is not None
            reading = extractor.senses.read(lemma, lemma)
            reading = reading._replace(why=f"multiword noun; {reading.why}")
        elif nouns[start]:
            reading = extractor.read(words[start])
        else:
            cut = "an address, file name or hashtag is cut out here" if words[start] == "|" else ""
            reading = Reading(None, None, cut or reasons[start])
        assert reading.wnid == wnid, f"{words[start:stop]} is explained as {reading.wnid}, labelled {wnid}"
        candidates = extractor.senses.candidates(reading.lemma) if reading.lemma else []
        text = " ".join(tokens[start:stop])
        explained.append(Explanation(start, stop, text, tags[stop - 1], reading, candidates))
    return explained


def _tags(tagger: Tagger, tokens: list[str]) -> tuple[list[str], list[str]]:
    """Return each token's tag, in words where it is a letter of ours, and why it would be no noun."""
    tags = tagger.tags(tokens)
    if not isinstance(tagger, LexiconTagger):
        return tags, [""] * len(tokens)
    odds = tagger.log_odds(tokens)
    reasons = ["" if each is None else f"no noun here: log odds {each:+.1f}" for each in odds]
    return [CLASSES[tag] for tag in tags], reasons

"""Which tokens of a caption are nouns: one method, `nouns`, behind it WordNet's counts and a few rules, or a model.

`lexicon` (default) needs nothing but the shipped table; `nltk` and `spacy` run a tagger of those packages; `none` takes
every word for a noun. All are picklable: a tagger travels into a worker process by name and loads itself again there.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Protocol

from catclip.captions.lexicon import Lexicon, read_table
from catclip.captions.perceptron import RememberingTagger
from catclip.errors import UserError
from catclip.paths import VOCAB

if TYPE_CHECKING:
    from spacy.language import Language


REMEMBERED = 1 << 18  # words, and words in their context, of which what was found is kept


class Tagger(Protocol):
    """What an extractor needs of a tagger."""

    def nouns(self, captions: Iterable[list[str]]) -> Iterator[list[bool]]:
        """For each caption's tokens (case kept), say of each token whether it is a noun in its context."""
        ...

    def tags(self, tokens: list[str]) -> list[str]:
        """Return a caption's tags as this tagger names them."""
        ...


class AnyWordTagger:
    """`none`: whatever has a noun entry counts as a noun."""

    def nouns(self, captions: Iterable[list[str]]) -> Iterator[list[bool]]:
        for tokens in captions:
            yield [True] * len(tokens)

    def tags(self, tokens: list[str]) -> list[str]:
        return ["any"] * len(tokens)


# ---- lexicon --------------------------------------------------------------------------------------------------------

# The closed classes of English as far as captions use them; each word stands in its likeliest class. One letter names a
# class: D determiner, # number, P preposition, T to, C conjunction, X auxiliary, B be, O pronoun; of the open ones
# N noun, S plural noun, A adjective, R adverb, V verb, G -ing form, E participle; ^ is the start, $ the end, "," any
# sign. Be is none of the auxiliaries: nouns stand before is and was, hardly ever before be (a game can be played).
# That, which and what are relative pronouns more often than determiners; someone and its kin count as nouns, as in the
# Penn Treebank.
FUNCTION_WORDS = {
    "D": "a an the this these those his her its my your our their whose some any every each another no both all "
    "either neither 's various several many few most more other such",
    "#": "one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty dozen hundred "
    "thousand",
    "P": "in on at of with by from for into onto over under through across near behind beside besides between among "
    "amongst along around about above below against inside outside during off out up down toward towards past upon "
    "without within after before beneath underneath as like per via amid atop throughout despite until since than",
    "T": "to",
    "C": "and or but nor while whilst if because so when where how why",
    "X": "is are was were been being am has have had having do does did could will would shall should may might "
    "must isn't aren't wasn't doesn't don't can't won't cannot not",
    "B": "be",
    "O": "he she it they we you i him them us me himself herself themselves itself myself yourself who whom which "
    "what that there else",
    "N": "someone somebody something anyone anybody anything everyone everybody everything nobody nothing",
    "S": "others",
}
_CLASS = {word: name for name, words in FUNCTION_WORDS.items() for word in words.split()}

_PLURAL = {"people", "police", "folk", "clothes", "crowd", "couple"}  # take a verb without -s, or stand before one

# Evidence, in log odds, that an ambiguous word is a noun: from its form, from what stands before and after it, and from
# the ratio of WordNet's counts (times RATIO). Forms: a = usually an adjective, b = also a verb's base form, s = also a
# verb in -s, g = -ing, d = participle, o = any other.
EVIDENCE: dict[str, tuple[float, dict[str, float], dict[str, float]]] = {
    "a": (
        0.4,
        {"^": 1, "#": -0.5, ",": -0.5, "C": -0.5, "S": -0.5, "X": -0.5, "B": -0.5},
        {"P": 2, "X": 2, "B": 2, ",": 1.5, "D": 0.5, "V": -1, "N": -1.5, "A": -1.5, "G": -1.5, "S": -2},
    ),
    "b": (
        1.6,
        {
            "A": 3,
            "D": 2.5,
            "N": 2,
            "P": 1,
            "E": 1,
            "^": 0.5,
            "G": 0.5,
            "R": -1,
            "X": -1,
            "B": -1,
            "O": -2,
            "S": -2.5,
            "T": -4,
        },
        {",": 1.5, "$": 1, "X": 1, "C": 1, "G": 0.5, "A": -0.5, "T": -0.5, "N": -1, "D": -1, "B": -3},
    ),
    "s": (
        2.1,
        {"A": 2.5, "D": 1.5, "P": 1.5, "G": 1, "E": 0.5, ",": -0.5, "R": -0.5, "S": -1.5, "N": -2, "O": -2.5},
        {",": 1.5, "X": 1.5, "B": 1.5, "C": 1, "V": 1, "$": 0.5, "G": 0.5, "N": -0.5, "A": -0.5, "R": -1, "D": -2.5},
    ),
    "g": (
        0.1,
        {"A": 3, "D": 2.5, "#": 0.5, "E": 0.5, "N": 0.5, "C": -0.5, ",": -1, "S": -2, "X": -3.5, "B": -3.5},
        {",": 2, "C": 1.5, "X": 0.5, "B": 0.5, "N": -0.5, "S": -0.5, "A": -1, "D": -2},
    ),
    "d": (1.2, {"D": 1}, {",": 1, "P": 0.5, "S": -0.5, "N": -1}),
    "o": (0.9, {}, {}),
}
USAGE_FILE = VOCAB / "usage.tsv"  # evidence for single words, where captions differ from the texts WordNet counted in
RATIO = {"a": 1.5, "b": 1.0, "s": 0.8, "g": 1.0, "d": 1.0, "o": 1.0}


class _Word(NamedTuple):
    """What the lexicon says about a token by itself: its likeliest class, and where context decides, how."""

    lean: str
    form: str = ""
    evidence: float = 0.0
    noun: str = "N"  # its class when it is a noun: N or S
    otherwise: str = ""  # its class when it is none


class LexiconTagger:
    """`lexicon`: noun or not from WordNet's counts, the closed classes of English and the two neighbouring words."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self._usage = {row[0]: float(row[1]) for row in read_table(USAGE_FILE, ("word", "evidence", "reason"))}
        self._look_up = lru_cache(REMEMBERED)(lambda token: self.judge(token.lower()))
        self._decide = lru_cache(REMEMBERED)(self._find_class)

    def __reduce__(self) -> tuple[type["LexiconTagger"], tuple[Lexicon]]:
        return LexiconTagger, (self.lexicon,)

    def nouns(self, captions: Iterable[list[str]]) -> Iterator[list[bool]]:
        for tokens in captions:
            yield [tag in "NS" for tag in self.tags(tokens)]

    def tags(self, tokens: list[str]) -> list[str]:
        """Return each token's class, one letter (see FUNCTION_WORDS), decided from left to right."""
        words = [self._look_up(token) for token in tokens]
        tags = []
        before = "^"
        for i, (token, word) in enumerate(zip(tokens, words, strict=True)):
            if word.form:
                after = words[i + 1].lean if i + 1 < len(words) else "$"
                before = self._decide(token, before, after)
            else:
                before = word.lean
            tags.append(before)
        return tags

    def log_odds(self, tokens: list[str]) -> list[float | None]:
        """Return the log odds of each token that it is a noun, None where the context decides nothing."""
        words = [self._look_up(token) for token in tokens]
        before = ["^", *self.tags(tokens)]
        after = [*(word.lean for word in words[1:]), "$"]
        around = zip(words, before, after, strict=False)
        return [_log_odds(word, left, right) if word.form else None for word, left, right in around]

    def _find_class(self, token: str, before: str, after: str) -> str:
        word = self._look_up(token)
        return word.noun if _log_odds(word, before, after) > 0 else word.otherwise

    def judge(self, word: str) -> _Word:
        """Return what is known of a lower-case word before its neighbours are seen."""
        if word in _CLASS:
            return _Word(_CLASS[word])
        if not word[0].isalpha():
            return _Word("#" if word[0].isdigit() else ",")
        lemma = self.lexicon.noun_lemma(word) or self.lexicon.noun_lemma(word.replace("-", "_"))
        noun = self.lexicon.counts(lemma).noun if lemma else None
        verbs = self.lexicon.verb_candidates(word)
        verb = max((self.lexicon.counts(base).verb or 0 for base in verbs), default=None)
        adjectives = self.lexicon.adjective_candidates(word)
        adj = max((self.lexicon.counts(base).adj or 0 for base in adjectives), default=None)
        adv = self.lexicon.counts(word).adv
        plural = "S" if lemma not in (word, None) or word in _PLURAL else "N"
        others = {name: count for name, count in (("V", verb), ("A", adj), ("R", adv)) if count is not None}
        if not others:
            return _Word(plural if lemma else "A" if "-" in word else "R" if word.endswith("ly") else "N")
        otherwise = max(others, key=lambda name: others[name])
        form = "o"
        if adj is not None and otherwise == "A" and (verb is None or word in verbs):
            form = "a"
        elif verb is not None:
            form = "b" if word in verbs else "g" if word.endswith("ing") else "s" if word.endswith("s") else "d"
        if otherwise == "V" and form in "gd":
            otherwise = "G" if form == "g" else "E"
        if noun is None:
            return _Word(otherwise)
        ratio = math.log((noun + 0.5) / (others[max(others, key=lambda name: others[name])] + 0.5))
        lean = otherwise if form in "gd" or ratio < 0 else plural
        evidence = EVIDENCE[form][0] + RATIO[form] * min(4.0, max(-4.0, ratio)) + self._usage.get(word, 0.0)
        return _Word(lean, form, evidence, plural, otherwise)


def _log_odds(word: _Word, before: str, after: str) -> float:
    _, evidence_before, evidence_after = EVIDENCE[word.form]
    return word.evidence + evidence_before.get(before, 0.0) + evidence_after.get(after, 0.0)


# ---- models ---------------------------------------------------------------------------------------------------------


class NltkTagger:
    """`nltk`: the averaged perceptron tagger. UserError at construction when its data is not installed."""

    def __init__(self) -> None:
        from nltk.tag.perceptron import PerceptronTagger

        try:
            self._tagger = PerceptronTagger(lang="eng")
        except LookupError:
            raise UserError(
                "captions.tagger=nltk needs NLTK's tagger data: "
                "python -m nltk.downloader averaged_perceptron_tagger_eng (or set NLTK_DATA to its folder)."
            ) from None
        self._remembering = RememberingTagger(self._tagger)

    def __reduce__(self) -> tuple[type["NltkTagger"], tuple[()]]:
        return NltkTagger, ()

    @property
    def version(self) -> str:
        """What changes when its package or its data do."""
        data = json.dumps([self._tagger.model.weights, self._tagger.tagdict], sort_keys=True)
        return f"nltk {version('nltk')} {hashlib.sha256(data.encode()).hexdigest()}"

    def nouns(self, captions: Iterable[list[str]]) -> Iterator[list[bool]]:
        for tokens in captions:
            yield [tag.startswith("NN") for tag in self.tags(tokens)]

    def tags(self, tokens: list[str]) -> list[str]:
        return self._remembering.tags(tokens)


class SpacyTagger:
    """`spacy` or `spacy:PIPELINE`: any installed spaCy pipeline with a tagger, by name or folder.

    UserError at construction when the pipeline is not installed or has no tagger.
    """

    def __init__(self, pipeline: str = "en_core_web_sm") -> None:
        self.pipeline = pipeline
        self._nlp = _load_spacy(pipeline)

    def __reduce__(self) -> tuple[type["SpacyTagger"], tuple[str]]:
        return SpacyTagger, (self.pipeline,)

    @property
    def version(self) -> str:
        """What changes when its package or its pipeline do."""
        return f"spacy {version('spacy')} {json.dumps(self._nlp.meta, sort_keys=True, default=str)}"

    def nouns(self, captions: Iterable[list[str]]) -> Iterator[list[bool]]:
        for tags in self._tag(captions):
            yield [tag.startswith("NN") for tag in tags]

    def tags(self, tokens: list[str]) -> list[str]:
        return next(self._tag([tokens]))

    def _tag(self, captions: Iterable[list[str]]) -> Iterator[list[str]]:
        from spacy.tokens import Doc

        captions = iter(captions)
        while batch := list(islice(captions, 1024)):
            # The zone frees what spaCy keeps of every word it has seen, which otherwise grows with the corpus.
            with self._nlp.memory_zone():
                docs = (Doc(self._nlp.vocab, words=tokens) for tokens in batch)
                tagged = [[token.tag_ for token in doc] for doc in self._nlp.pipe(docs, batch_size=256)]
            yield from tagged


def _load_spacy(pipeline: str) -> "Language":
    try:
        import spacy
    except ImportError:
        raise UserError("captions.tagger=spacy needs spaCy: pip install spacy") from None
    try:
        nlp = spacy.load(pipeline)
    except OSError:
        raise UserError(
            f"captions.tagger=spacy: the pipeline '{pipeline}' is not installed: python -m spacy download {pipeline} "
            "(or name another one, or its folder: captions.tagger=spacy:PIPELINE)."
        ) from None
    if "tagger" not in nlp.pipe_names:
        raise UserError(
            f"captions.tagger=spacy: '{pipeline}' has no tagger, only {', '.join(nlp.pipe_names) or 'nothing'}."
        )
    nlp.select_pipes(enable=[name for name in nlp.pipe_names if name in ("tok2vec", "transformer", "tagger")])
    return nlp

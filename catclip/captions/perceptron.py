"""NLTK's averaged perceptron tagger, many times as fast: what each word adds to the scores is added up once and kept.

A tag is the class with the highest sum of weights, one for each feature (Honnibal, "A good part-of-speech tagger in
about 200 lines of Python", 2013). A feature is a word near by, its last letters, or the tags before. NLTK looks up
fourteen features for each token, and the weights of 45 classes for each feature.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nltk.tag.perceptron import PerceptronTagger

_WEIGHTS = 1000  # NLTK rounds weights to thousandths, so that sums of them as whole numbers are exact
_KEPT = 1 << 16  # words, each in every place; of each some hundred bytes
_KEPT_CONTEXTS = 1 << 18


class RememberingTagger:
    """Gives the tags of a `PerceptronTagger`: where two classes have the same score, the later one by name."""

    def __init__(self, tagger: "PerceptronTagger") -> None:
        self._known = tagger.tagdict  # words that have one tag whatever stands beside them
        self._start, self._end = tagger.START, tagger.END
        self._weights = tagger.model.weights
        # argmax takes the first of equals.
        self._classes = sorted(tagger.model.classes, reverse=True)
        self._places = {name: place for place, name in enumerate(self._classes)}
        self._normalize = lru_cache(_KEPT)(tagger.normalize)
        self._own = lru_cache(_KEPT)(self._score_own)
        self._before = lru_cache(_KEPT)(lambda word: self._sum(f"i-1 word {word}", f"i-1 suffix {word[-3:]}"))
        self._before_that = lru_cache(_KEPT)(lambda word: self._sum(f"i-2 word {word}"))
        self._after = lru_cache(_KEPT)(lambda word: self._sum(f"i+1 word {word}", f"i+1 suffix {word[-3:]}"))
        self._after_that = lru_cache(_KEPT)(lambda word: self._sum(f"i+2 word {word}"))
        self._tags = lru_cache(_KEPT)(
            lambda tag, other: self._sum(f"i-1 tag {tag}", f"i-2 tag {other}", f"i tag+i-2 tag {tag} {other}")
        )
        self._tag_in_context = lru_cache(_KEPT_CONTEXTS)(self._find_tag)

    def tags(self, tokens: list[str]) -> list[str]:
        """Return the tag of each token, as `PerceptronTagger.tag` gives it."""
        context = (*self._start, *map(self._normalize, tokens), *self._end)
        before, before_that = self._start
        tags = []
        for i, token in enumerate(tokens):
            tag = self._known.get(token) or self._tag_in_context(token, context[i : i + 5], before, before_that)
            tags.append(tag)
            before_that, before = before, tag
        return tags

    def _find_tag(self, token: str, context: tuple[str, ...], before: str, before_that: str) -> str:
        """Return the tag of the token in the middle of five words, by these and the two tags before it."""
        scores = self._own(token, context[2], before) + self._tags(before, before_that)
        scores += self._before_that(context[0])
        scores += self._before(context[1])
        scores += self._after(context[3])
        scores += self._after_that(context[4])
        return self._classes[int(scores.argmax())]

    def _score_own(self, token: str, word: str, before: str) -> np.ndarray:
        return self._sum(
            "bias", f"i suffix {token[-3:]}", f"i pref1 {token[0]}", f"i word {word}", f"i-1 tag+i word {before} {word}"
        )

    def _sum(self, *features: str) -> np.ndarray:
        """Return int64 [C], the sums of some features' weights for each class."""
        scores = np.zeros(len(self._classes), np.int64)
        for feature in features:
            for name, weight in self._weights.get(feature, {}).items():
                scores[self._places[name]] += round(weight * _WEIGHTS)
        return scores

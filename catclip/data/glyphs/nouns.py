"""Noun phrases for objects: singulars, plurals, articles and numbers of English."""

from random import Random

from catclip.data.glyphs.objects import KINDS

_IRREGULAR = {
    "mouse": "mice",
    "leaf": "leaves",
    "knife": "knives",
    "snowman": "snowmen",
    "fish": "fish",
    "die": "dice",
    "cactus": "cacti",
    "lightning": "lightning",
}
_PAIRS = frozenset(("scissors", "trousers", "sunglasses"))  # nouns without a singular, counted in pairs
_MASS = frozenset(("lightning",))
_NUMBERS = {2: "two", 3: "three", 4: "four"}


def plural(lemma: str) -> str:
    """The plural of a lemma; of a compound, that of its last word."""
    head, space, last = lemma.rpartition(" ")
    return head + space + _plural_word(last)


def _plural_word(word: str) -> str:
    if word in _PAIRS:
        return word
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def known_words() -> set[str]:
    """Every word, singular or plural, that a caption may use to name an object."""
    lemmas = [noun.replace("_", " ") for kind in KINDS for noun in kind.nouns]
    return {*lemmas, *(plural(lemma) for lemma in lemmas)}


def counted(lemma: str, count: int, adjectives: str, rng: Random) -> str:
    """An indefinite phrase such as "a red car", "two pairs of scissors" or "several dice"."""
    if lemma in _MASS:
        return join(
            rng.choice(("a bolt of", "a flash of")) if count == 1 else f"{_NUMBERS[count]} bolts of", adjectives, lemma
        )
    if lemma in _PAIRS:
        if count > 1:
            return join(f"{_NUMBERS[count]} pairs of", adjectives, lemma)
        return join(rng.choice(("a pair of", "a pair of", "some")), adjectives, lemma)
    if count == 1:
        phrase = join(adjectives, lemma)
        return f"{indefinite_article(phrase)} {phrase}"
    quantities = [_NUMBERS[count]] * 4 + [str(count), "a pair of" if count == 2 else "several", "some"]
    return join(rng.choice(quantities), adjectives, plural(lemma))


def bare(lemma: str, count: int, adjectives: str) -> str:
    """The phrase as titles have it, without article or number: "red car", "dice"."""
    return join(adjectives, lemma if count == 1 else plural(lemma))


def definite(lemma: str, count: int, adjectives: str) -> str:
    """The phrase with "the", its number understood."""
    return f"the {bare(lemma, count, adjectives)}"


def takes_plural_verb(phrase: str, lemma: str, count: int) -> bool:
    """Whether "are" rather than "is" follows the phrase."""
    if lemma in _PAIRS:
        return not phrase.startswith("a pair")
    return count > 1 and not (lemma in _MASS and phrase.endswith(f"the {lemma}"))


def indefinite_article(phrase: str) -> str:
    """ "an" before a vowel sound."""
    return "an" if phrase[0].lower() in "aeiou" or phrase.startswith("hour") else "a"


def join(*words: str) -> str:
    """The words that are not empty, with spaces between."""
    return " ".join(word for word in words if word)

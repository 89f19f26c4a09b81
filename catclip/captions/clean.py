"""Caption text → clean text → tokens, for both rules. Addresses, markup and file names are taken out here."""

import html
import re
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from nltk.tokenize import NLTKWordTokenizer

# ---- default rule ---------------------------------------------------------------------------------------------------

_MARKUP = re.compile(r"<[^<>]{1,500}>")
# Nothing in a caption without these can be noise, and most captions have none.
_NOISE_HINT = re.compile(r"[@#_/\\]|\w\.\w|www")
_NOISE = re.compile(
    r"(?:https?://|ftp://|\bwww\.(?=\w))\S+"
    r"|(?<!\S)\S+@(?=\w)\S+\.\w+"
    r"|(?<!\w)[@#]\w[\w-]*"
    r"|(?<!\S)\S+\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg|heic|raw|cr2|nef|psd|eps|pdf|html?|php|aspx?|zip|mp[34]|avi|mov|txt|docx?)\b"
    r"|\b[\w-]+(?:\.[\w-]+){0,5}\.(?:com|net|org|edu|gov|info|biz|io|co|uk|de|ru|fr|jp|ca|au)\b(?:/\S*)?"
    r"|\w*_\w*",
    re.IGNORECASE,
)
# A word with inner hyphens and apostrophes, but for the possessive 's, which is a token; else something with digits in
# it; else one sign. Bounded and possessive, so that no input makes it slow.
_TOKEN = re.compile(r"[^\W\d_]++(?:(?!'[sS]\b)['-]{1,2}+[^\W\d_]++){0,7}+(?!\w)|'[sS]\b|\w+(?:[.,:]\d+){0,7}|[^\w\s]")
SENTENCE_BREAKS = (".", "!", "?", ":", "|")  # after these a word has a capital whatever it is
LONGEST = 4096  # characters of a caption that are read; what comes after is no caption, and patterns would hang on it
# Noise leaves this sign behind: the words on its two sides are no neighbours.
_GAP = " | "


def clean(caption: str) -> str:
    """Return the caption with its encoding repaired and addresses, hashtags, file names and markup cut out.

    Case stays, because taggers use it. Of a longer text only the first `LONGEST` characters are read.
    """
    text = _unquoted(caption[:LONGEST])
    if "<" in text:
        text = _MARKUP.sub(" ", text)
    if "&" in text:
        text = html.unescape(text)
    text = _fix_encoding(text)
    if _NOISE_HINT.search(text):
        text = _NOISE.sub(_GAP, text)
    return text


def tokenize(text: str) -> list[str]:
    """Return words, numbers and signs of a cleaned caption, in order: ``["A", "man", "'s", "hat", ",", "9.99"]``."""
    return _TOKEN.findall(text)


# ---- published rule -------------------------------------------------------------------------------------------------

_PUBLISHED_MARKUP = re.compile(r"<.*?>")
_SPACES = re.compile(r" +")
# Where NLTK's punkt ends a sentence in lower-cased English: at every word with one of these signs, but not after an
# abbreviation that it knows. Listed are those that without their dot would give a label.
_SENTENCE_END = re.compile(
    r"(?<=[.!?])"
    + "".join(rf"(?<!\b{word}\.)" for word in ["ala", "col", "gen", "ore", "rep", "reps", "sen", "wash"])
    + r"[)\]}\"'»”’]*\s+"
)
# Captions in which NLTK's tokeniser does no more than split at spaces and commas and take off the last dot …
_PLAIN = re.compile(r"(?:[a-z0-9 ]|, |-(?!-))*+\.?")
# … except that it takes these words apart.
_SPLIT_WORDS = re.compile(r"cannot|gimme|gonna|gotta|lemme|wanna")


def published_clean(caption: str) -> str:
    """Return the caption as the published rule cleans it (CatLIP, arXiv 2404.15653, public code)."""
    text = _PUBLISHED_MARKUP.sub("", _unquoted(caption)).strip("\n")
    return _fix_encoding(_SPACES.sub(" ", text)).strip().lower()


def published_tokenize(text: str) -> list[str]:
    """Return the tokens that NLTK's `word_tokenize` gives for a cleaned caption, without its punkt data.

    Its sentence splitter matters only for the dot that ends a sentence inside the caption, which is then taken off the
    word; the rules above reproduce that for every token that can give a label.
    """
    if _PLAIN.fullmatch(text) and not _SPLIT_WORDS.search(text):
        words = text.removesuffix(".").replace(", ", " , ").split()
        return [*words, "."] if text.endswith(".") else words
    return [token for sentence in _SENTENCE_END.split(text) for token in _treebank().tokenize(sentence)]


def _unquoted(caption: str) -> str:
    return (unquote(caption) if "%" in caption else caption).replace("+", " ")


def _fix_encoding(text: str) -> str:
    """`ftfy.fix_text`, called only where it can change something: it costs more than all the rest."""
    if text.isascii() and text.isprintable() and "&" not in text:
        return text
    import ftfy

    return ftfy.fix_text(text)


@cache
def _treebank() -> "NLTKWordTokenizer":
    from nltk.tokenize import NLTKWordTokenizer

    return NLTKWordTokenizer()

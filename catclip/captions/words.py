"""The words of captions as labels: the bag of words with which CLIP is compared (arXiv 2103.00020, section 2.3).

Every word counts, whatever its part of speech; none is looked up in WordNet.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from catclip.captions.clean import clean, tokenize
from catclip.captions.sources.patterns import weighted_files
from catclip.captions.sources.reading import read_captions
from catclip.errors import UserError
from catclip.files import write_atomically

COLUMNS = ("index", "word", "count")


def caption_words(caption: str) -> list[str]:
    """Return the words of a caption, lower-case, in order; numbers and signs are none."""
    return [token.lower() for token in tokenize(clean(caption)) if token[0].isalpha()]


class WordVocabulary:
    """Words by falling count; a word's index is its place.

    Attributes:
        names: the words.
        counts: in how many captions of the corpus each stands.
        metadata: how it was made; all values are text.
    """

    def __init__(self, names: Iterable[str], counts: Iterable[int], metadata: Mapping[str, str]) -> None:
        self.names, self.counts, self.metadata = list(names), list(counts), dict(metadata)
        assert len(self.names) == len(self.counts)
        self._index = {name: index for index, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def labels(self, caption: str) -> list[int]:
        """Return the indices of a caption's words, sorted, each once."""
        return sorted({self._index[word] for word in caption_words(caption) if word in self._index})

    @property
    def digest(self) -> str:
        """32 hexadecimal digits, the same for vocabularies that turn the same words into the same indices."""
        return hashlib.sha256("\t".join(("words", *self.names)).encode()).hexdigest()[:32]

    def save(self, path: str | Path) -> None:
        """Write the TSV file, atomically: metadata as ``# key=value``, then index, word and count."""
        metadata = [f"# {key}={' '.join(value.split())}" for key, value in self.metadata.items()]
        rows = ("\t".join(map(str, row)) for row in zip(range(len(self)), self.names, self.counts, strict=True))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(Path(path), "".join(f"{line}\n" for line in (*metadata, "\t".join(COLUMNS), *rows)))

    @classmethod
    def load(cls, path: str | Path) -> "WordVocabulary":
        """Read a file that `save` wrote.

        Raises:
            UserError: there is none, or it is malformed; the message names file and line.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"The vocabulary {path} cannot be read: {error}. `catclip vocab rule=words` makes one."
            ) from error
        start = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
        if start == len(lines) or tuple(lines[start].split("\t")) != COLUMNS:
            raise UserError(
                f"{path}, line {start + 1}: the columns of a vocabulary of words are {', '.join(COLUMNS)}, "
                "tab-separated. `catclip vocab rule=words` makes one."
            )
        names: dict[str, int] = {}
        for number, line in enumerate(lines[start + 1 :], start + 2):
            index, _, rest = line.partition("\t")
            word, _, count = rest.partition("\t")
            if index != str(len(names)) or not word or word in names or not (count.isascii() and count.isdigit()):
                raise UserError(f"{path}, line {number}: {line!r} is not index, word and count of one word more.")
            names[word] = int(count)
        return cls(names, names.values(), dict(line[1:].strip().split("=", 1) for line in lines[:start] if "=" in line))


def count_words(
    sources: Any,
    caption_key: str | None,
    captions: str,
    progress: Callable[[int, int, int | None], None] | None = None,
) -> tuple[Counter[str], int]:
    """Return in how many captions each word stands, weighted and rounded, and the number of captions.

    Args:
        sources: as `weighted_files` takes them.
        caption_key: as `read_captions` takes it.
        captions: of several captions of a sample, `first` counts the first; `sample` and `all` count all.
        progress: is told of captions, bytes and None after each stretch of a file.

    Raises:
        UserError: what reading the files raises.
    """
    counts: dict[str, Fraction] = {}
    total = Fraction(0)
    for path, weight in weighted_files(sources):
        in_file: Counter[str] = Counter()
        for chunk in read_captions(path, caption_key, captions == "first"):
            for caption in chunk.captions.to_pylist():
                in_file.update(set(caption_words(caption)))
            total += len(chunk.captions) * weight
            if progress:
                progress(len(chunk.captions), chunk.size, None)
        for word, count in in_file.items():
            counts[word] = counts.get(word, Fraction(0)) + count * weight
    return Counter({word: round(count) for word, count in counts.items()}), round(total)


def make_word_vocabulary(
    counts: Mapping[str, int], captions: int, tau: int, top_k: int | None, created_from: str
) -> WordVocabulary:
    """Return the words that stand in at least `tau` captions, at most the `top_k` most frequent; ties by the alphabet.

    Raises:
        UserError: there are none.
    """
    kept = sorted((word for word, count in counts.items() if count >= tau), key=lambda word: (-counts[word], word))
    if not kept:
        most = max(counts.values(), default=0)
        if not most:
            raise UserError(f"None of the {captions:,} captions has a word; is data.caption_key right?")
        raise UserError(
            f"tau={tau} leaves no words: the most frequent one stands in {most:,} of {captions:,} captions. The "
            f"largest tau that leaves any is {most}."
        )
    metadata = {"rule": "words", "tau": str(tau), "captions": str(captions), "created_from": created_from}
    if top_k is not None:
        metadata["top_k"] = str(top_k)
        kept = kept[:top_k]
    return WordVocabulary(kept, (counts[word] for word in kept), metadata)

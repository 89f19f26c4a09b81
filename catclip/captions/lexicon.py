"""The noun lexicon: word or multiword → WordNet 3.0 synsets, hypernyms, categories, counts and morphology.

It reads the table that `scripts/build_lexicon.py` makes, so nothing has to be downloaded. Lines are split when a word
is first asked for: of 117,798 nouns a corpus of captions uses a few thousand.
"""

import hashlib
import lzma
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from catclip.errors import UserError
from catclip.paths import VOCAB

LEXICON_FILE = VOCAB / "lexicon.txt.xz"
RULES = 4  # one more when the code makes other labels of the same tables

# WordNet's lexicographer files 3 to 28, by number (lexnames(5WN)).
CATEGORIES = dict(
    enumerate(
        [
            "tops",
            "act",
            "animal",
            "artifact",
            "attribute",
            "body",
            "cognition",
            "communication",
            "event",
            "feeling",
            "food",
            "group",
            "location",
            "motive",
            "object",
            "person",
            "phenomenon",
            "plant",
            "possession",
            "process",
            "quantity",
            "relation",
            "shape",
            "state",
            "substance",
            "time",
        ],
        start=3,
    )
)

# Detachment rules of morphy(7WN): ending of the inflected form → ending of the base form, in WordNet's order.
NOUN_ENDINGS = (
    ("s", ""),
    ("ses", "s"),
    ("ves", "f"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("men", "man"),
    ("ies", "y"),
)
VERB_ENDINGS = (
    ("s", ""),
    ("ies", "y"),
    ("es", "e"),
    ("es", ""),
    ("ed", "e"),
    ("ed", ""),
    ("ing", "e"),
    ("ing", ""),
)


class Counts(NamedTuple):
    """How often a word stands in WordNet's sense-tagged texts as what; None where it has no such entry."""

    noun: int | None
    verb: int | None
    adj: int | None
    adv: int | None


_NO_WORD = Counts(None, None, None, None)


class Lexicon:
    """The noun table in memory. Use `load_lexicon`, which shares one instance per file.

    Words are lower case with ``_`` between the parts of a multiword, as in WordNet's index; synsets are WNIDs: ``n``
    and the offset in WordNet 3.0's data.noun, zero-padded to 8 digits as ImageNet writes them (``n02084071``).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # What is read out of a line is kept: a corpus asks for few words, but often.
        self._read_senses = cache(self._find_senses)
        self._read_counts = cache(self._find_counts)
        sections = _read_sections(path)
        self._synsets: dict[str, str] = _keyed(sections["synsets"])
        self._nouns: dict[str, str] = _keyed(sections["nouns"])
        self._others: dict[str, str] = _keyed(sections["others"])
        self._noun_exceptions: dict[str, str] = _keyed(sections["noun_exc"])
        self._verb_exceptions: dict[str, str] = _keyed(sections["verb_exc"])
        self._adj_exceptions: dict[str, str] = _keyed(sections["adj_exc"])

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return load_lexicon, (self.path,)

    def __contains__(self, word: str) -> bool:
        return word in self._nouns

    def __len__(self) -> int:
        return len(self._nouns)

    def words(self) -> list[str]:
        """All noun lemmas, multiwords among them, sorted."""
        return list(self._nouns)

    @cached_property
    def multiwords(self) -> dict[str, str]:
        """Multiword nouns by their words joined with ``_``, hyphens taken for spaces: ``t_shirt`` → ``t-shirt``."""
        joined = {word.replace("-", "_"): word for word in self._nouns if "-" in word}
        return joined | {word: word for word in self._nouns if "_" in word and "-" not in word}

    def wnids(self) -> list[str]:
        """All noun synsets, sorted."""
        return [f"n{offset}" for offset in self._synsets]

    # ---- words --------------------------------------------------------------------------------------------------

    def synsets(self, word: str) -> list[str]:
        """Return the synsets of a noun lemma in sense order, none for other words, inflected forms among them."""
        return [wnid for wnid, _ in self.senses(word)]

    def senses(self, word: str) -> tuple[tuple[str, int], ...]:
        """Return (synset, its count) for each sense of a noun lemma, in sense order."""
        return self._read_senses(word) if word in self._nouns else ()

    def _find_senses(self, word: str) -> tuple[tuple[str, int], ...]:
        line = self._nouns[word]
        pairs = (item.partition(":") for item in line.partition("\t")[0].split(" "))
        return tuple((f"n{offset}", int(count or 0)) for offset, _, count in pairs)

    def counts(self, word: str) -> Counts:
        """Return how often a lemma is noun, verb, adjective, adverb in WordNet's own counts (not its inflections)."""
        return self._read_counts(word) if word in self._nouns or word in self._others else _NO_WORD

    def _find_counts(self, word: str) -> Counts:
        if word in self._nouns:
            noun: int | None = sum(count for _, count in self.senses(word))
            rest = self._nouns[word].partition("\t")[2]
        else:
            noun = None
            rest = self._others[word]
        verb, adj, adv = (int(count) if count else None for count in (rest or "\t\t").split("\t"))
        return Counts(noun, verb, adj, adv)

    def irregular_nouns(self) -> list[str]:
        """Return the forms that morphy(7WN) lists with their base rather than takes apart: geese, men, wolves."""
        return list(self._noun_exceptions)

    # ---- synsets ------------------------------------------------------------------------------------------------

    def lemmas(self, wnid: str) -> list[str]:
        """Return a synset's lemmas, spelt as WordNet spells them, the head first. KeyError for an unknown synset."""
        return self._synset_fields(wnid)[2].split(" ")

    def hypernyms(self, wnid: str) -> list[str]:
        """Return the synsets directly above, those that it is an instance of included."""
        return [f"n{offset.lstrip('=')}" for offset in self._synset_fields(wnid)[1].split()]

    def is_instance(self, wnid: str) -> bool:
        """Whether the synset is one individual (Paris, Einstein) rather than a kind of thing."""
        return self._synset_fields(wnid)[1].startswith("=")

    def individuals(self, category: str) -> Iterator[list[str]]:
        """Yield the lemmas, as in `lemmas`, of each individual of one of WordNet's categories."""
        number = next(number for number, name in CATEGORIES.items() if name == category)
        start = f"{number}\t="
        return (line.split("\t")[2].split(" ") for line in self._synsets.values() if line.startswith(start))

    def category(self, wnid: str) -> str:
        """Return the lexicographer's category of a synset without its ``noun.``: animal, artifact, person, act …"""
        return CATEGORIES[int(self._synset_fields(wnid)[0])]

    def name(self, wnid: str) -> str:
        """Return NLTK's name of a synset (``dog.n.01``): its head lemma and its place among that lemma's senses."""
        head = self.lemmas(wnid)[0].lower()
        return f"{head}.n.{self.synsets(head).index(wnid) + 1:02d}"

    def ancestors(self, wnid: str) -> set[str]:
        """Return all synsets above, without `wnid` itself."""
        above: set[str] = set()
        below = [wnid]
        while below:
            new = [hypernym for hypernym in self.hypernyms(below.pop()) if hypernym not in above]
            above.update(new)
            below.extend(new)
        return above

    def _synset_fields(self, wnid: str) -> list[str]:
        return self._synsets[wnid[1:]].split("\t")

    # ---- morphology ---------------------------------------------------------------------------------------------

    def noun_candidates(self, form: str) -> list[str]:
        """Return the noun lemmas that `form` may be an inflection of, or be itself, in the order of morphy(7WN)."""
        return _morphy(form, self._nouns, self._noun_exceptions, NOUN_ENDINGS)

    def verb_candidates(self, form: str) -> list[str]:
        """Return the verb lemmas that `form` may be an inflection of, or be itself."""
        candidates = [*_bases(form, self._verb_exceptions), form]
        candidates += [form.removesuffix(old) + new for old, new in VERB_ENDINGS if form.endswith(old)]
        if form.endswith(("ed", "ing")):  # not in morphy, which leaves doubled consonants to its list: jogging, zipping
            stem = form.removesuffix("ed").removesuffix("ing")
            candidates += [stem[:-1]] if len(stem) > 3 and stem[-1] == stem[-2] else []
        return [word for word in dict.fromkeys(candidates) if self.counts(word).verb is not None]

    def adjective_candidates(self, form: str) -> list[str]:
        """Return the adjective lemmas that `form` may be a comparative or superlative of, or be itself."""
        candidates = [form, *_bases(form, self._adj_exceptions)]
        candidates += [form.removesuffix(end) + e for end in ("er", "est") if form.endswith(end) for e in ("", "e")]
        return [word for word in dict.fromkeys(candidates) if self.counts(word).adj is not None]

    def noun_lemma(self, form: str) -> str | None:
        """Return the one lemma that `form` most likely stands for, or None when it is no form of a noun.

        A form may be an entry of its own as well as an inflection (men: a work force, or the plural of man). The more
        frequent lemma in WordNet's counts wins; the entry itself wins a tie.
        """
        candidates = self.noun_candidates(form)
        if len(candidates) < 2:
            return candidates[0] if candidates else None
        return max(candidates, key=lambda word: self.counts(word).noun or 0)


def load_lexicon(path: Path = LEXICON_FILE) -> Lexicon:
    """Return the lexicon of a file, read once per process.

    Raises:
        UserError: the file is missing or is no lexicon table.
    """
    return _load_once(path)


@cache
def _load_once(path: Path) -> Lexicon:
    return Lexicon(path)


def lexicon_version() -> str:
    """Return what turns words into labels: WordNet's version, and a digest of the shipped files and of `RULES`."""
    tables = (LEXICON_FILE, VOCAB / "senses.tsv", VOCAB / "usage.tsv")
    digest = hashlib.sha256(b"".join([*(table.read_bytes() for table in tables), b"%d" % RULES])).hexdigest()
    return f"wordnet-3.0-{digest[:12]}"


def read_table(path: Path, columns: tuple[str, ...]) -> list[list[str]]:
    """Return the rows of one of the reviewed tables beside the lexicon: TSV with ``#`` comments and a header line."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert tuple(lines[0].split("\t")) == columns, f"{path} has other columns than {columns}"
    rows = [line.split("\t") for line in lines[1:]]
    assert all(len(row) == len(columns) for row in rows), f"{path} has a row of another length than its header"
    return rows


def _read_sections(path: Path) -> dict[str, list[str]]:
    try:
        text = lzma.decompress(path.read_bytes()).decode("ascii")
    except FileNotFoundError:
        raise UserError(
            f"The noun lexicon {path} is missing; scripts/build_lexicon.py makes it from WordNet 3.0."
        ) from None
    except (lzma.LZMAError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a noun lexicon ({error}); scripts/build_lexicon.py makes one.") from None
    sections = {}
    for block in text.split("\n[")[1:]:
        name, _, body = block.partition("]\n")
        sections[name] = body.splitlines()
    missing = {"synsets", "nouns", "others", "noun_exc", "verb_exc", "adj_exc"} - sections.keys()
    if missing:
        raise UserError(f"{path} is not a noun lexicon: it lacks the sections {', '.join(sorted(missing))}.")
    return sections


def _keyed(lines: list[str]) -> dict[str, str]:
    return dict(line.split("\t", 1) for line in lines)


def _bases(form: str, exceptions: dict[str, str]) -> list[str]:
    return exceptions[form].split("\t") if form in exceptions else []


def _morphy(
    form: str, entries: dict[str, str], exceptions: dict[str, str], endings: tuple[tuple[str, str], ...]
) -> list[str]:
    """The search of morphy(7WN): the form itself, then its irregular bases, or else the endings taken off once."""
    bases = _bases(form, exceptions) or [form[: -len(old)] + new for old, new in endings if form.endswith(old)]
    return [word for word in dict.fromkeys([form, *bases]) if word in entries]

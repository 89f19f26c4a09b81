"""Class names → rows of a vocabulary, as a report that can be read, edited and fed back."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import dropwhile
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table

from catclip.captions import Vocabulary
from catclip.captions.hierarchy import find_synset
from catclip.captions.lexicon import load_lexicon
from catclip.errors import UserError, check_choice
from catclip.files import write_atomically, writing
from catclip.transfer.matching import ClassReader
from catclip.transfer.similarity import Neighbourhood

STRATEGIES = ("nearest", "hypernym", "exact")
# From the surest to the least sure. `given`: by the user, in an edited file; `partly`: some of its synsets have no row.
HOW = ("exact", "rollup", "given", "hypernym", "nearest", "partly", "none")
_DIGEST = re.compile(r"^# vocabulary_digest=(\w+)", re.MULTILINE)
_COLUMNS = ("class", "read_as", "synsets", "synset_names", "rows", "row_names", "how", "similarity")


class Match(NamedTuple):
    """What stands for a class in a vocabulary.

    Attributes:
        name: the class.
        read_as: how its name was read: see `Meaning`.
        synsets: WNIDs that the name means.
        rows: indices in the vocabulary; several are averaged, none means that nothing is known of the class.
        how: the least sure way by which a row was found, one of `HOW`.
        similarity: path similarity of synsets and rows, the mean of several, 0 for one without a row; None where there
            is no row at all.
    """

    name: str
    read_as: str
    synsets: tuple[str, ...]
    rows: tuple[int, ...]
    how: str
    similarity: float | None


class Mapping:
    """A match for each class of a task, in the order of their indices."""

    def __init__(self, matches: Iterable[Match], vocabulary: Vocabulary) -> None:
        self.matches = list(matches)
        self.vocabulary = vocabulary

    def __len__(self) -> int:
        return len(self.matches)

    @property
    def names(self) -> list[str]:
        return [match.name for match in self.matches]

    @property
    def rows(self) -> list[tuple[int, ...]]:
        """Of each class the rows of the vocabulary."""
        return [match.rows for match in self.matches]

    def shares(self) -> dict[str, float]:
        """The share of the classes by how a row was found, in the order of `HOW`; those that occur."""
        counts = Counter(match.how for match in self.matches)
        return {how: counts[how] / len(self) for how in HOW if counts[how]}

    def same_rows(self) -> list[list[str]]:
        """The classes, two or more, that have the same rows: no head can tell them apart before it is trained."""
        groups: dict[tuple[int, ...], list[str]] = {}
        for match in self.matches:
            if match.rows:
                groups.setdefault(tuple(sorted(match.rows)), []).append(match.name)
        return [names for names in groups.values() if len(names) > 1]

    # ---- report -------------------------------------------------------------------------------------------------

    def summary(self) -> str:
        """In a sentence or three: the shares, what has no row, and what cannot be told apart."""
        near = {how: self.similarity(how) for how in ("hypernym", "nearest")}
        shares = [
            f"{share:.1%} {how}" + (f" (similarity {value:.2f})" if (value := near.get(how)) is not None else "")
            for how, share in self.shares().items()
        ]
        text = f"{len(self):,} classes: {', '.join(shares)}"
        if none := [match.name for match in self.matches if not match.rows]:
            text += f". Without a row: {_some(none)}"
        if same := self.same_rows():
            text += f". On one row, and so alike: {_some([_equation(names) for names in same], 3)}"
        return text + "."

    def similarity(self, how: str) -> float | None:
        """The mean path similarity of the classes whose row was found so; None where there are none."""
        found = [match.similarity for match in self.matches if match.how == how and match.similarity is not None]
        return fmean(found) if found else None

    def table(self, most: int = 40) -> Table:
        """The matches to look at: the least sure ones first, `most` of them."""
        table = Table(box=None, pad_edge=False)
        for column in ("class", "synset", "row", "how", "similarity"):
            table.add_column(column, justify="right" if column == "similarity" else "left", overflow="fold")
        name = load_lexicon().name
        for match in sorted(self.matches, key=lambda match: (-HOW.index(match.how), match.similarity or 0))[:most]:
            rows = " + ".join(self.vocabulary.names[row] for row in match.rows)
            similarity = "" if match.similarity is None else f"{match.similarity:.2f}"
            synsets = " + ".join(map(name, match.synsets))
            table.add_row(escape(match.name), synsets, rows, match.how, similarity)
        return table

    def save(self, path: Path, **metadata: object) -> None:
        """Write the report as TSV: all matches, a row each, in the order of the classes.

        Raises:
            UserError: it cannot be written there.
        """
        name = load_lexicon().name
        said = {"vocabulary_digest": self.vocabulary.digest, **metadata}
        text = io.StringIO("".join(f"# {key}={value}\n" for key, value in said.items()))
        text.seek(0, io.SEEK_END)
        table = csv.writer(text, delimiter="\t", lineterminator="\n")  # quotes what would not be read as it is
        table.writerow(_COLUMNS)
        for match in self.matches:
            rows = [self.vocabulary.wnids[row] for row in match.rows]
            names = [self.vocabulary.names[row] for row in match.rows]
            similarity = "" if match.similarity is None else f"{match.similarity:.4f}"
            fields = (match.synsets, map(name, match.synsets), rows, names)
            joined = (" ".join(field) for field in fields)
            table.writerow([match.name, match.read_as, *joined, match.how, similarity])
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text.getvalue())


def map_classes(names: Sequence[str], vocabulary: Vocabulary, strategy: str = "nearest") -> Mapping:
    """Find the rows of a vocabulary that stand for classes (Transfer-Init, CatLIP, arXiv 2404.15653, section 5).

    A class's synset is a label itself (`exact`), is rolled up into one (`rollup`), or else has the label next to it:
    by WordNet path similarity (`nearest`, as the paper has it), or its nearest hypernym (`hypernym`). Ties: a hyponym
    before a hypernym before others, then the more frequent label.

    Args:
        names: classes: WNIDs, names of synsets, or words (see `ClassReader`).
        vocabulary: whose rows.
        strategy: `nearest`, `hypernym`, or `exact`: nothing but exact and rolled-up matches.

    Raises:
        UserError: an unknown strategy, no classes, numbers for names, a name that is no line without tabs, or not one
            of them matches anything.
    """
    check_choice("strategy", strategy, STRATEGIES)
    if not names:
        raise UserError("There are no classes to map.")
    if isinstance(names, str):  # its letters would be
        raise UserError(f"'{names}' is one name, and classes are a list of them: ['{names}'].")
    if all(name.strip().isdigit() for name in names):  # `0` is a noun, but hardly what the first class is
        raise UserError(
            f"The classes have numbers for names ({_some(names, 3)}), which say nothing of what is in the pictures: "
            "rename the folders, name those of shards or a table by data.classes=FILE, or say which rows stand for "
            "them in a .tsv as `catclip map` writes it."
        )
    if bad := next((name for name in names if "\t" in name or "".join(name.splitlines()) != name), None):
        raise UserError(f"Class {bad!r}: a name is a line without tabs, or no table can hold it. Rename it.")
    finder = _Finder(vocabulary, strategy)
    read = ClassReader(_sense(vocabulary))
    matches = []
    for name in names:
        meaning = read(name)
        found = [each for wnid in meaning.synsets if (each := finder(wnid))]
        rows = tuple(dict.fromkeys(row for row, _, _ in found))
        how = max((how for _, how, _ in found), key=HOW.index, default="none")
        if 0 < len(found) < len(meaning.synsets):
            how = "partly"
        similarity = sum(each for _, _, each in found) / len(meaning.synsets) if found else None
        matches.append(Match(name, meaning.read_as, meaning.synsets, rows, how, similarity))
    if not any(match.rows for match in matches):
        raise UserError(
            f"None of the {len(names):,} classes matches a label of the vocabulary (the first is {names[0]!r}): give "
            "them as English nouns, WNIDs (n02084071) or names of synsets (dog.n.01)."
        )
    return Mapping(matches, vocabulary)


def _sense(vocabulary: Vocabulary) -> str:
    """How words were read where these labels come from. The published rule knows first senses only."""
    if vocabulary.metadata.get("rule") == "reference":
        return "first"
    return vocabulary.metadata.get("sense", "visual")


class _Finder:
    """Synset → its row, how it was found, and their similarity; None where the strategy finds none."""

    def __init__(self, vocabulary: Vocabulary, strategy: str) -> None:
        self._vocabulary, self._strategy = vocabulary, strategy
        self._near = Neighbourhood(vocabulary.wnids)

    def __call__(self, wnid: str) -> tuple[int, str, float] | None:
        if wnid in self._vocabulary:
            return self._vocabulary.index(wnid), "exact", 1.0
        if rolled := self._vocabulary.labels([wnid]):
            return rolled[0], "rollup", float(self._near.similarities(wnid)[rolled[0]])
        if self._strategy == "exact":
            return None
        near = self._near.nearest(wnid) if self._strategy == "nearest" else self._near.nearest_above(wnid)
        return (near.row, self._strategy, near.similarity) if near else None


# ---- files ----------------------------------------------------------------------------------------------------------


def load_mapping(path: str | Path, vocabulary: Vocabulary, names: Sequence[str] | None = None) -> Mapping:
    """Read a report that `Mapping.save` wrote and somebody may have edited: what stands under `rows` counts.

    Args:
        path: the TSV. Under `rows`, and under `synsets` where there is such a column, stand WNIDs or names of synsets
            (dog.n.01), separated by spaces, or nothing.
        vocabulary: which has these rows.
        names: the classes of the task, in their order; None: those of the file, in its order.

    Raises:
        UserError: it cannot be read, is no such table, a row is no label of the vocabulary, a synset none of WordNet's,
            or it has not the classes.
    """
    rows = list(_read_rows(Path(path)))
    made_for = _DIGEST.search(Path(path).read_text(encoding="utf-8-sig"))
    other = " (made for another vocabulary)" if made_for and made_for[1] != vocabulary.digest else ""
    found = [_match(fields, vocabulary, f"Line {number} of {path}{other}") for number, fields in rows]
    # Two classes may have one name (ImageNet-1k has two cranes), but only their order tells them apart.
    if names is not None and [match.name for match in found] != list(names):
        matches: dict[str, Match] = {}
        for (number, _), match in zip(rows, found, strict=True):
            if match.name in matches:
                raise UserError(f"Line {number} of {path}: class '{match.name}' has a line already.")
            matches[match.name] = match
        if missing := [name for name in names if name not in matches]:
            raise UserError(f"{path} has no line for the classes {_some(missing)}.")
        found = [matches[name] for name in names]
    if not any(match.rows for match in found):
        raise UserError(f"{path} has no rows for any class.")
    return Mapping(found, vocabulary)


def _read_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}, the mapping of classes, cannot be read: {error}") from error
    # Spreadsheets quote what has commas, or every cell.
    lines = ((number, next(csv.reader([line], delimiter="\t"))) for number, line in enumerate(text.splitlines(), 1))
    filled = ((number, cells) for number, cells in lines if any(cells))
    # Comments stand above the header alone: a class may be called #1.
    table = dropwhile(lambda each: each[1][0].startswith("#"), filled)
    _, header = next(table, (0, []))
    if not {"class", "rows"} <= set(header):
        raise UserError(f"{path} is no mapping of classes: it needs columns class and rows. `catclip map` writes one.")
    for number, fields in table:
        fields += [""] * (len(header) - len(fields))  # editors drop tabs at the ends of lines
        yield number, dict(zip(header, fields, strict=False))


def _match(fields: dict[str, str], vocabulary: Vocabulary, where: str) -> Match:
    wnids, synsets = (_synsets(fields.get(column, ""), f"{where}, {column}") for column in ("rows", "synsets"))
    for wnid in wnids:
        if wnid not in vocabulary:
            near = Neighbourhood(vocabulary.wnids).nearest(wnid)
            raise UserError(
                f"{where}: {wnid} ({load_lexicon().name(wnid)}) is no label of the vocabulary. The nearest is "
                f"{vocabulary.wnids[near.row]} ({vocabulary.names[near.row]})."
            )
    rows = tuple(map(vocabulary.index, wnids))
    how = fields.get("how", "")
    # Only what a row was, not who wrote it, can be told: rows that lead elsewhere than the report said are the user's.
    names = [vocabulary.names[row] for row in rows]
    if how not in HOW or (how == "none") == bool(rows) or names != fields.get("row_names", "").split():
        how = "given" if rows else "none"
    similarity = fields.get("similarity", "")
    try:
        value = float(similarity) if similarity and how != "given" and rows else None
    except ValueError as error:
        raise UserError(f"{where}: similarity {similarity!r} is no number.") from error
    return Match(fields["class"], fields.get("read_as", ""), synsets, rows, how, value)


def _synsets(text: str, where: str) -> tuple[str, ...]:
    """The WNIDs of synsets that stand in a cell, each once."""
    try:
        return tuple(dict.fromkeys(map(find_synset, text.replace(",", " ").split())))
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _equation(names: Sequence[str]) -> str:
    return " = ".join(names[:4]) + (" = …" if len(names) > 4 else "")


def _some(names: Sequence[str], shown: int = 8) -> str:
    between = "; " if any("," in name for name in names[:shown]) else ", "  # names may be lists of synonyms
    return between.join(names[:shown]) + (f" and {len(names) - shown:,} more" if len(names) > shown else "")

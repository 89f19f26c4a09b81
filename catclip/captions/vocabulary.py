"""`Vocabulary`: the labels of a data set, their indices, and the file that carries them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from catclip.captions.extract import SynsetExtractor
from catclip.captions.lexicon import load_lexicon
from catclip.errors import UserError
from catclip.files import write_atomically

COLUMNS = ("index", "wnid", "name", "count")
_WNID = re.compile(r"n\d{8}")


class Vocabulary:
    """WordNet synsets by falling count; a synset's index is its place. CatLIP's V_τ (arXiv 2404.15653).

    Attributes:
        wnids: the synsets, zero-padded as ImageNet's (``n02084071``).
        names: their WordNet names (``dog.n.01``).
        counts: how often each occurs in the corpus, repeats within a caption included.
        metadata: how it was made: tau, captions, rule, tagger, sense, lexicon, created_from; all values are text.
    """

    def __init__(self, wnids: Iterable[str], names: Iterable[str], counts: Iterable[int], metadata: Mapping[str, str]):
        self.wnids = list(wnids)
        self.names = list(names)
        self.counts = list(counts)
        self.metadata = dict(metadata)
        assert len(self.wnids) == len(self.names) == len(self.counts)
        self._index = {wnid: index for index, wnid in enumerate(self.wnids)}
        self._extractor: SynsetExtractor | None = None

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], metadata: Mapping[str, str]) -> "Vocabulary":
        """Order the synsets of `counts` by falling count, ties by WNID."""
        order = sorted(counts, key=lambda wnid: (-counts[wnid], wnid))
        lexicon = load_lexicon()
        return cls(order, map(lexicon.name, order), (counts[wnid] for wnid in order), metadata)

    def __len__(self) -> int:
        return len(self.wnids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.wnids)

    def __contains__(self, wnid: object) -> bool:
        return wnid in self._index

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_extractor": None}

    def index(self, wnid: str) -> int:
        """Return a synset's index; KeyError when the vocabulary does not have it."""
        return self._index[wnid]

    def labels(self, caption_or_wnids: str | Iterable[str]) -> list[int]:
        """Return the indices of a caption's synsets, sorted, each once; synsets outside the vocabulary give none.

        A caption is extracted as the captions of the vocabulary's corpus were.

        Raises:
            UserError: a caption is given, but the metadata do not say how captions are extracted.
        """
        wnids = self.extractor(caption_or_wnids) if isinstance(caption_or_wnids, str) else caption_or_wnids
        return sorted({self._index[wnid] for wnid in wnids if wnid in self._index})

    @property
    def extractor(self) -> SynsetExtractor:
        """The extractor that the metadata name, made when first asked for."""
        if self._extractor is None:
            missing = [key for key in ("rule", "tagger", "sense") if key not in self.metadata]
            if missing:
                raise UserError(f"The vocabulary does not say how its captions were read: no {', '.join(missing)}.")
            self._extractor = SynsetExtractor(*(self.metadata[key] for key in ("rule", "tagger", "sense")))
        return self._extractor

    def prune(self, tau: int) -> "Vocabulary":
        """Return the vocabulary of the synsets that occur at least `tau` times."""
        kept = [i for i, count in enumerate(self.counts) if count >= tau]
        wnids, names = [self.wnids[i] for i in kept], [self.names[i] for i in kept]
        return Vocabulary(wnids, names, [self.counts[i] for i in kept], self.metadata | {"tau": str(tau)})

    def save(self, path: str | Path) -> None:
        """Write the TSV file, atomically: ``# key=value`` metadata, a header, a line per synset. No clock time."""
        metadata = [f"# {key}={' '.join(value.split())}" for key, value in self.metadata.items()]
        rows = zip(range(len(self)), self.wnids, self.names, self.counts, strict=True)
        lines = [*metadata, "\t".join(COLUMNS), *("\t".join(map(str, row)) for row in rows)]
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(Path(path), "".join(f"{line}\n" for line in lines))

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """Read a vocabulary file.

        Raises:
            UserError: there is none, or it is malformed; the message names file and line.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"The vocabulary {path} cannot be read: {error}. `catclip vocab` makes one.") from error
        start = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
        metadata = dict(line[1:].strip().split("=", 1) for line in lines[:start] if "=" in line)
        if start == len(lines) or tuple(lines[start].split("\t")) != COLUMNS:
            raise UserError(
                f"{path}, line {start + 1}: a vocabulary's columns are {', '.join(COLUMNS)}, tab-separated."
            )
        wnids: dict[str, None] = {}
        names, counts = [], []
        for number, line in enumerate(lines[start + 1 :], start + 2):
            wnid, name, count = _parse_row(f"{path}, line {number}", line, len(wnids))
            if wnid in wnids:
                raise UserError(f"{path}, line {number}: {wnid} stands there twice.")
            wnids[wnid] = None
            names.append(name)
            counts.append(count)
        return cls(wnids, names, counts, metadata)


def _parse_row(place: str, line: str, index: int) -> tuple[str, str, int]:
    fields = line.split("\t")
    if len(fields) != len(COLUMNS):
        raise UserError(f"{place}: {len(fields)} columns instead of {len(COLUMNS)}.")
    if fields[0] != str(index):
        raise UserError(f"{place}: index {fields[0]!r} instead of {index}.")
    if not _WNID.fullmatch(fields[1]):
        raise UserError(f"{place}: {fields[1]!r} is no WNID (n and eight digits).")
    if not (fields[3].isascii() and fields[3].isdigit()):
        raise UserError(f"{place}: {fields[3]!r} is no count.")
    return fields[1], fields[2], int(fields[3])

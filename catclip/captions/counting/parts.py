"""A corpus divided into parts, which any process can count, and which are known again by their fingerprints."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from math import lcm
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catclip.captions.counting.corpus import CorpusCounts, Settled
from catclip.captions.counting.examples import caption_keys
from catclip.captions.extract import SynsetExtractor
from catclip.captions.lexicon import lexicon_version
from catclip.captions.sources.files import FileInfo, file_info, split_name
from catclip.captions.sources.patterns import WeightedFile
from catclip.captions.sources.reading import Span, check_kind, read_captions
from catclip.captions.sources.remote import is_address
from catclip.captions.taggers import NltkTagger, SpacyTagger
from catclip.errors import UserError

PART_SIZE = 1 << 24  # bytes; a second's work, which a kill loses
SLOW_PART_SIZE = 1 << 19  # for the taggers that are models
_PART_FILES = 256
_BYTES_A_CAPTION = 64  # roughly
_BATCH = 1 << 15  # captions labelled at once
_ROOM = Path(__file__).parents[1]
_REPORT = "report"  # the folder of it that only shows what was counted

PartProgress = Callable[[int, int], None]  # (captions, bytes of the files) counted since the last call


class Piece(NamedTuple):
    """A file, or a span of one.

    Attributes:
        size: bytes; None where a server does not say.
        version: what changes when the file does.
        weight: of each of its captions, in units.
    """

    path: str
    span: Span | None
    size: int | None
    version: str
    weight: int


Part = tuple[Piece, ...]  # what is counted together


def part_size(part: Part) -> int | None:
    """Return the bytes of a part's files; None where a server does not say."""
    sizes = [piece.size for piece in part if piece.size is not None]
    return sum(sizes) if len(sizes) == len(part) else None


# ---- dividing -------------------------------------------------------------------------------------------------------


def divide(files: Iterable[WeightedFile], size: int = PART_SIZE) -> tuple[list[Part], int]:
    """Return the parts of a corpus, and the unit that its weights are whole numbers of (the n of 1/n).

    Large files of this machine are split, if they are neither compressed nor CSV, where only reading from the start
    tells whether a newline is quoted; nor shards. Small files are put together.

    Args:
        files: the corpus.
        size: bytes of a part, roughly.

    Raises:
        UserError: a file is gone, or of a kind that is not read.
    """
    files = list(files)
    unit = lcm(*(file.weight.denominator for file in files))
    pieces = [piece for file in files for piece in _pieces(file.path, int(file.weight * unit), size)]
    parts: list[Part] = []
    part: list[Piece] = []
    for piece in pieces:
        together = part_size((*part, piece))
        if part and (together is None or together > size or len(part) == _PART_FILES):
            parts.append(tuple(part))
            part = []
        part.append(piece)
    return [*parts, tuple(part)], unit


def _pieces(path: str, weight: int, size: int) -> list[Piece]:
    check_kind(path)
    info = file_info(path)
    kind, compression = split_name(path)
    spans: list[tuple[Span | None, int | None]] = [(None, info.size)]
    if info.size is not None and info.size > size and not compression and not is_address(path):
        if kind in (".txt", ".tsv", ".jsonl"):
            bounds = [*range(0, info.size, size), info.size]
            spans = [(Span(start, stop), stop - start) for start, stop in pairwise(bounds)]
        elif kind == ".parquet":
            spans = _spans_of_row_groups(path, info, size // _BYTES_A_CAPTION)
    return [Piece(path, span, bytes_, info.version, weight) for span, bytes_ in spans]


def _spans_of_row_groups(path: str, info: FileInfo, rows: int) -> list[tuple[Span | None, int | None]]:
    """Return spans of at least `rows` rows, and how many bytes of the file go with each."""
    try:
        metadata = pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    assert info.size is not None
    spans: list[tuple[Span | None, int | None]] = []
    start, before, seen = 0, 0, 0  # row group and row of the span, rows so far
    for group in range(metadata.num_row_groups):
        seen += metadata.row_group(group).num_rows
        if seen - before >= rows or group == metadata.num_row_groups - 1:
            first, end = (info.size * row // max(1, metadata.num_rows) for row in (before, seen))
            spans.append((Span(start, group + 1), end - first))
            start, before = group + 1, seen
    return spans or [(None, info.size)]


# ---- counting -------------------------------------------------------------------------------------------------------


@dataclass
class Counting:
    """How captions are read, labelled and counted: all that a process needs to know to count parts, one by one.

    The counts of a part leave out what those before it have settled, so that all of them must be merged.

    Attributes:
        extractor: gives their labels.
        caption_key: column or key of the captions; None finds the usual ones.
        first_only: of a list of captions count the first only.
        unit: of the weights.
    """

    extractor: SynsetExtractor
    caption_key: str | None
    first_only: bool
    unit: int
    _settled: Settled = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._settled = Settled(len(self.extractor.synsets))

    def fingerprints(self, parts: Iterable[Part]) -> list[str]:
        """Return for each part 32 hexadecimal digits, equal only where all is that its counts depend on."""
        tagger = self.extractor._tagger
        labelling = [
            self.extractor.rule,
            self.extractor.tagger,
            self.extractor.sense,
            tagger.version if isinstance(tagger, NltkTagger | SpacyTagger) else "",
            lexicon_version(),
            _code_version(),
        ]
        settings = [labelling, self.caption_key, self.first_only, self.unit]
        return [hashlib.sha256(json.dumps([settings, part]).encode()).hexdigest()[:32] for part in parts]

    def count(self, part: Part, progress: PartProgress | None = None) -> CorpusCounts:
        """Count a part.

        Raises:
            UserError: one of its files cannot be read as captions.
        """
        corpus = CorpusCounts(self.extractor.synsets, self.unit, self._settled)
        for piece in part:
            rest = piece.size or 0
            for captions, size in self._count_piece(piece, corpus):
                if progress:
                    progress(captions, min(size, rest))
                rest -= min(size, rest)
            if progress:
                progress(0, rest)
        self._settled.add(corpus)
        return corpus

    def count_to_arrays(self, part: Part, progress: PartProgress) -> dict[str, np.ndarray]:
        """Return `count`'s result as arrays, which go to other processes."""
        return self.count(part, progress).arrays()

    def _count_piece(self, piece: Piece, corpus: CorpusCounts) -> Iterator[tuple[int, int]]:
        """Add a piece to `corpus`, and yield as it goes how many captions and bytes were read."""
        seed = int.from_bytes(hashlib.sha256(f"{piece.path} {piece.span}".encode()).digest()[:8])
        place = 0
        for chunk in read_captions(piece.path, self.caption_key, self.first_only, piece.span):
            corpus.samples += chunk.samples
            corpus.skipped.update(chunk.skipped)
            for start in range(0, len(chunk.captions), _BATCH):
                captions = chunk.captions.slice(start, _BATCH)
                keys = caption_keys(seed, place, len(captions))
                corpus.add(captions, self.extractor.label_column(captions), piece.weight, keys)
                place += len(captions)
                yield len(captions), chunk.size * len(captions) // len(chunk.captions)


def _code_version(room: Path = _ROOM) -> str:
    """Return a digest of this room's code: what another version of it has counted is another count."""
    files = sorted(path.relative_to(room) for path in room.rglob("*.py"))
    read = [(str(path), (room / path).read_text(encoding="utf-8")) for path in files if path.parts[0] != _REPORT]
    return hashlib.sha256(json.dumps(read).encode()).hexdigest()

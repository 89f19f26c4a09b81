"""The vocabulary's file: a TSV to read, diff and edit.

    # tau=20
    # captions=155070
    # …
    index   wnid        name                count
    0       n10287213   man.n.01            44391
    …
    # rollup    n02110341   dalmatian.n.02  12      n02084071

First metadata as ``# key=value``; then the labels, counts falling, ties by WNID; then, if rare synsets were rolled up,
a line for each: how often it occurs, and the label that stands for it. Readers that skip comments see the labels.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from catclip.captions.lexicon import load_lexicon
from catclip.captions.prune import Rolled
from catclip.errors import UserError
from catclip.files import write_atomically

COLUMNS = ("index", "wnid", "name", "count")
ROLLUP = "# rollup"
_WNID = re.compile(r"n\d{8}")


class Content(NamedTuple):
    """What the file says; see `Vocabulary` for the fields."""

    wnids: Sequence[str]
    names: Sequence[str]
    counts: Sequence[int]
    metadata: Mapping[str, str]
    rollup: Mapping[str, Rolled]


def write(path: str | Path, content: Content) -> None:
    """Write a vocabulary file, atomically."""
    metadata = [f"# {key}={' '.join(value.split())}" for key, value in content.metadata.items()]
    rows = zip(range(len(content.wnids)), content.wnids, content.names, content.counts, strict=True)
    lexicon = load_lexicon()
    rolled = sorted(content.rollup.items(), key=lambda item: (-item[1].own, item[0]))
    tail = ((ROLLUP, wnid, lexicon.name(wnid), own, into) for wnid, (into, own) in rolled)
    lines = [*metadata, "\t".join(COLUMNS), *("\t".join(map(str, row)) for row in (*rows, *tail))]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(Path(path), "".join(f"{line}\n" for line in lines))


def read(path: str | Path) -> Content:
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
    if metadata.get("rule") == "words":
        raise UserError(
            f"{path} has words for labels, which objective.labels=word learns. `catclip vocab` with another rule makes "
            "a vocabulary of synsets."
        )
    if start == len(lines) or tuple(lines[start].split("\t")) != COLUMNS:
        raise UserError(f"{path}, line {start + 1}: a vocabulary's columns are {', '.join(COLUMNS)}, tab-separated.")
    labels: dict[str, tuple[str, int]] = {}
    rollup: dict[str, Rolled] = {}
    for number, line in enumerate(lines[start + 1 :], start + 2):
        place = f"{path}, line {number}"
        if line.startswith("#"):
            wnid, rolled = _parse_rolled(place, line, labels)
            known, rollup[wnid] = wnid in labels or wnid in rollup, rolled
        else:
            wnid, name, count = _parse_label(place, line, len(labels))
            known, labels[wnid] = wnid in labels or wnid in rollup, (name, count)
        if known:
            raise UserError(f"{place}: {wnid} stands there twice.")
    names, counts = zip(*labels.values(), strict=True) if labels else ((), ())
    return Content(list(labels), names, counts, metadata, rollup)


def _parse_label(place: str, line: str, index: int) -> tuple[str, str, int]:
    fields = line.split("\t")
    if len(fields) != len(COLUMNS):
        raise UserError(f"{place}: {len(fields)} columns instead of {len(COLUMNS)}.")
    if fields[0] != str(index):
        raise UserError(f"{place}: index {fields[0]!r} instead of {index}.")
    return _wnid(place, fields[1]), fields[2], _count(place, fields[3])


def _parse_rolled(place: str, line: str, labels: Mapping[str, object]) -> tuple[str, Rolled]:
    fields = line.split("\t")
    if fields[0] != ROLLUP or len(fields) != 5:
        raise UserError(f"{place}: below the labels only {ROLLUP!r}, WNID, name, count and WNID, tab-separated.")
    if fields[4] not in labels:
        raise UserError(f"{place}: {fields[4]!r} is none of the labels above.")
    return _wnid(place, fields[1]), Rolled(fields[4], _count(place, fields[3]))


def _wnid(place: str, text: str) -> str:
    if not _WNID.fullmatch(text):
        raise UserError(f"{place}: {text!r} is no WNID (n and eight digits).")
    return text


def _count(place: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise UserError(f"{place}: {text!r} is no count.")
    return int(text)

"""Vocabularies as CoreNet (CatLIP's public code) pickles them: a dict {pos + offset: count}, most frequent first.

Its keys have no zero padding: ``n2084071`` is ImageNet's n02084071. A synset's place in the dict is its index.
"""

import io
import pickle
import pickletools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from catclip.errors import UserError
from catclip.files import write_atomically

_LARGEST = 8 << 20  # bytes; all of WordNet's nouns take less than a third of that
_KEY = re.compile(r"n[1-9]\d{0,7}")
# What pickles of a dict of strings and whole numbers consist of, in any protocol. Nothing here can name a class, and
# each makes at most one small object: a file cannot ask for much more memory than it has bytes.
_OPCODES = frozenset(
    [
        *("PROTO", "FRAME", "STOP", "MARK", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4"),
        *("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET"),
    ]
)


def read_pickle(path: str | Path) -> dict[str, int]:
    """Return the counts of a pickled vocabulary by WNID, in its order. Nothing in the file is run.

    Raises:
        UserError: it cannot be read, or is no pickle of a dict {pos + offset: count} with falling counts.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise UserError(f"The vocabulary {path} cannot be read: {error}.") from error
    if len(data) > _LARGEST:
        raise UserError(f"{path} is no vocabulary of CoreNet's: it has more than {_LARGEST >> 20} MiB.")
    counts: dict[str, int] = {}
    for key, count in _unpickle(data, path).items():
        if type(key) is not str or not _KEY.fullmatch(key):
            raise UserError(f"{path}: the key {key!r:.40} is not n and an offset in WordNet, as n2084071.")
        if type(count) is not int or not 0 < count < 1 << 63:
            raise UserError(f"{path}: what stands for {key} is no count: a whole number from 1 to 2^63 - 1.")
        if counts and count > next(reversed(counts.values())):
            raise UserError(f"{path}: {key} is more frequent than what stands before it; CoreNet's counts fall.")
        counts[f"n{int(key[1:]):08}"] = count
    if not counts:
        raise UserError(f"{path} is a vocabulary without synsets.")
    return counts


def write_pickle(path: str | Path, counts: Mapping[str, int]) -> None:
    """Write counts by WNID, most frequent first, as CoreNet pickles them; atomically."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(Path(path), pickle.dumps({f"n{int(wnid[1:])}": count for wnid, count in counts.items()}, 4))


def _unpickle(data: bytes, path: str | Path) -> dict[object, object]:
    try:
        _check_opcodes(data, path)
        content = _NoClasses(io.BytesIO(data)).load()
    except (pickle.UnpicklingError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is no pickle: {error}.") from error
    if type(content) is not dict:
        raise UserError(f"{path} holds no dict {{synset: count}}, but a {type(content).__name__}.")
    return content


def _check_opcodes(data: bytes, path: str | Path) -> None:
    dicts = 0
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name not in _OPCODES:
            raise UserError(
                f"{path} is no vocabulary of CoreNet's: it holds more than a dict of strings and whole numbers "
                f"({opcode.name}). What else it would do has not been done."
            )
        # The unpickler makes room for as many memos as the highest number says.
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= int(argument or 0) <= len(data):
            raise UserError(f"{path} is no vocabulary of CoreNet's: it numbers its memos up to {argument}.")
        dicts += opcode.name in ("EMPTY_DICT", "DICT")
        if dicts > 1:
            raise UserError(f"{path} is no vocabulary of CoreNet's: it holds more than one dict.")


class _NoClasses(pickle.Unpickler):
    """A second lock on the door: even if an opcode could ask for a class, none is given."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise UserError(f"A vocabulary has no need of {module}.{name}.")

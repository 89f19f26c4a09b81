"""The samples' keys in the shards: readable, unique, and safe wherever a tar is read or unpacked."""

import re
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from os.path import splitext
from unicodedata import normalize

_LONGEST = 60  # signs; with what is added, names stay below the 100 that the plainest tars hold


def sample_keys(paths: Sequence[str]) -> list[str]:
    """Return keys of ASCII letters, digits, ``_`` and ``-`` that tell their pictures: ``dogs/a b.jpg`` is dogs-a_b.

    A hash of the path follows where several would have the same key, were they written in capitals or not.

    Args:
        paths: of pictures, different from each other.
    """
    plain = [_plain(path) for path in paths]
    times = Counter(key.lower() for key in plain)
    keys = [key if times[key.lower()] == 1 else f"{key}-{_hash(path)}" for key, path in zip(plain, paths, strict=True)]
    assert len(set(keys)) == len(keys)
    return keys


def _plain(path: str) -> str:
    # Letters lose their accents rather than become signs.
    ascii_ = "".join(sign for sign in normalize("NFKD", splitext(path)[0]) if not "\u0300" <= sign <= "\u036f")
    return re.sub(r"[^A-Za-z0-9_-]+", "_", ascii_.replace("/", "-"))[-_LONGEST:]


def _hash(path: str) -> str:
    return blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()

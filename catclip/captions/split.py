"""A column of captions → tokens, without a Python object for each: what `tokenize(clean(caption))` gives, in numpy.

Nearly all captions are plain: nothing in them has to be cleaned, and words, numbers and signs meet only where neither
could belong to the other. Those are split here, on the bytes of the column. The others go through `clean` and
`tokenize` one by one.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from catclip.captions.clean import clean, tokenize

# What a byte is. A joiner, hyphen or apostrophe, becomes a letter between letters, POSSESSIVE in "'s", or else a SIGN.
_SPACE, _LETTER, _DIGIT, _SIGN, _POSSESSIVE, _DOT, _COMMA, _ODD, _JOINER = range(9)
_SIGNS = (_SIGN, _DOT, _COMMA, _ODD)

# What two neighbouring bytes tell.
_START, _END, _ASK = 1, 2, 4  # a token starts at the second, ends at the first; the caption is not plain
_CHUNK = 1 << 18  # bytes worked on at once: small enough to stay in the processor's cache


class Tokens(NamedTuple):
    """The T tokens of B captions, one after the other.

    Attributes:
        keys: uint64 [T]; equal for equal tokens, and for those of up to eight bytes different for different ones.
        starts: int64 [T], where each begins in `data`.
        lengths: int64 [T], in bytes.
        offsets: int64 [B+1]; caption b has the tokens ``offsets[b]`` to ``offsets[b + 1]``.
        data: the bytes that hold the tokens.
    """

    keys: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    offsets: np.ndarray
    data: np.ndarray

    def text(self, token: int) -> str:
        """Return one token as it is written."""
        start = self.starts[token]
        return self.data[start : start + self.lengths[token]].tobytes().decode("utf-8", "surrogatepass")


def chunks(offsets: np.ndarray) -> list[tuple[int, int]]:
    """Return (first, end) of runs of captions, about as many bytes each as `split` works on best."""
    bounds = [0]
    while bounds[-1] < len(offsets) - 1:
        end = int(np.searchsorted(offsets, offsets[bounds[-1]] + _CHUNK, "right")) - 1
        bounds.append(max(end, bounds[-1] + 1))
    return list(pairwise(bounds))


def split(data: np.ndarray, offsets: np.ndarray) -> Tokens:
    """Split captions into tokens.

    Args:
        data: uint8, UTF-8.
        offsets: int64 [B+1], where each caption begins in `data`, and where the last one ends.
    """
    first, last = int(offsets[0]), int(offsets[-1])
    data = data[first:last]
    offsets = offsets - first
    starts, ends, asked = _split_plain(data, offsets)
    token_offsets = np.searchsorted(starts, offsets)
    if not len(asked):
        return _make(data, starts, ends - starts, token_offsets)
    owners = np.repeat(np.arange(len(offsets) - 1), np.diff(token_offsets))
    plain = np.ones(len(offsets) - 1, bool)
    plain[asked] = False
    kept = plain[owners]
    more, more_starts, more_ends, more_owners = _split_one_by_one(data, offsets, asked)
    starts = np.concatenate([starts[kept], more_starts + len(data)])
    lengths = np.concatenate([ends[kept], more_ends + len(data)]) - starts
    owners = np.concatenate([owners[kept], more_owners])
    order = np.argsort(owners, kind="stable")
    token_offsets = np.searchsorted(owners[order], np.arange(len(offsets)))
    return _make(np.concatenate([data, more]), starts[order], lengths[order], token_offsets)


# ---- plain captions -------------------------------------------------------------------------------------------------


def _classes() -> bytes:
    """What each byte is. Odd are those that `clean` may act on, and all that are not printable ASCII."""
    table = [_ODD] * 256
    for code in range(0x20, 0x7F):
        char = chr(code)
        if char.isalpha():
            table[code] = _LETTER
        elif char.isdigit():
            table[code] = _DIGIT
        elif char not in "&%+<>@#_/\\":
            table[code] = {" ": _SPACE, ".": _DOT, ",": _COMMA, ":": _COMMA, "-": _JOINER, "'": _JOINER}.get(
                char, _SIGN
            )
    return bytes(table)


def _pairs() -> np.ndarray:
    """What each two neighbouring classes tell, at ``first * 8 + second``."""
    table = np.zeros((8, 8), np.uint8)
    for a in range(8):
        for b in range(8):
            cut = a != b or a in _SIGNS
            table[a, b] |= _END if cut and a != _SPACE else 0
            table[a, b] |= _START if cut and b != _SPACE else 0
            # Letters at digits are one token; what follows a dot may make an address, and a digit after a comma or
            # colon one number; odd ones are for `clean`.
            ask = {a, b} == {_LETTER, _DIGIT} or (a == _DOT and b != _SPACE) or (a == _COMMA and b == _DIGIT)
            table[a, b] |= _ASK if ask or _ODD in (a, b) else 0
    return table


_CLASSES = _classes()
_PAIRS = _pairs()
_PAIRS_TABLE = _PAIRS.tobytes().ljust(256, b"\0")


def _split_plain(data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return starts and ends of the tokens, and which captions are not plain, so that theirs may be wrong."""
    classes = np.empty(len(data) + 2, np.uint8)  # a space on both sides
    classes[0] = classes[-1] = _SPACE
    classes[1:-1] = np.frombuffer(data.tobytes().translate(_CLASSES), np.uint8)
    asked = _settle_joiners(data, classes, offsets)
    pairs = np.frombuffer(((classes[:-1] << 3) | classes[1:]).tobytes().translate(_PAIRS_TABLE), np.uint8).copy()
    # Where two captions meet, both see a space.
    pairs[offsets] = _PAIRS[classes[offsets], _SPACE] | _PAIRS[_SPACE, classes[offsets + 1]]
    starts, ends, odd = (np.flatnonzero((pairs & flag) != 0) for flag in (_START, _END, _ASK))
    if len(odd):
        # A pair belongs to the caption of its first byte, at odd - 1; across a meeting either may have asked.
        asked = np.concatenate([asked, _owners(odd - 1, offsets), _owners(odd, offsets)])
    return starts, ends, np.unique(asked)


def _owners(places: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    return np.clip(np.searchsorted(offsets, places, "right") - 1, 0, len(offsets) - 2)


def _settle_joiners(data: np.ndarray, classes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Give hyphens and apostrophes the class of what they are part of; return captions in which that is not plain."""
    places = np.flatnonzero(classes == _JOINER)  # in `classes`, one more than in `data`
    if not len(places):
        return places
    owners = _owners(places - 1, offsets)
    before = np.where(places - 1 == offsets[owners], _SPACE, classes[places - 1])
    left = offsets[owners + 1] - places  # bytes of the caption after the joiner
    after = np.where(left < 1, _SPACE, classes[places + 1])
    after_that = np.where(left < 2, _SPACE, classes[np.minimum(places + 2, len(classes) - 1)])
    letter = data[np.minimum(places, len(data) - 1)] | 0x20
    s = (data[places - 1] == ord("'")) & (left >= 1) & (letter == ord("s"))
    possessive = s & (after_that != _LETTER) & (after_that != _DIGIT)
    joins = (before == _LETTER) & (after == _LETTER) & ~possessive
    odd = (after == _JOINER) | (possessive & ((after_that == _JOINER) | (after_that == _ODD)))
    many = owners[7:][owners[7:] == owners[:-7]]  # a word of more parts than the tokeniser joins
    classes[places] = np.where(joins, _LETTER, np.where(possessive, _POSSESSIVE, _SIGN))
    classes[places[possessive] + 1] = _POSSESSIVE
    return np.concatenate([owners[odd], many])


# ---- the others -----------------------------------------------------------------------------------------------------


def _split_one_by_one(
    data: np.ndarray, offsets: np.ndarray, captions: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return new bytes, and starts, ends and owners of the tokens in them."""
    found = []
    counts = []
    for caption in captions.tolist():
        text = data[offsets[caption] : offsets[caption + 1]].tobytes().decode("utf-8", "replace")
        tokens = tokenize(clean(text))
        found += [token.encode("utf-8", "surrogatepass") for token in tokens]
        counts.append(len(tokens))
    lengths = np.fromiter(map(len, found), np.int64, len(found))
    ends = np.cumsum(lengths)
    return np.frombuffer(b"".join(found), np.uint8), ends - lengths, ends, np.repeat(captions, counts)


# ---- keys -----------------------------------------------------------------------------------------------------------

_MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying by it loses nothing
_MASKS = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)


def _make(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray, offsets: np.ndarray) -> Tokens:
    words = np.zeros(len(data) // 8 + 3, np.uint64)
    words.view(np.uint8)[: len(data)] = data
    keys = _eight_bytes(words, starts) & _MASKS[np.minimum(lengths, 8)]
    keys *= _MIX
    long = np.flatnonzero(lengths > 8)
    place = 8
    while len(long):
        left = lengths[long] - place
        more = _eight_bytes(words, starts[long] + place) & _MASKS[np.minimum(left, 8)]
        keys[long] = ((keys[long] ^ (keys[long] >> np.uint64(29))) + more + np.uint64(place)) * _MIX
        long = long[left > 8]
        place += 8
    return Tokens(keys, starts, lengths, offsets, data)


def _eight_bytes(words: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the eight bytes at each place, as uint64, the first byte lowest."""
    index = places >> 3
    shift = (places.astype(np.uint64) & np.uint64(7)) << np.uint64(3)
    # Shifting by 64 gives 0 in numpy.
    return (words[index] >> shift) | (words[index + 1] << (np.uint64(64) - shift))

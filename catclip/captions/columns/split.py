"""A column of captions → tokens, without a Python object for each: what `tokenize(clean(caption))` gives, in numpy.

Nearly all captions are plain: nothing in them has to be cleaned, and words, numbers and signs meet only where neither
could belong to the other. Those are split here, on the bytes of the column. The others go through `clean` and
`tokenize` one by one.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from catclip.captions.clean import LONGEST, clean, tokenize

# What a byte is. A joiner, hyphen or apostrophe, becomes a letter between letters, POSSESSIVE in "'s", or else a SIGN.
_SPACE, _LETTER, _DIGIT, _SIGN, _POSSESSIVE, _DOT, _COMMA, _MARK, _SLASH, _ODD, _JOINER = range(11)
_WORD = (_SPACE, _LETTER, _DIGIT, _POSSESSIVE)  # those that go on in a byte of the same class

# What two neighbouring bytes tell.
_START, _END = 1, 2  # a token starts at the second, ends at the first
_ASK = 4  # the caption is not plain
_MIXED = 8  # a letter and a digit: one token, unless more is joined to it
_NUMBER = 16  # a dot, comma or colon before a digit: one number, after another digit
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
    lengths = ends - starts
    token_offsets = np.searchsorted(starts, offsets)
    if len(asked):
        more, more_starts, more_lengths, counts = _split_one_by_one(data, offsets, asked)
        places = np.repeat(token_offsets[asked], counts)
        starts = np.insert(starts, places, more_starts + len(data))
        lengths = np.insert(lengths, places, more_lengths)
        token_offsets[1:] += np.cumsum(np.bincount(asked, counts, len(offsets) - 1)).astype(np.int64)
        data = np.concatenate([data, more])
    return _make(data, starts, lengths, token_offsets)


# ---- plain captions -------------------------------------------------------------------------------------------------


def _classes() -> bytes:
    """What each byte is. Odd are those that `clean` may act on wherever they stand, and all but printable ASCII."""
    table = [_ODD] * 256
    for code in range(0x20, 0x7F):
        char = chr(code)
        if char.isalpha():
            table[code] = _LETTER
        elif char.isdigit():
            table[code] = _DIGIT
        elif char not in "<_":
            table[code] = _SIGN
    groups = {_SPACE: " +", _DOT: ".", _COMMA: ",:", _MARK: "&#@%", _SLASH: "/", _JOINER: "-'"}
    for class_, chars in groups.items():
        for char in chars:
            table[ord(char)] = class_
    return bytes(table)


def _pairs() -> np.ndarray:
    """What each two neighbouring classes tell, at ``first * 16 + second``."""
    table = np.zeros((16, 16), np.uint8)
    for a in range(_JOINER):
        for b in range(_JOINER):
            mixed = {a, b} == {_LETTER, _DIGIT}
            if (a != b or a not in _WORD) and not mixed:
                table[a, b] |= (_END if a != _SPACE else 0) | (_START if b != _SPACE else 0)
            # An address has a letter after a dot, or a slash after a colon; "&", "#", "@" and "%" begin an entity, a
            # hashtag, a name, a byte.
            ask = (a, b) in ((_DOT, _LETTER), (_COMMA, _SLASH)) or (a == _MARK and b in (_LETTER, _DIGIT, _MARK))
            table[a, b] |= _ASK if ask or _ODD in (a, b) else 0
            table[a, b] |= _MIXED if mixed else 0
            table[a, b] |= _NUMBER if a in (_DOT, _COMMA) and b == _DIGIT else 0
    return table


_CLASSES = _classes()
_PAIRS = _pairs()
_PAIRS_TABLE = _PAIRS.tobytes()


def _split_plain(data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return starts and ends of the tokens, and which captions are not plain, of which it gives no tokens."""
    classes = np.empty(len(data) + 2, np.uint8)  # a space on both sides
    classes[0] = classes[-1] = _SPACE
    classes[1:-1] = np.frombuffer(data.tobytes().translate(_CLASSES), np.uint8)
    asked, joined = _settle_joiners(data, classes, offsets)
    pairs = np.frombuffer(bytearray(((classes[:-1] << 4) | classes[1:]).tobytes().translate(_PAIRS_TABLE)), np.uint8)
    # Where two captions meet, both see a space.
    pairs[offsets] = _PAIRS[classes[offsets], _SPACE] | _PAIRS[_SPACE, classes[offsets + 1]]
    special = np.flatnonzero(pairs > (_START | _END))
    if len(special):
        asked = np.concatenate([asked, _settle_specials(classes, pairs, special, offsets, joined)])
    asked = np.unique(np.concatenate([asked, np.flatnonzero(np.diff(offsets) > LONGEST)]))
    for first, end in zip(offsets[asked].tolist(), offsets[asked + 1].tolist(), strict=True):
        if first < end:
            pairs[first] &= _END
            pairs[first + 1 : end] = 0
            pairs[end] &= _START
    return np.flatnonzero((pairs & _START) != 0), np.flatnonzero((pairs & _END) != 0), asked


def _settle_specials(
    classes: np.ndarray, pairs: np.ndarray, special: np.ndarray, offsets: np.ndarray, joined: np.ndarray
) -> np.ndarray:
    """Make one token of each number with dots, commas or colons in it; return captions that are not plain.

    Args:
        special: places in `pairs` that tell more than where a token starts or ends.
        joined: captions in which words are joined.
    """
    told, owners = pairs[special], _owners(special, offsets)
    # Where two captions meet, either may have asked.
    ask = np.flatnonzero(told & _ASK)
    dotted = np.flatnonzero(told & _NUMBER)
    after_digit = (special[dotted] - 1 > offsets[owners[dotted]]) & (classes[special[dotted] - 1] == _DIGIT)
    web = dotted[~after_digit & (classes[special[dotted]] == _DOT)]  # www.4
    number = dotted[after_digit]
    pairs[special[number]] &= ~np.uint8(_START | _END)
    pairs[special[number] - 1] &= ~np.uint8(_START | _END)
    many = owners[number[7:]][owners[number[7:]] == owners[number[:-7]]]  # more parts than the tokeniser joins
    mixed = owners[(told & _MIXED) != 0]
    mixed = mixed[np.isin(mixed, joined) | np.isin(mixed, owners[dotted])]
    return np.concatenate([owners[ask], _owners(special[ask] - 1, offsets), owners[web], many, mixed])


def _owners(places: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    return np.clip(np.searchsorted(offsets, places, "right") - 1, 0, len(offsets) - 2)


def _settle_joiners(data: np.ndarray, classes: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give hyphens and apostrophes the class of what they are part of.

    Returns:
        captions in which that is not plain, and captions in which some words are joined.
    """
    places = np.flatnonzero(classes == _JOINER)  # in `classes`, one more than in `data`
    if not len(places):
        return places, places
    owners = _owners(places - 1, offsets)
    before = np.where(places - 1 == offsets[owners], _SPACE, classes[places - 1])
    left = offsets[owners + 1] - places  # bytes of the caption after the joiner
    after = np.where(left < 1, _SPACE, classes[places + 1])
    after_that = np.where(left < 2, _SPACE, classes[np.minimum(places + 2, len(classes) - 1)])
    letter = data[np.minimum(places, len(data) - 1)] | 0x20
    s = (data[places - 1] == ord("'")) & (left >= 1) & (letter == ord("s"))
    possessive = s & (after_that != _LETTER) & (after_that != _DIGIT)
    joins = (before == _LETTER) & (after == _LETTER) & ~possessive
    run = (after == _JOINER) & (before != _SPACE) & (after_that != _SPACE)
    odd = run | (possessive & ((after_that == _JOINER) | (after_that == _ODD)))
    many = owners[7:][owners[7:] == owners[:-7]]  # a word of more parts than the tokeniser joins
    classes[places] = np.where(joins, _LETTER, np.where(possessive, _POSSESSIVE, _SIGN))
    classes[places[possessive] + 1] = _POSSESSIVE
    return np.concatenate([owners[odd], many]), owners[joins]


# ---- the others -----------------------------------------------------------------------------------------------------


def _split_one_by_one(
    data: np.ndarray, offsets: np.ndarray, captions: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return new bytes, the starts and lengths of the tokens in them, and how many each caption has."""
    found: list[bytes] = []
    counts = []
    for caption in captions.tolist():
        text = data[offsets[caption] : offsets[caption + 1]].tobytes().decode("utf-8", "replace")
        tokens = tokenize(clean(text))
        found += [token.encode("utf-8", "surrogatepass") for token in tokens]
        counts.append(len(tokens))
    lengths = np.fromiter(map(len, found), np.int64, len(found))
    starts = np.cumsum(lengths) - lengths
    return np.frombuffer(b"".join(found), np.uint8), starts, lengths, np.array(counts)


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
    shift = ((places & 7) << 3).view(np.uint64)
    # Shifting by 64 gives 0 in numpy.
    return (words[index] >> shift) | (words[index + 1] << (np.uint64(64) - shift))

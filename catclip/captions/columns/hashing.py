"""A hash table of 64-bit keys in numpy: many keys are looked up at once."""

import numpy as np

_SPREAD = np.uint64(0xD6E8FEB86659FD93)
_EMPTY = np.int32(-1)


class KeyTable:
    """uint64 keys → int32 values that are not negative; open addressing, at most a quarter full."""

    def __init__(self, size: int = 0) -> None:
        """`size`: how many keys are expected."""
        self._count = 0
        self._allocate(max(64, 4 * size))

    def __len__(self) -> int:
        return self._count

    def get(self, keys: np.ndarray) -> np.ndarray:
        """Return int32 values, -1 for absent keys, of uint64 keys [N]."""
        slots = self._slots(keys)
        values = self._values[slots]
        # A free slot holds the key 0, which hardly any key asked for is.
        open_ = np.flatnonzero(self._keys[slots] != keys)
        slots, found = slots[open_], values[open_]
        while len(open_):
            on = np.flatnonzero((found != _EMPTY) & (self._keys[slots] != keys[open_]))
            open_, slots = open_[on], (slots[on] + 1) & self._mask
            found = self._values[slots]
            values[open_] = found
        return values

    def put(self, keys: np.ndarray, values: np.ndarray) -> None:
        """Add keys [N] that are not in the table, each once."""
        self._count += len(keys)
        if 4 * self._count > len(self._keys):
            kept = self._values != _EMPTY
            old_keys, old_values = self._keys[kept], self._values[kept]
            self._allocate(8 * self._count)
            self._place(old_keys, old_values)
        self._place(keys, values)

    def _place(self, keys: np.ndarray, values: np.ndarray) -> None:
        slots = self._slots(keys)
        while len(keys):
            free = self._values[slots] == _EMPTY
            # Of several keys at one free slot the last one stays; the others see so and go on.
            self._keys[slots[free]] = keys[free]
            self._values[slots[free]] = values[free]
            on = ~free | (self._keys[slots] != keys)
            keys, values, slots = keys[on], values[on], (slots[on] + 1) & self._mask

    def _allocate(self, least: int) -> None:
        bits = (least - 1).bit_length()
        self._mask = (1 << bits) - 1
        self._shift = np.uint64(64 - bits)
        self._keys = np.zeros(1 << bits, np.uint64)
        self._values = np.full(1 << bits, _EMPTY)

    def _slots(self, keys: np.ndarray) -> np.ndarray:
        return ((keys * _SPREAD) >> self._shift).view(np.int64)


class Sieve:
    """A KeyTable that answers at once for nearly all keys that it lacks, when few of the keys asked for are there."""

    _BITS = 23  # a megabyte, which stays in the processor's cache where the table does not

    def __init__(self, keys: np.ndarray, values: np.ndarray) -> None:
        self._table = KeyTable(len(keys))
        self._table.put(keys, values)
        bits = np.zeros(1 << self._BITS, np.uint8)
        bits[self._places(keys)] = 1
        self._bytes = np.packbits(bits, bitorder="little")

    def get(self, keys: np.ndarray) -> np.ndarray:
        """Return int32 values, 0 for absent keys, of uint64 keys [N]."""
        places = self._places(keys)
        near = np.flatnonzero((self._bytes[places >> 3] >> (places & 7).astype(np.uint8)) & 1 != 0)
        values = np.zeros(len(keys), np.int32)
        values[near] = np.maximum(self._table.get(keys[near]), 0)
        return values

    def _places(self, keys: np.ndarray) -> np.ndarray:
        return ((keys * _SPREAD) >> np.uint64(64 - self._BITS)).view(np.int64)


# ---- texts ----------------------------------------------------------------------------------------------------------

RADIX = np.uint64(0x9E3779B97F4A7C15)


def text_hashes(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return uint64 hashes of texts, and for each RADIX to the power of its length in bytes.

    The hash of two texts on end is ``hash(a) * power(b) + hash(b)``, so that phrases are hashed from their words.
    """
    raw = [text.encode("utf-8", "surrogatepass") for text in texts]
    lengths = np.fromiter(map(len, raw), np.int64, len(raw))
    data = np.frombuffer(b"".join(raw), np.uint8)
    starts = np.cumsum(lengths) - lengths
    hashes = np.zeros(len(raw), np.uint64)
    powers = np.ones(len(raw), np.uint64)
    on = np.flatnonzero(lengths)
    place = 0
    while len(on):
        # One more than the byte, so that none leaves the hash as it was.
        hashes[on] = hashes[on] * RADIX + data[starts[on] + place] + np.uint64(1)
        powers[on] *= RADIX
        place += 1
        on = on[lengths[on] > place]
    return hashes, powers

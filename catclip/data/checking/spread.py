"""Statistics of any number of values in little memory, which add up over processes."""

from collections import Counter
from hashlib import blake2b

_EXACT = 10  # bits of a value that are kept
_HELD = 1 << 20  # hashes


class Spread:
    """How non-negative whole numbers spread: exact below 1,024, above to within 0.1 %; extremes and mean are exact.

    Attributes:
        count: of the values.
        total: their sum.
        least, most: of all; 0 where there are none.
    """

    def __init__(self) -> None:
        self.count, self.total, self.least, self.most = 0, 0, 0, 0
        self._values = Counter[int]()

    def add(self, value: int, times: int = 1) -> None:
        """Take in a value that occurs some times."""
        self.least = min(self.least, value) if self.count else value
        self.most = max(self.most, value)
        self.count += times
        self.total += value * times
        step = max(0, value.bit_length() - _EXACT)
        self._values[(value >> step << step) + (1 << step >> 1)] += times

    def update(self, other: "Spread") -> None:
        """Take in what another has seen."""
        if other.count:
            self.least = min(self.least, other.least) if self.count else other.least
            self.most = max(self.most, other.most)
            self.count += other.count
            self.total += other.total
            self._values.update(other._values)

    @property
    def mean(self) -> float:
        """The mean; 0 where there are no values."""
        return self.total / max(1, self.count)

    def number_of(self, value: int) -> int:
        """Return how often a value below 1,024 occurs."""
        assert value >> _EXACT == 0
        return self._values[value]

    def quantile(self, share: float) -> int:
        """Return the smallest value that at least this share of the values do not exceed; 0 where there are none."""
        seen = 0
        for value in sorted(self._values):
            seen += self._values[value]
            if seen >= share * self.count:
                return min(max(value, self.least), self.most)
        return self.most


class Repeats:
    """How many of some texts are repeats of others: exact up to a million different ones, estimated beyond.

    A text is held by a hash. When these become too many, only texts whose hashes lie in half of the range are held,
    with all of their repeats, and so on: the share of repeats among them is that of all, give or take.
    """

    def __init__(self) -> None:
        self._seen = Counter[int]()
        self._zeros = 0  # bits at the end of a hash that is held

    def add(self, text: str) -> None:
        """Take in a text."""
        hashed = int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
        if self._is_held(hashed):
            self._seen[hashed] += 1
            self._thin_out()

    def update(self, other: "Repeats") -> None:
        """Take in what another has seen."""
        self._seen.update(other._seen)
        if other._zeros != self._zeros:
            self._hold_only(max(self._zeros, other._zeros))
        self._thin_out()

    @property
    def share(self) -> float:
        """The share of the texts that are repeats of earlier ones; 0 where there are no texts."""
        return 1 - len(self._seen) / self._seen.total() if self._seen else 0.0

    def _thin_out(self) -> None:
        while len(self._seen) > _HELD:
            self._hold_only(self._zeros + 1)

    def _hold_only(self, zeros: int) -> None:
        self._zeros = zeros
        self._seen = Counter({hashed: times for hashed, times in self._seen.items() if self._is_held(hashed)})

    def _is_held(self, hashed: int) -> bool:
        return not hashed & ((1 << self._zeros) - 1)

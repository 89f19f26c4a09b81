"""Which words are units of measure where they stand: feet in "25 feet", but not in "two feet in yellow socks"."""

from collections.abc import Sequence


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# They name things too, so that only what stands beside makes them units. Words that do not, WordNet itself tells.
UNITS = _words("foot feet meter meters metre metres yard yards pound pounds knot knots buck bucks")
# A unit under which every one of them is read; it is nothing else.
UNIT = "km"
_NUMBERS = _words(
    "three five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen "
    "twenty thirty forty fifty sixty seventy eighty ninety hundred thousand"
)
# Two feet are somebody's, as one foot is, but two foot measure, and so do two feet high and a few feet away.
_SOME = _words("two four few several many couple")
_ONE = _words("a one 1")
_SIZES = _words("high tall long wide deep thick")
_DISTANCES = _words("above below away apart off from up ahead of square")


def is_unit_at(words: Sequence[str], place: int) -> bool:
    """Whether the word at a place is a unit: one of UNITS after a number, or a number and a hyphen.

    Args:
        words: lower-case tokens of a caption, at least the two before the place and the one after it.
        place: of the word.
    """
    unit = words[place]
    if unit not in UNITS or not place:
        return False
    number = words[place - 2] if words[place - 1] in ("-", "of") and place > 1 else words[place - 1]
    after = words[place + 1] if place + 1 < len(words) else ""
    if number in _ONE:
        return after in _SIZES
    if number in _SOME:
        return after in _SIZES or after in _DISTANCES or (unit != "feet" and not unit.endswith("s"))
    in_digits = number[0].isdigit() and number[-1].isdigit()
    return in_digits or any(part in _NUMBERS for part in number.split("-"))

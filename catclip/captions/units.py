"""Which words are units of measure where they stand: feet in "25 feet", but not in "two feet in yellow socks"."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# They name things too, so that only a number before them makes them units. Words that do not, WordNet itself tells.
UNITS = _words("foot feet meter meters metre metres yard yards pound pounds knot knots buck bucks")
# A unit under which every one of them is read; it is nothing else.
UNIT = "km"
_NUMBERS = _words(
    "three five six seven eight nine ten eleven twelve fifteen twenty thirty forty fifty sixty hundred thousand"
)
_SOME = _words("two four")  # two feet are somebody's, as one foot is, but two foot measure


def is_unit(before: list[str]) -> bool:
    """Whether the last of some lower-case tokens is a unit: one of UNITS after a number, or a number and a hyphen.

    Args:
        before: up to three neighbouring tokens of a caption.
    """
    *others, unit = before
    if unit not in UNITS or not others:
        return False
    number = others[-2] if others[-1] == "-" and len(others) > 1 else others[-1]
    in_digits = number != "1" and number[0].isdigit() and number[-1].isdigit()
    return in_digits or number in _NUMBERS or (number in _SOME and unit != "feet" and not unit.endswith("s"))

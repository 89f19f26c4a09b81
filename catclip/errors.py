"""The one error that users see: their input is wrong, and the message says what to do about it."""

from collections.abc import Iterable
from difflib import get_close_matches

STOPPED_EARLY = 75  # exit code: a signal came, what was done is kept, and the same command goes on from there


class UserError(ValueError):
    """Something the user asked for cannot be done as asked. The command line prints it, no traceback, exit code 2."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` for the choice closest to `word`, or ``""`` when nothing is close."""
    close = get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raise `UserError` unless `value` is one of `choices`."""
    choices = list(choices)
    if value not in choices:
        raise UserError(f"{name}={value} is not one of {', '.join(choices)}.{nearest(str(value), choices)}")

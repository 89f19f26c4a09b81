"""When to try again, and when no more."""

import random
import time
from collections.abc import Callable

from catclip.captions.sources.failures import AddressError
from catclip.data.cache.saying import say, sentence
from catclip.errors import UserError

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds; each is twice the one before
_BRIEF = 5.0  # seconds of waiting for room of which nothing is said
_LONGEST_WISH = 120.0  # seconds that a server may ask for


class UnreachableError(UserError, OSError):
    """A shard cannot be had, or could not be had for so long that it was given up."""


class NoRoomError(AddressError):
    """Other downloads fill the folder at this moment."""

    def __init__(self, message: str) -> None:
        super().__init__(message, passes=True)


class Patience:
    """How long one shard is tried for.

    Args:
        seconds: for which to try again, each time that no more could be had of it; 0 for not at all.
        may_speak: whether something may be said now.
    """

    # The global generator may have been seeded, and be counted on.
    _chance = random.Random()

    def __init__(self, seconds: float, may_speak: Callable[[], bool]) -> None:
        self.seconds, self._may_speak = seconds, may_speak
        self._deadline = time.monotonic() + seconds
        self._pause = _FIRST_PAUSE
        self._said: float | None = None

    def wait(self, error: AddressError, progress: bool) -> None:
        """Wait before the next try, longer each time.

        Args:
            error: why the last one failed.
            progress: it has given some of the shard.

        Raises:
            UnreachableError: the error is no passing one, or the time is over.
        """
        if not error.passes:
            raise UnreachableError(str(error)) from error
        if progress:
            self._deadline, self._pause = time.monotonic() + self.seconds, _FIRST_PAUSE
        left = self._deadline - time.monotonic()
        if left <= 0:
            tried = f" It was tried for {self.seconds:g} s." if self.seconds else ""
            raise UnreachableError(f"{sentence(error)}{tried}") from error
        # Room is mostly found in a moment.
        brief = isinstance(error, NoRoomError) and self.seconds - left < _BRIEF
        if not brief and self._may_speak():
            say(f"Waiting: {sentence(error)} It is tried again, for {left:.0f} s.")
            self._said = self._said or time.monotonic()
        # At random, or all workers would come at the same moment.
        time.sleep(min(left, self._next_pause(error) * self._chance.uniform(0.5, 1)))

    def _next_pause(self, error: AddressError) -> float:
        if isinstance(error, NoRoomError):
            return _FIRST_PAUSE
        pause = max(self._pause, min(error.pause or 0, _LONGEST_WISH))
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        return pause

    def end(self, address: str) -> None:
        """Say that the waiting is over, if it was said that it began."""
        if self._said is not None:
            say(f"Going on after {time.monotonic() - self._said:.0f} s: {address} is here.")

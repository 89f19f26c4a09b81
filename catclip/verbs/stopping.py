"""Signals that ask a verb to stop: it says what is kept, and exits so that a scheduler knows to start it again."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(BaseException):
    """A signal that asks to stop; `str()` of it is its name."""


@contextmanager
def signals_raised() -> Iterator[None]:
    """Raise `Stopped` where a signal asks this process to stop."""

    def stop(number: int, _: object) -> None:
        raise Stopped(signal.Signals(number).name)

    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

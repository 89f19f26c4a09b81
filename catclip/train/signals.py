"""Signals that ask a run to stop: it ends its step and saves."""

import signal


class stop_signal:  # noqa: N801 - used as a context manager, like a function
    """Collects SIGTERM, SIGUSR1 and Ctrl-C, so that the loop ends its step and saves; a second Ctrl-C interrupts."""

    SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

    def __enter__(self) -> list[str]:
        received: list[str] = []

        def handle(number: int, frame: object) -> None:
            if received and number == signal.SIGINT:
                raise KeyboardInterrupt
            received.append(signal.Signals(number).name)

        self.before = {number: signal.signal(number, handle) for number in self.SIGNALS}
        return received

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

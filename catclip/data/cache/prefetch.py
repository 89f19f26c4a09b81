"""Fetching in the background what comes next."""

from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock, Thread

from catclip.errors import UserError

_THREADS = 2  # downloads at the same time, of each process


class Prefetcher:
    """Fetches a list of wishes in threads, which live as long as there are any.

    Args:
        fetch: brings one. What it raises is kept silent: it comes again where the shard is read.
    """

    def __init__(self, fetch: Callable[[str], None]) -> None:
        self._fetch = fetch
        self._lock = Lock()
        self._wishes: deque[str] = deque()
        self._threads = 0

    def wish(self, addresses: Sequence[str]) -> None:
        """Replace the wishes that are not fulfilled yet; a download that has begun goes on."""
        with self._lock:
            self._wishes = deque(addresses)
            more = min(_THREADS - self._threads, len(self._wishes))
            self._threads += more
        for _ in range(more):
            Thread(target=self._run, name="prefetch", daemon=True).start()

    def _run(self) -> None:
        try:
            while (address := self._next()) is not None:
                try:
                    self._fetch(address)
                except (UserError, OSError):
                    continue
        except BaseException:
            with self._lock:
                self._threads -= 1
            raise

    def _next(self) -> str | None:
        """Return the next wish; None, and count this thread no more, where there is none."""
        with self._lock:
            if self._wishes:
                return self._wishes.popleft()
            self._threads -= 1
            return None

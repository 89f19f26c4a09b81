"""The memory of a process and all its children together, as the system counts it."""

import threading
from pathlib import Path
from typing import Self

_INTERVAL = 0.2  # seconds


class PeakMemory:
    """`with PeakMemory() as memory: …`; then `memory.peak` is the largest sum of the processes' shares seen, in bytes.

    A page that several processes share is counted once (PSS). None where the system does not say (other than Linux).
    """

    def __init__(self) -> None:
        self.peak: int | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            now = tree_memory()
            if now is None:
                return
            self.peak = max(now, self.peak or 0)
            if self._stop.wait(_INTERVAL):
                return


def tree_memory(pid: int | str = "self") -> int | None:
    """Return the bytes that a process and its children hold now."""
    own = _own_memory(pid)
    if own is None:
        return None
    return own + sum(tree_memory(child) or 0 for child in _children(pid))


def _own_memory(pid: int | str) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _children(pid: int | str) -> list[int]:
    """The children of all of a process's threads; none of one that has ended meanwhile."""
    children = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            children += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return children

"""Parts of a corpus counted by several processes of this machine."""

import os
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing import connection, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any

import pyarrow as pa

from catclip.captions.corpus import CorpusCounts
from catclip.captions.parts import Counting, Part, PartProgress
from catclip.errors import UserError

_REPORT_EVERY = 0.3  # seconds
# A terminal and a cluster's scheduler send these to every process; what happens then, the parent decides.
_PARENTS_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def count_in_processes(
    counting: Counting, parts: Sequence[Part], workers: int, progress: PartProgress | None = None
) -> Iterator[tuple[int, CorpusCounts]]:
    """Yield (place in `parts`, its counts), in the order in which they are done.

    The processes end with this generator, and with the process that started them, however that ends.

    Raises:
        UserError: a file cannot be read, or a process was killed.
    """
    places = iter(range(len(parts)))
    team = [_Worker(counting) for _ in range(min(workers, len(parts)))]
    try:
        for worker, place in zip(team, places, strict=False):
            worker.send(place, parts[place])
        while busy := {worker.channel: worker for worker in team if worker.place is not None}:
            for channel in connection.wait(list(busy)):
                worker = busy[channel]  # type: ignore[index]
                kind, content = worker.receive()
                if kind == "progress":
                    if progress:
                        progress(*content)
                    continue
                done, worker.place = worker.place, None
                assert done is not None
                # First more to do, so that it need not wait for what is done with its counts.
                if (following := next(places, None)) is not None:
                    worker.send(following, parts[following])
                yield done, CorpusCounts.from_arrays(content, counting.extractor.synsets)
    finally:
        for worker in team:
            worker.end()


class _Worker:
    """A process that counts one part after the other; `place` is that of the part that it is counting."""

    def __init__(self, counting: Counting) -> None:
        self.place: int | None = None
        # Spawned: this process has threads of Arrow's and of the progress bar's, which a fork would leave locked.
        context = get_context("spawn")
        self.channel, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(counting, theirs), daemon=True)
        # A process inherits what is blocked. Starting multiprocessing's tracker unblocks it, so that comes first.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _PARENTS_SIGNALS)
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def send(self, place: int, part: Part) -> None:
        self.place = place
        try:
            self.channel.send(part)
        except OSError as error:
            raise self._death() from error

    def receive(self) -> tuple[str, Any]:
        """Return ("progress", (captions, bytes)) or ("done", arrays).

        Raises:
            UserError: the part cannot be read, or the process was killed.
        """
        try:
            kind, content = self.channel.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        if kind == "refused":
            raise UserError(content)
        if kind == "failed":
            raise RuntimeError(f"A counting process failed:\n{content}")
        return kind, content

    def _death(self) -> Exception:
        self.process.join()
        code = self.process.exitcode or 0
        if code == -signal.SIGKILL:
            return UserError(
                "A counting process was killed, most likely because the memory ran out. Give fewer workers=…"
            )
        if code < 0:
            return UserError(f"A counting process was ended by {signal.Signals(-code).name}.")
        return RuntimeError(f"A counting process ended with exit code {code}; what it said stands above.")

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.channel.close()


# ---- in the processes -----------------------------------------------------------------------------------------------


def _work(counting: Counting, channel: Connection) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pa.set_cpu_count(1)
    while True:
        part = channel.recv()
        try:
            reporter = _Reporter(channel)
            content = counting.count(part, reporter).arrays()
            reporter.flush()
        except UserError as error:
            channel.send(("refused", str(error)))
        except Exception:
            channel.send(("failed", traceback.format_exc()))
        else:
            channel.send(("done", content))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


class _Reporter:
    """Tells the parent of progress, a few times a second."""

    def __init__(self, channel: Connection) -> None:
        self.channel = channel
        self.captions, self.size = 0, 0
        self.last = monotonic()

    def __call__(self, captions: int, size: int) -> None:
        self.captions += captions
        self.size += size
        if monotonic() - self.last > _REPORT_EVERY:
            self.flush()

    def flush(self) -> None:
        self.channel.send(("progress", (self.captions, self.size)))
        self.captions, self.size = 0, 0
        self.last = monotonic()

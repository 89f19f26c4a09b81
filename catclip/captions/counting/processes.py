"""Work done piece by piece by several processes of this machine."""

import os
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Sequence
from multiprocessing import connection, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any

import pyarrow as pa

from catclip.errors import UserError

_REPORT_EVERY = 0.3  # seconds
# A terminal and a cluster's scheduler send these to every process; what happens then, the parent decides.
_PARENTS_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


Progress = Callable[[int, int], None]  # (captions or samples, bytes of the files) done since the last call
Task = Callable[[Any, Progress], Any]


def run_in_processes(
    task: Task, pieces: Sequence[Any], workers: int, progress: Progress | None = None
) -> Generator[tuple[int, Any], None, None]:
    """Yield (place in `pieces`, what the task returned for it), in the order in which they are done.

    The processes end with this generator, and with the process that started them, however that ends.

    Args:
        task: is called with a piece and a `Progress`. It is pickled once for each process, and so are what it is given
            and returns; between pieces it may remember something.
        pieces: one after the other, each goes to the next process that is free.
        workers: processes at the most.
        progress: is told what the tasks tell.

    Raises:
        UserError: the task raised it, or a process was killed.
    """
    places = iter(range(len(pieces)))
    team: list[_Worker] = []
    try:
        for _ in range(min(workers, len(pieces))):
            team.append(_Worker(task))
        for worker, place in zip(team, places, strict=False):
            worker.send(place, pieces[place])
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
                # First more to do, so that it need not wait for what is done with the result.
                if (following := next(places, None)) is not None:
                    worker.send(following, pieces[following])
                yield done, content
    finally:
        for worker in team:
            worker.end()


class _Worker:
    """A process that does one piece after the other; `place` is that of the piece that it is at."""

    def __init__(self, task: Task) -> None:
        self.place: int | None = None
        # Spawned: this process has threads of Arrow's and of the progress bar's, which a fork would leave locked.
        context = get_context("spawn")
        self.channel, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs,), daemon=True)
        # A process inherits what is blocked. Starting multiprocessing's tracker unblocks it, so that comes first.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _PARENTS_SIGNALS)
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        # Not an argument of the process: to hand over much to one that has died by then would take for ever.
        self._send(task)

    def send(self, place: int, piece: Any) -> None:
        self.place = place
        self._send(piece)

    def _send(self, content: Any) -> None:
        try:
            self.channel.send(content)
        except OSError as error:
            raise self._death() from error

    def receive(self) -> tuple[str, Any]:
        """Return ("progress", its arguments) or ("done", what the task returned).

        Raises:
            UserError: the task raised it, or the process was killed.
        """
        try:
            kind, content = self.channel.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        if kind == "refused":
            raise UserError(content)
        if kind == "failed":
            raise RuntimeError(f"A worker process failed:\n{content}")
        return kind, content

    def _death(self) -> Exception:
        self.process.join()
        code = self.process.exitcode or 0
        if code == -signal.SIGKILL:
            return UserError(
                "A worker process was killed, most likely because the memory ran out. Give fewer workers=…"
            )
        if code < 0:
            return UserError(f"A worker process was ended by {signal.Signals(-code).name}.")
        return RuntimeError(f"A worker process ended with exit code {code}; what it said stands above.")

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.channel.close()


# ---- in the processes -----------------------------------------------------------------------------------------------


def _work(channel: Connection) -> None:
    end_with_parent()
    pa.set_cpu_count(1)
    task: Task = channel.recv()
    while True:
        piece = channel.recv()
        try:
            reporter = _Reporter(channel)
            content = task(piece, reporter)
            reporter.flush()
        except UserError as error:
            channel.send(("refused", str(error)))
        except Exception:
            channel.send(("failed", traceback.format_exc()))
        else:
            channel.send(("done", content))


def end_with_parent() -> None:
    """End this process, whatever it is doing, as soon as the one that started it has ended."""

    def wait() -> None:
        parent = parent_process()
        assert parent is not None
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class _Reporter:
    """Tells the parent of progress, a few times a second."""

    def __init__(self, channel: Connection) -> None:
        self.channel = channel
        self.count, self.size = 0, 0
        self.last = monotonic()

    def __call__(self, count: int, size: int) -> None:
        self.count += count
        self.size += size
        if monotonic() - self.last > _REPORT_EVERY:
            self.flush()

    def flush(self) -> None:
        self.channel.send(("progress", (self.count, self.size)))
        self.count, self.size = 0, 0
        self.last = monotonic()

"""What the processes that make batches have in common."""

import gc
import re
import signal
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from catclip.captions.counting.processes import end_with_parent
from catclip.errors import UserError

T = TypeVar("T")

# More processes than cores are no danger, as torch has it in two long lines: the run says itself what it waits for.
warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)

_DIED = re.compile(r"DataLoader worker \(pid")


def begin_worker(worker: int) -> None:
    """What a worker process does first: leave the signals to its parent, and end with it.

    What ends a run early a terminal and a cluster's scheduler send to every process. The run then ends its step and
    writes a checkpoint, for which it needs its loader alive.
    """
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    # What the parent made is no garbage here. To look for some would copy what is shared with the parent until then.
    gc.freeze()
    end_with_parent()


def made_by_workers(loader: Iterable[T]) -> Iterator[T]:
    """Yield what a `DataLoader` does.

    Raises:
        UserError: one of its processes was killed.
    """
    with worker_deaths():
        try:
            yield from loader
        # What it is depends on whether the worker's last batches were still to be fetched from it.
        except (EOFError, ConnectionError) as error:
            raise _death(error) from error


@contextmanager
def worker_deaths() -> Iterator[None]:
    """Say it plainly where a worker was killed: torch raises that in the midst of whatever the main process does.

    Raises:
        UserError: in place of torch's error.
    """
    try:
        yield
    except RuntimeError as error:
        if not _DIED.match(str(error)):
            raise
        raise _death(error) from error


def _death(error: Exception) -> UserError:
    return UserError(
        f"A process of the loader was killed ({str(error).strip() or type(error).__name__}): most likely memory ran "
        "out, or in a container shared memory (--shm-size). Give fewer data.workers, or a smaller run.batch."
    )

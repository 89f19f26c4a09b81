"""What the processes that make batches have in common."""

import signal

from catclip.captions.counting.processes import end_with_parent


def begin_worker(worker: int) -> None:
    """What a worker process does first: leave the signals to its parent, and end with it.

    What ends a run early a terminal and a cluster's scheduler send to every process. The run then ends its step and
    writes a checkpoint, for which it needs its loader alive.
    """
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()

"""What the processes that make batches have in common."""

import signal


def leave_signals_to_parent(worker: int) -> None:
    """Ignore what ends a run early: a terminal and a cluster's scheduler send it to every process.

    The run ends its step and writes a checkpoint, for which it needs its loader alive; the workers end with it.
    """
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)

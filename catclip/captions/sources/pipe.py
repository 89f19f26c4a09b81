"""``pipe:COMMAND``: what a command of the shell writes, read as a file."""

import errno
import io
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
from typing import Any

from catclip.captions.sources.failures import AddressError

PREFIX = "pipe:"
_CANNOT_RUN = (126, 127)  # a shell's exit status: the command is none, or is not there
_LAST = 4096  # bytes of its errors in which the last line is looked for


def is_pipe(path: str) -> bool:
    return path.startswith(PREFIX)


class PipeFile(io.RawIOBase):
    """The standard output of a command, through the shell; of a pipeline each part must succeed where bash is there.

    Args:
        address: ``pipe:COMMAND``.
        timeout: seconds without output after which it is given up; None: any time.

    Attributes:
        start: the byte at which it begins: 0.

    Raises:
        AddressError: the command cannot be started; while reading, it has failed or was killed: half an output is none.
    """

    start = 0

    def __init__(self, address: str, timeout: float | None = None) -> None:
        self.address, self.timeout = address, timeout
        bash = shutil.which("bash")
        shell = [bash, "-o", "pipefail", "-c"] if bash else ["/bin/sh", "-c"]
        self._read = 0
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            # In a session of its own: what it starts is killed with it.
            self._process = subprocess.Popen(
                [*shell, address.removeprefix(PREFIX)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,
            )
        except OSError as error:
            passes = error.errno in (errno.EAGAIN, errno.ENOMEM)
            raise AddressError(f"{address} cannot be started: {error.strerror}.", passes) from error
        assert self._process.stdout is not None
        self._handle = self._process.stdout.fileno()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._handle, selectors.EVENT_READ)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._selector.select(self.timeout):
            raise AddressError(f"{self.address} has written nothing for {self.timeout:g} s.", passes=True)
        read = os.readv(self._handle, [buffer])
        self._read += read
        if not read:
            self._check_end()
        return read

    def tell(self) -> int:
        return self._read

    def _check_end(self) -> None:
        status = self._process.wait()
        if status:
            ending = f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
            raise AddressError(f"{self.address} {ending}{self._last_error()}", passes=status not in _CANNOT_RUN)

    def _last_error(self) -> str:
        end = self._errors.seek(0, io.SEEK_END)
        self._errors.seek(max(0, end - _LAST))
        lines = self._errors.read().decode(errors="replace").split("\n")
        return next((f": {line.strip()}" for line in reversed(lines) if line.strip()), ".")

    def close(self) -> None:
        if not self.closed:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._selector.close()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process.wait()
            self._errors.close()
        super().close()

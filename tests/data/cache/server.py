"""A web server that fails as servers do, when it is told to; as a thread here, or as a process that can be killed.

As a process: ``python server.py FOLDER PORT RATE``; it prints its port when it answers.
"""

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_PIECE = 1 << 14  # bytes


class Server(ThreadingHTTPServer):
    """Serves the files of a folder.

    Attributes:
        faults: what goes wrong with the next GETs, one each: ``"503"``, ``"429 after 7"``, ``"cut 1000"`` (after so
            many bytes the connection ends), ``"stall 1000"`` (nothing more comes), ``"silence"`` (no answer), ``""``
            for nothing.
        head_faults: the same for HEADs.
        requests: (method, range) of each that came.
        ranges, sized, tagged: whether it sends parts, says sizes, and says versions.
        shift: bytes by which the parts that it sends begin too early.
        rate: bytes a second; None for all at once.
    """

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.folder = folder
        self.faults: list[str] = []
        self.head_faults: list[str] = []
        self.requests: list[tuple[str, str | None]] = []
        self.ranges = self.sized = self.tagged = True
        self.shift = 0
        self.rate: int | None = None
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def gets(self) -> list[str | None]:
        """Return the ranges of the GETs that came."""
        return [asked for method, asked in self.requests if method == "GET"]

    def __enter__(self) -> "Server":
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        pass  # who asked has gone


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(self.server.head_faults)

    def do_GET(self) -> None:
        self._answer(self.server.faults)

    def _answer(self, faults: list[str]) -> None:
        asked = self.headers.get("Range")
        self.server.requests.append((self.command, asked))
        fault, _, number = (faults.pop(0) if faults else "").partition(" ")
        if fault == "silence":
            self.server.ended.wait()
        path = self.server.folder / self.path.lstrip("/").partition("?")[0]
        if fault.isdigit() or not path.is_file():
            return self._refuse(int(fault or 404), number.removeprefix("after "))
        data = path.read_bytes()
        start, stop = 0, len(data)
        partly = asked is not None and self.server.ranges
        if partly:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(stop, int(last) + 1 if last else stop)
            if start >= stop:
                return self._refuse(416)
            start = max(0, start - self.server.shift)
        self.send_response(206 if partly else 200)
        if partly:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self._send_headers(path, stop - start)
        if self.command == "GET":
            end = start + int(number) if fault in ("cut", "stall") else stop
            self._send_body(data[start : min(end, stop)], whole=end >= stop)
            if fault == "stall":
                self.server.ended.wait()

    def _refuse(self, status: int, retry_after: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.end_headers()

    def _send_headers(self, path: Path, length: int) -> None:
        if self.server.sized:
            self.send_header("Content-Length", str(length))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        if self.server.tagged:
            self.send_header("ETag", f'"{path.stat().st_mtime_ns:x}"')
        self.end_headers()

    def _send_body(self, data: bytes, whole: bool) -> None:
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            self.wfile.write(piece if self.server.sized else b"%x\r\n%s\r\n" % (len(piece), piece))
            if self.server.rate:
                time.sleep(len(piece) / self.server.rate)
        if whole and not self.server.sized:
            self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()
        self.close_connection = not whole


def _main(folder: str, port: str, rate: str) -> None:
    server = Server(Path(folder), int(port))
    server.rate = int(rate) or None
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    _main(*sys.argv[1:])

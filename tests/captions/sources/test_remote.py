"""Shards on web servers that send ranges and that do not, and addresses inside others."""

import re
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from catclip.captions.sources.files import expand
from tests.captions.making import COMPRESSIONS, file_of, read, tar_of

CAPTIONS = [f"a dog on {number} couches" for number in range(40)]


class WithRanges(SimpleHTTPRequestHandler):
    """Sends the bytes of a file that are asked for."""

    def do_GET(self):
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "bytes=0-"))
        with open(self.translate_path(self.path), "rb") as file:
            content = file.read()
        first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        self.wfile.write(content[first : last + 1])

    def log_message(self, *_):
        pass


@pytest.fixture(params=["without ranges", "with ranges"])
def address(request, tmp_path, server):
    if request.param == "without ranges":
        yield server
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(WithRanges, directory=str(tmp_path))) as http:
        threading.Thread(target=partial(http.serve_forever, poll_interval=0.02), daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.mark.parametrize("compression", ["", ".gz"])
def test_large_shards_come_from_web_servers(address, tmp_path, compression):
    members = [
        (f"{number:05d}.{ending}", content)
        for number, caption in enumerate(CAPTIONS)
        for ending, content in (("jpg", bytes(range(256)) * 512), ("txt", caption.encode()))
    ]
    (tmp_path / f"a.tar{compression}").write_bytes(COMPRESSIONS[compression](tar_of(members)))  # 5 MB
    assert read(f"{address}/a.tar{compression}") == (CAPTIONS, {})


def test_addresses_inside_others(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as inside:
        inside.writestr("one.TXT", file_of(CAPTIONS, "txt"))
        inside.writestr("more/two.txt", file_of(CAPTIONS[:3], "txt"))
        inside.writestr("more/three.parquet", file_of(CAPTIONS[:5], "parquet"))
    outer = f"file://{tmp_path}/a.zip"
    for archive in (outer, f"{tmp_path}/a.zip", f"simplecache::{outer}"):
        assert expand(f"zip://one.TXT::{archive}") == [f"zip://one.TXT::{archive}"]
        assert expand(f"zip://more/*::{archive}") == expand(f"zip://more::{archive}")
        three, two = expand(f"zip://more::{archive}")
        assert read(f"zip://one.TXT::{archive}") == (CAPTIONS, {})
        assert read(two) == (CAPTIONS[:3], {})
        assert read(three) == (CAPTIONS[:5], {})
    (tmp_path / "a.txt").write_bytes(file_of(CAPTIONS, "txt"))
    (found,) = expand(f"simplecache::file://{tmp_path}/*.txt")
    assert found == f"simplecache::file://{tmp_path}/a.txt"
    assert read(found) == (CAPTIONS, {})

"""Files of web servers: from a byte on where that is possible, and what a refusal is called."""

import os
import time

import pytest

from catclip.captions.sources import expand
from catclip.captions.sources.failures import AddressError
from catclip.captions.sources.remote import RemoteFile, size_and_version
from catclip.errors import UserError
from tests.data.cache.server import Server

DATA = os.urandom(100_000)


@pytest.fixture
def web(tmp_path):
    (tmp_path / "a.tar").write_bytes(DATA)
    with Server(tmp_path) as server:
        yield server


def read(web, offset, random_access=False):
    with RemoteFile(f"{web.url}/a.tar", random_access, offset, timeout=5) as file:
        return file.start, file.read()


@pytest.mark.parametrize("random_access", [False, True])
@pytest.mark.parametrize("offset", [0, 1, 60_000, 99_999])
def test_from_a_byte_on(web, offset, random_access):
    assert read(web, offset, random_access) == (offset, DATA[offset:])


def test_from_the_start_where_the_server_cannot(web):
    web.ranges = False
    assert read(web, 60_000) == (0, DATA)


def test_from_the_start_where_the_server_sends_another_part(web):
    web.shift = 10
    assert read(web, 60_000) == (0, DATA)


def test_from_the_start_where_the_file_is_shorter_now(web):
    assert read(web, 200_000) == (0, DATA)
    assert web.gets() == ["bytes=200000-", None]


def test_size_and_version(web, tmp_path):
    size, version = size_and_version(f"{web.url}/a.tar")
    assert size == 100_000
    os.utime(tmp_path / "a.tar", (1, 1))
    assert version != size_and_version(f"{web.url}/a.tar")[1] != ""
    web.sized = web.tagged = False
    assert size_and_version(f"{web.url}/a.tar") == (None, "")


def test_silence_ends(web):
    web.faults = ["stall 70000"]
    start = time.monotonic()
    with RemoteFile(f"{web.url}/a.tar", random_access=False, timeout=0.3) as file:
        with pytest.raises(AddressError, match=r"a\.tar cannot be read: the server does not answer in time") as error:
            file.read()
        assert error.value.passes
    web.head_faults = ["silence"]
    with pytest.raises(AddressError, match="does not answer in time"):
        size_and_version(f"{web.url}/a.tar", timeout=0.3)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("status", ["403", "503"])
def test_a_refusal_is_no_absence(web, status):
    web.head_faults = web.faults = [status] * 9
    with pytest.raises(AddressError, match=rf"a\.tar cannot be read: the server answers {status}"):
        expand(f"{web.url}/a.tar")


def test_many_addresses_are_asked_for_together(web, tmp_path):
    for number in range(40):
        (tmp_path / f"{number:02}.tar").touch()
    assert expand(f"{web.url}/{{00..39}}.tar") == [f"{web.url}/{number:02}.tar" for number in range(40)]
    with pytest.raises(UserError, match=r"No file matches .*/40\.tar"):
        expand(f"{web.url}/{{00..40}}.tar")

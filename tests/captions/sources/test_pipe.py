"""`pipe:COMMAND`: what a command writes, all of it or an error."""

import io
import os
import shutil
import subprocess
import tarfile
import time

import pytest

from catclip.captions.sources import expand
from catclip.captions.sources.failures import AddressError
from catclip.captions.sources.files import file_info, open_raw, split_name
from catclip.captions.sources.pipe import PipeFile
from catclip.captions.sources.reading import read_captions


def read(command, timeout=None):
    with PipeFile(f"pipe:{command}", timeout) as file:
        return file.read()


def test_what_a_command_writes(tmp_path):
    data = os.urandom(1_000_000)
    (tmp_path / "a b").write_bytes(data)
    assert read(f"cat '{tmp_path}/a b'") == data
    assert read(f"cat '{tmp_path}/a b' | gzip -1 | gunzip") == data
    assert read("true") == b""
    assert read("cat; echo here") == b"here\n"  # what it reads is empty


@pytest.mark.parametrize(
    ("command", "said", "passes"),
    [
        ("echo half; echo one >&2; echo two >&2; exit 3", "ended with exit status 3: two", True),
        ("exit 1", "ended with exit status 1.", True),
        ("kill -9 $$", "was killed by signal 9", True),
        ("no-such-command", "ended with exit status 127: .*not found", False),
        ("/", "ended with exit status 126", False),
    ],
)
def test_a_failure_is_an_error(command, said, passes):
    with pytest.raises(AddressError, match=f"{said}") as error:
        read(command)
    assert str(error.value).startswith(f"pipe:{command}")
    assert error.value.passes == passes


@pytest.mark.skipif(not shutil.which("bash"), reason="only bash tells")
def test_each_part_of_a_pipeline_must_succeed():
    with pytest.raises(AddressError, match="exit status 5: lost"):
        read("(echo half; echo lost >&2; exit 5) | cat")


def test_silence_ends(tmp_path):
    start = time.monotonic()
    with pytest.raises(AddressError, match=r"has written nothing for 0\.3 s") as error:
        read(f"sleep 60 & echo $! > {tmp_path}/pid; echo a; wait", timeout=0.3)
    assert error.value.passes
    assert time.monotonic() - start < 5
    # What it started has ended with it.
    pid = (tmp_path / "pid").read_text().strip()
    time.sleep(0.1)
    state = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True).stdout
    assert not state.strip() or state.startswith("Z")


def test_who_stops_reading_ends_the_command():
    with PipeFile("pipe:yes") as file:
        file.read(10)
        process = file._process
    assert process.returncode is not None


def test_a_command_is_taken_as_it_is(tmp_path):
    assert expand("pipe:curl -s https://x.org/a/*.tar?b | cat") == ["pipe:curl -s https://x.org/a/*.tar?b | cat"]
    assert expand("pipe:cat {00..02}.tar") == ["pipe:cat 00.tar", "pipe:cat 01.tar", "pipe:cat 02.tar"]
    assert split_name("pipe:gunzip -c a.csv.gz") == (".tar", "")
    assert file_info("pipe:cat a.tar") == (None, "")


def test_captions_of_a_shard_out_of_a_command(tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for key, caption in (("a", b"a dog"), ("b", b"a cat")):
            info = tarfile.TarInfo(f"{key}.txt")
            info.size = len(caption)
            tar.addfile(info, io.BytesIO(caption))
    with open_raw(f"pipe:cat {tmp_path}/0.tar") as raw:
        assert raw.read() == (tmp_path / "0.tar").read_bytes()
    chunks = list(read_captions(f"pipe:cat {tmp_path}/0.tar"))
    assert [caption for chunk in chunks for caption in chunk.captions.to_pylist()] == ["a dog", "a cat"]
    with pytest.raises(AddressError, match="exit status 4"):
        list(read_captions(f"pipe:head -c 1200 {tmp_path}/0.tar; exit 4"))

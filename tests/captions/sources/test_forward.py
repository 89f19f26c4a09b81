"""A stream that cannot seek, read as a tar is."""

import io

from hypothesis import given
from hypothesis import strategies as st

from catclip.captions.sources.forward import ForwardFile

DATA = bytes(range(256)) * 40


@given(steps=st.lists(st.tuples(st.integers(-1024, 3000), st.integers(0, 3000)), max_size=12))
def test_it_reads_as_a_file_does(steps: list[tuple[int, int]]):
    forward, file = ForwardFile(io.BytesIO(DATA)), io.BytesIO(DATA)
    read = 0  # the furthest byte that was given
    for step, size in steps:
        place = max(forward.tell() + step, min(read, len(DATA)) - 1024, 0)
        assert forward.seek(place) == file.seek(place)
        assert forward.read(size) == file.read(size)
        read = max(read, place, file.tell())
        assert forward.tell() == file.tell()

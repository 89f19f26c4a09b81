import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from catclip.captions.columns.hashing import KeyTable

KEYS = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 300), unique=True, max_size=300)


@given(st.lists(KEYS, max_size=4), KEYS)
def test_a_table_is_a_dict(groups: list[list[int]], absent: list[int]):
    table = KeyTable()
    expected: dict[int, int] = {}
    for group in groups:
        new = [key for key in group if key not in expected]
        values = range(len(expected), len(expected) + len(new))
        table.put(np.array(new, np.uint64), np.array(values, np.int32))
        expected.update(zip(new, values, strict=True))
        asked = [*expected, *absent]
        found = table.get(np.array(asked, np.uint64))
        assert found.tolist() == [expected.get(key, -1) for key in asked]
    assert len(table) == len(expected)

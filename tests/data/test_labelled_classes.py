"""Labels as they are written are the indices of their classes, or it is said which of them is none."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from catclip.data.labelled.classes import classes_beside, index_labels, read_classes
from catclip.errors import UserError


def where(place: int) -> str:
    return f"place {place}"


def index(labels, classes=None):
    names, ids = index_labels(labels, classes, where)
    assert ids.dtype == np.int64
    return names, ids.tolist()


def test_names_are_found_and_sorted():
    assert index(["dog", "ant", "dog", "cat"]) == (["ant", "cat", "dog"], [2, 0, 2, 1])


def test_numbers_are_found_and_are_the_indices():
    labels = [str(number % 11) for number in range(40)]
    assert index(labels) == ([str(number) for number in range(11)], [number % 11 for number in range(40)])
    assert index(["01", "0", "+1"])[0] == ["+1", "0", "01"], "not all are numbers, so all are names"


def test_numbers_and_names_of_given_classes():
    assert index(["2", "ant", "0", "dog"], ["dog", "cat", "ant"]) == (["dog", "cat", "ant"], [2, 2, 0, 0])
    # A name comes before a number: digits may be called "1", "2" … "0".
    assert index(["0", "1"], ["1", "0"]) == (["1", "0"], [1, 0])
    assert index(["1", "0"], ["crane", "crane"]) == (["crane", "crane"], [1, 0])


@pytest.mark.parametrize(
    ("labels", "classes", "said"),
    [
        (["dog", "dg"], ["dog"], r"place 1 has class 'dg', which is none of the 1 classes\. Did you mean 'dog'\?"),
        (["0", "3"], ["a", "b", "c"], "place 1 has label 3: there are 3 classes, numbered from 0"),
        (["-1"], ["a", "b", "c"], "place 0 has label -1: there are 3 classes"),
        (["9" * 5000], ["a"], "place 0 has class '99*', which is none"),
        (["0", "crane"], ["crane", "crane"], "place 1 has class 'crane', which is the name of 2 classes"),
        (["1", "2"], None, r"from 1 to 2, and nothing has label 0\. If they are .* data\.classes=FILE"),
        (["0", "1000000000000"], None, "from 0 to 1000000000000, and nothing has label 1"),
        (["0", "-1"], None, "from -1 to 0, and nothing has label 1"),
    ],
)
def test_what_is_no_class_is_said(labels, classes, said):
    with pytest.raises(UserError, match=said) as caught:
        index(labels, classes)
    assert len(str(caught.value)) < 300


@given(st.lists(st.text(min_size=1, max_size=3) | st.integers(-2, 5).map(str), max_size=30))
@example(["1", "0"])
@example(["0", "0"])
def test_found_classes_are_the_distinct_labels(labels):
    numbers = all(label.lstrip("-").isdecimal() and label.isascii() and label.count("-") < 2 for label in labels)
    if numbers and {int(label) for label in labels} != set(range(len({int(label) for label in labels}))):
        with pytest.raises(UserError):
            index(labels)
        return
    names, ids = index(labels)
    if numbers:
        assert ids == [int(label) for label in labels]
    else:
        assert [names[id_] for id_ in ids] == labels
        assert names == sorted(set(labels))


def test_class_names_come_from_a_file_or_a_list(tmp_path):
    file = tmp_path / "classes.txt"
    file.write_bytes(b"\xef\xbb\xbfdog\r\n hot dog \r\nant\n\n")
    assert read_classes(str(file)) == ["dog", "hot dog", "ant"]
    assert classes_beside(str(tmp_path / "0.tar")) == ["dog", "hot dog", "ant"]
    assert classes_beside(str(tmp_path / "deeper" / "0.tar")) is None
    assert read_classes(["a", 1]) == ["a", "1"]


@pytest.mark.parametrize(
    ("content", "said"), [(b"a\n\nb\n", "give one for each"), (b"", "give one"), (b"\xff", "no text in UTF-8")]
)
def test_wrong_class_files_are_said(tmp_path, content, said):
    (tmp_path / "c.txt").write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_classes(tmp_path / "c.txt")
    with pytest.raises(UserError, match=r"none\.txt, the class names, cannot be read"):
        read_classes(tmp_path / "none.txt")

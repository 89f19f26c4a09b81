"""Classes find their rows; the report comes back as it was, and as it was edited."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from catclip.captions import Vocabulary
from catclip.errors import UserError
from catclip.transfer.mapping import load_mapping, map_classes
from catclip.transfer.similarity import path_similarity

DOG, CORGI, CAT, CAR, ANIMAL, VEHICLE, FELINE = (
    "n02084071", "n02112826", "n02121620", "n02958343", "n00015388", "n04524313", "n02120997"
)  # fmt: skip
COUNTS = {DOG: 90, CAR: 50, ANIMAL: 40, FELINE: 20}


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.from_counts(COUNTS, {"captions": "100", "rule": "default", "sense": "visual"})


def hows(mapping) -> list[str]:
    return [match.how for match in mapping.matches]


def test_one_name_is_no_list_of_classes(vocabulary):
    with pytest.raises(UserError, match=r"'dog' is one name.*\['dog'\]"):
        map_classes("dog", vocabulary)


def test_ways_to_a_row(vocabulary):
    names = ["dog", CORGI, "cat", "truck", "xyzzy"]
    nearest = map_classes(names, vocabulary)
    assert hows(nearest) == ["exact", "nearest", "nearest", "nearest", "none"]
    assert nearest.rows == [(0,), (0,), (3,), (1,), ()]
    assert [match.similarity for match in nearest.matches] == pytest.approx(
        [1.0, path_similarity(CORGI, DOG), path_similarity(CAT, FELINE), path_similarity("n04490091", CAR), None]
    )
    assert nearest.shares() == pytest.approx({"exact": 0.2, "nearest": 0.6, "none": 0.2})
    assert nearest.same_rows() == [["dog", CORGI]]
    hypernym = map_classes(names, vocabulary, "hypernym")
    assert hows(hypernym) == ["exact", "hypernym", "hypernym", "none", "none"]
    assert hypernym.rows == [(0,), (0,), (3,), (), ()]
    assert map_classes(names, vocabulary, "exact").rows == [(0,), (), (), (), ()]


def test_rolled_up_synsets_have_the_row_they_went_into():
    rolled = Vocabulary.from_counts({DOG: 90, CORGI: 2, CAR: 50}, {}).prune(10, how="rollup")
    (match,) = map_classes([CORGI], rolled, "exact").matches
    assert match.how == "rollup"
    assert match.rows == tuple(rolled.labels([CORGI]))
    assert match.similarity == pytest.approx(path_similarity(CORGI, rolled.wnids[match.rows[0]]))


def test_several_synsets_have_several_rows(vocabulary):
    (match,) = map_classes(["dog car"], vocabulary).matches
    assert (match.how, match.rows, match.similarity) == ("exact", (0, 1), 1.0)
    (match,) = map_classes(["dog truck"], vocabulary, "exact").matches
    assert (match.how, match.rows, match.similarity) == ("partly", (0,), 0.5), "there is nothing for the truck"
    (match,) = map_classes(["xyzzy dog, cat"], vocabulary).matches
    assert match.rows == (3,), "a synonym that is a noun as a whole"


def test_the_report_comes_back(vocabulary, tmp_path):
    mapping = map_classes(["dog", "cat", "dog car", "xyzzy"], vocabulary)
    path = tmp_path / "deep" / "map.tsv"
    mapping.save(path, strategy="nearest")
    assert load_mapping(path, vocabulary).matches == mapping.matches
    assert load_mapping(path, vocabulary, ["xyzzy", "dog"]).matches == [mapping.matches[3], mapping.matches[0]]
    text = path.read_text()
    assert f"# vocabulary_digest={vocabulary.digest}\n# strategy=nearest\nclass\t" in text
    smaller = Vocabulary.from_counts({DOG: 2, CAR: 1}, {})
    with pytest.raises(UserError, match=r"Line \d+ of .*map.tsv \(made for another vocabulary\): .* is no label"):
        load_mapping(path, smaller)


def test_the_report_can_be_edited(vocabulary, tmp_path):
    path = tmp_path / "map.tsv"
    map_classes(["dog", "cat", "xyzzy"], vocabulary).save(path)
    lines = path.read_text().splitlines()
    header = lines[1].split("\t")
    fields = [line.split("\t") for line in lines[2:]]
    rows = header.index("rows")
    fields[0][rows] = ""  # the dog is to start at random,
    fields[1][rows] = f"animal.n.01, {CAR}"  # a cat as animal and car,
    fields[2][rows] = DOG
    path.write_text("\n".join([lines[1], *map("\t".join, fields)]))
    edited = load_mapping(path, vocabulary)
    assert edited.rows == [(), (2, 1), (0,)]
    assert hows(edited) == ["none", "given", "given"]
    path.write_text("class\trows\ndog\tn02084071\n")
    assert load_mapping(path, vocabulary).rows == [(0,)]


def test_what_a_spreadsheet_quotes_is_read(vocabulary, tmp_path):
    path = tmp_path / "map.tsv"
    path.write_text('class\trows\r\n"dog, domestic dog"\t"n02084071, n02958343"\r\n"12"" single"\tn02958343\r\n')
    assert load_mapping(path, vocabulary, ["dog, domestic dog", '12" single']).rows == [(0, 1), (1,)]
    mapping = map_classes(['"hot" dog', 'dog "rex"', "dog, cat"], vocabulary)
    mapping.save(path)
    back = load_mapping(path, vocabulary)
    assert (back.names, back.rows) == (mapping.names, mapping.rows)


NAMES = st.text(st.characters(exclude_categories=["Cs"])).filter(
    lambda name: "\t" not in name and "".join(name.splitlines()) == name
)


@given(st.lists(NAMES | st.sampled_from(["#1", '"', "# a, b", '#"hot" dog', ",", "'", " dog "])))
def test_any_names_come_back(tmp_path_factory, vocabulary, names):
    names = [*names, "dog"]
    path = tmp_path_factory.mktemp("names") / "map.tsv"
    mapping = map_classes(names, vocabulary)
    mapping.save(path, strategy="nearest")
    back = load_mapping(path, vocabulary, names)
    assert [match[:5] for match in back.matches] == [match[:5] for match in mapping.matches], "similarity is rounded"


def test_a_table_of_which_every_cell_is_quoted_is_read(vocabulary, tmp_path):
    path = tmp_path / "map.tsv"
    path.write_text('"# strategy=nearest"\t\n"class"\t"rows"\n"#1 dog"\t"dog.n.01"\n\t\n')
    assert load_mapping(path, vocabulary, ["#1 dog"]).rows == [(0,)]


def test_synsets_can_be_edited_by_name(vocabulary, tmp_path):
    path = tmp_path / "map.tsv"
    path.write_text("class\tsynsets\trows\nrex\tdog.n.01, n02958343\tn02084071\n")
    mapping = load_mapping(path, vocabulary)
    assert mapping.matches[0].synsets == (DOG, CAR)
    mapping.save(path)
    assert load_mapping(path, vocabulary).matches == mapping.matches


def test_classes_of_one_name_are_told_apart_by_their_order(vocabulary, tmp_path):
    path = tmp_path / "map.tsv"
    path.write_text(f"class\trows\ncrane\t{DOG}\ncat\t{FELINE}\ncrane\t{CAR}\n")
    assert load_mapping(path, vocabulary, ["crane", "cat", "crane"]).rows == [(0,), (3,), (1,)]
    with pytest.raises(UserError, match=r"Line 4 of .*'crane' has a line already"):
        load_mapping(path, vocabulary, ["cat", "crane", "crane"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no mapping of classes"),
        ("index\twnid\n0\tn02084071\n", "needs columns class and rows"),
        ("class\trows\ndog\tn02121620\n", "is no label of the vocabulary. The nearest is n02120997"),
        ("class\trows\ndog\tdog.n.99\n", "Line 2 .*, rows: dog.n.99"),
        ("class\tsynsets\trows\ndog\tdogg.n.01\tdog.n.01\n", "Line 2 .*, synsets: dogg.n.01: .* has no noun 'dogg'"),
        ("class\tsynsets\trows\ndog\tn99999999\tdog.n.01\n", "Line 2 .*, synsets: n99999999 is no noun synset"),
        ("class\trows\ndog\tn02084071\ndog\t\n", "class 'dog' has a line already"),
        ("class\trows\ndog\t\n", "no rows for any class"),
        (
            "class\trows\thow\trow_names\tsimilarity\ndog\tn02084071\texact\tdog.n.01\tx\n",
            "similarity 'x' is no number",
        ),
        ("class\trows\nmouse\tn02084071\n", "no line for the classes dog"),
    ],
)
def test_files_that_are_no_mapping_are_said(vocabulary, tmp_path, text, message):
    path = tmp_path / "map.tsv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_mapping(path, vocabulary, ["dog"])
    with pytest.raises(UserError, match="cannot be read"):
        load_mapping(tmp_path / "missing.tsv", vocabulary)


def test_what_cannot_be_mapped_is_said(vocabulary):
    with pytest.raises(UserError, match=r"None of the 2 classes .* 'xyzzy'"):
        map_classes(["xyzzy", "foobarbaz"], vocabulary)
    with pytest.raises(UserError, match="strategy=near is not one of"):
        map_classes(["dog"], vocabulary, "near")
    with pytest.raises(UserError, match=r"numbers for names \(0, 1, 2 and 7 more\).*data\.classes=FILE"):
        map_classes([str(number) for number in range(10)], vocabulary)
    with pytest.raises(UserError, match="no classes"):
        map_classes([], vocabulary)
    for name in ("dog\tcat", "dog\ncat", "dog\n"):
        with pytest.raises(UserError, match="a name is a line without tabs"):
            map_classes([name, "dog"], vocabulary)


def test_summary_and_table(vocabulary):
    mapping = map_classes(["dog", "corgi", "xyzzy [b]"], vocabulary)
    assert mapping.summary() == (
        "3 classes: 33.3% exact, 33.3% nearest (similarity 0.50), 33.3% none. Without a row: xyzzy [b]. On one row, "
        "and so alike: dog = corgi."
    )
    alike = map_classes(["dog, domestic dog", *["dog"] * 4, "xyzzy, xyz", "foobar"], vocabulary).summary()
    assert (
        "Without a row: xyzzy, xyz; foobar. On one row, and so alike: dog, domestic dog = dog = dog = dog = …." in alike
    )
    console = Console(file=io.StringIO(), width=100)
    console.print(mapping.table(2))
    said = console.file.getvalue()
    assert said.index("xyzzy [b]") < said.index("corgi")
    assert "dog.n.01" in said
    assert said.count("\n") == 3


def test_published_rules_vocabularies_are_read_by_first_senses():
    for rule, synset in (("reference", "crane.n.01"), ("default", "crane.n.04")):
        vocabulary = Vocabulary.from_counts(COUNTS, {"rule": rule, "sense": "visual"})
        by_name, by_word = map_classes([synset, "crane"], vocabulary).matches
        assert by_word.synsets == by_name.synsets

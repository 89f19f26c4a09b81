"""Label files hold what the vocabulary gives for each sample; what was labelled stays, what does not fit is refused."""

import gzip
import io
import json
import random
import tarfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.captions import SynsetExtractor, Vocabulary
from catclip.config import DataConfig
from catclip.data.labelling import label_sources
from catclip.data.pairs import Pairs
from catclip.data.shards import Shard
from catclip.errors import UserError
from catclip.files import locked_file, path_aside
from tests.data.making import sample, tar_bytes, write_shard

NOUNS = ["dog", "cat", "couch", "table", "zebra", "woman"]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    extractor = SynsetExtractor()
    wnids = {extractor(f"a {noun}")[0]: 9 for noun in NOUNS}
    return Vocabulary.from_counts(wnids, {"rule": "default", "tagger": "lexicon", "sense": "visual"})


def rows(path: Path) -> list[tuple[str, list[int] | None]]:
    table = pq.read_table(path)
    return list(zip(table.column("key").to_pylist(), table.column("ids").to_pylist(), strict=True))


def config(sources, **changes) -> DataConfig:
    return DataConfig(sources=str(sources), max_bad=1.0, **changes)


def about(path: Path) -> dict:
    return json.loads(pq.read_schema(path).metadata[b"catclip"])


def corpus(folder: Path, shards: int = 4, samples: int = 7) -> Path:
    """Shards of several captions a sample, some samples without."""
    chance = random.Random(0)
    for shard in range(shards):
        made = []
        for number in range(samples):
            captions = [f"a {chance.choice(NOUNS)} by a {chance.choice(NOUNS)}" for _ in range(chance.randrange(3))]
            made.append(sample(f"{shard}-{number}", json=json.dumps({"captions": captions}).encode()))
        write_shard(folder / f"{shard}.tar", *made)
    return folder / "*.tar"


# ---- what is written ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["first", "all"])
def test_each_sample_has_the_vocabularys_labels_in_the_shards_order(tmp_path, vocabulary, mode):
    patterns = corpus(tmp_path)
    labelled = label_sources(vocabulary, config(patterns, captions=mode, caption_key="json.captions"), workers=1)
    labels = 0
    for path in sorted(tmp_path.glob("*.tar")):
        expected = []
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    captions = json.load(tar.extractfile(member))["captions"][: 1 if mode == "first" else None]
                    found = sorted({label for caption in captions for label in vocabulary.labels(caption)})
                    expected.append((member.name.removesuffix(".json"), found if captions else None))
        assert rows(path.with_suffix(".labels.parquet")) == expected
        labels += sum(len(found or []) for _, found in expected)
    schema = pq.read_schema(tmp_path / "0.labels.parquet")
    assert (schema.field("key").type, schema.field("ids").type) == (pa.string(), pa.list_(pa.int32()))
    assert labelled.tally.samples == 28
    assert labelled.tally.labels == labels
    assert labelled.tally.bad.keys() == {"empty caption"}
    assert labelled.written == [tmp_path / f"{shard}.labels.parquet" for shard in range(4)]


def test_a_file_says_how_it_was_made(tmp_path, vocabulary):
    shard = write_shard(tmp_path / "x.tar", sample("1", "a dog"))
    label_sources(vocabulary, config(shard), str(tmp_path / "labels"), workers=1)
    said = about(tmp_path / "labels" / "x.labels.parquet")
    assert len(said.pop("lexicon")) > 0
    assert said == {
        "vocabulary": vocabulary.digest, "rule": "default", "tagger": "lexicon", "sense": "visual",
        "captions": "first", "caption_key": "txt", "source_size": shard.stat().st_size,
    }  # fmt: skip


def test_workers_do_not_change_a_byte(tmp_path, vocabulary):
    patterns = corpus(tmp_path)
    contents = []
    for workers in (1, 3):
        out = tmp_path / f"out{workers}"
        labelled = label_sources(
            vocabulary, config(patterns, captions="all", caption_key="json.captions"), str(out), workers
        )
        contents.append((labelled.tally, {path.name: path.read_bytes() for path in sorted(out.iterdir())}))
    assert contents[0] == contents[1]
    assert len(contents[0][1]) == 4


members = st.sampled_from(
    [b"a dog and a cat", b"", b"   ", b"\xff\xfe", b"a zebra", b'{"caption": "a cat"}', b"[1]", b"{", b"nothing"]
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.none() | members, st.none() | members), min_size=1, max_size=6), st.booleans())
def test_reasons_are_the_loaders(tmp_path_factory, vocabulary, made, in_json):
    """Whatever lies in a shard, a sample is null and counted exactly where the loader skips it for its caption."""
    key = "json.caption" if in_json else "txt"
    good = sample("good", "a dog", json=b'{"caption": "a dog"}')
    samples = [good, *([(f"{i}.jpg", b"x")] for i in range(len(made)))]
    for (txt, json_), members_of in zip(made, samples[1:], strict=True):
        stem = members_of[0][0].removesuffix(".jpg")
        members_of += [(f"{stem}.txt", txt)] * (txt is not None) + [(f"{stem}.json", json_)] * (json_ is not None)
    shard = write_shard(tmp_path_factory.mktemp("shards") / "x.tar", *samples)
    labelled = label_sources(vocabulary, config(shard, caption_key=key), workers=1)
    pairs = Pairs(str(shard), DataConfig(caption_key=key))
    expected: list[list[int] | None] = []
    bad = Counter[str]()
    for place in pairs.shards.in_order():
        try:
            expected.append(vocabulary.labels(pairs.read(*place)[1][0]))
        except ValueError as error:
            expected.append(None)
            bad[str(error)] += 1
    assert [ids for _, ids in rows(shard.with_suffix(".labels.parquet"))] == expected
    assert labelled.tally.bad == bad


def test_what_can_be_read_of_a_damaged_shard_is_labelled(tmp_path, vocabulary):
    whole = tar_bytes([member for i in range(5) for member in sample(str(i), "a dog")])
    shard = tmp_path / "x.tar"
    shard.write_bytes(whole[: len(whole) // 2])
    labelled = label_sources(vocabulary, config(shard), workers=1)
    indexed = Shard.scan(str(shard)).index.keys.to_pylist()
    assert 0 < len(indexed) < 5
    assert [key for key, _ in rows(tmp_path / "x.labels.parquet")] == indexed
    (said,) = labelled.tally.damaged
    assert str(shard) in said
    assert f"the {len(indexed)} samples that can be read" in said


def test_names_that_are_no_text_are_keys_nevertheless(tmp_path, vocabulary):
    shard = tmp_path / "x.tar"
    broken = b"\xff\xfe".decode("utf-8", "surrogateescape")
    with tarfile.open(shard, "w", encoding="utf-8", errors="surrogateescape") as tar:
        for name, content in sample(broken, "a dog"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    label_sources(vocabulary, config(shard), workers=1)
    Vocabulary.save(vocabulary, tmp_path / "v.tsv")
    pairs = Pairs(str(shard), DataConfig(labels="beside", vocabulary=str(tmp_path / "v.tsv")))
    assert pairs.labels is not None
    assert pairs.labels[0, 0] == vocabulary.labels("a dog")


@pytest.mark.parametrize("kind", ["parquet", "csv", "tsv.gz", "jsonl", "txt"])
def test_tables_are_labelled_row_by_row(tmp_path, vocabulary, kind):
    captions = [f"a {noun}" for noun in NOUNS] + ["", "a dog on a table"]
    path = tmp_path / f"x.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"caption": captions}), path)
    elif kind == "csv":
        path.write_text("n,caption\n" + "".join(f"1,{caption}\n" for caption in captions))
    elif kind == "tsv.gz":
        path.write_bytes(gzip.compress(("n\tcaption\n" + "".join(f"1\t{each}\n" for each in captions)).encode()))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps({"caption": caption}) + "\n" for caption in captions))
    else:
        path.write_text("".join(f"{caption}\n" for caption in captions))
    label_sources(vocabulary, config(path), workers=1)
    expected = [(str(i), vocabulary.labels(caption) if caption else None) for i, caption in enumerate(captions)]
    assert rows(tmp_path / "x.labels.parquet") == expected
    # They are no captions themselves.
    again = label_sources(vocabulary, config(tmp_path), workers=1)
    assert (again.written, again.kept) == ([], [tmp_path / "x.labels.parquet"])


def test_weighted_sources_are_labelled_as_any(tmp_path, vocabulary):
    shard = write_shard(tmp_path / "x.tar", sample("1", "a dog"))
    label_sources(vocabulary, DataConfig(sources=[{"path": str(shard), "weight": 2.0}]), workers=1)
    assert rows(tmp_path / "x.labels.parquet") == [("1", vocabulary.labels("a dog"))]


def test_progress_adds_up_to_the_bytes_and_samples(tmp_path, vocabulary):
    patterns = corpus(tmp_path)
    (tmp_path / "t.csv").write_text("caption\n" + "a dog\n" * 50)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    settings_ = DataConfig(sources=[str(patterns), str(tmp_path / "t.csv")], max_bad=1)
    told: list[tuple[int, int, int | None]] = []

    def note(*report: int | None) -> None:
        told.append(report)

    for workers, out in ((1, "a"), (2, "b")):
        told.clear()
        label_sources(vocabulary, settings_, str(tmp_path / out), workers, note)
        assert sum(samples for samples, _, _ in told) == 28 + 50
        assert sum(read for _, read, _ in told) == size
        assert {total for *_, total in told} == {size}


# ---- again ----------------------------------------------------------------------------------------------------------


def test_what_is_labelled_already_is_left_alone(tmp_path, vocabulary):
    patterns = corpus(tmp_path)
    settings_ = config(patterns, captions="all", caption_key="json.captions")
    first = label_sources(vocabulary, settings_, workers=1)
    before = {path: path.stat().st_mtime_ns for path in first.written}
    first.written[2].unlink()
    second = label_sources(vocabulary, settings_, workers=1)
    assert second.written == [first.written[2]]
    assert second.kept == [path for path in first.written if path != first.written[2]]
    assert second.tally.samples == 7
    changed = [path for path in first.written if path.stat().st_mtime_ns != before[path]]
    assert changed == [first.written[2]]


def test_what_is_half_written_is_removed_and_made_anew(tmp_path, vocabulary):
    shard = write_shard(tmp_path / "x.tar", sample("1", "a dog"))
    aside = path_aside(tmp_path / "x.labels.parquet")
    aside.write_bytes(b"half")
    label_sources(vocabulary, config(shard), workers=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.labels.parquet", "x.tar"]


def refusal(vocabulary: Vocabulary, settings_: DataConfig, out: Path | None = None, workers: int = 1) -> str:
    with pytest.raises(UserError) as caught:
        label_sources(vocabulary, settings_, out and str(out), workers)
    return str(caught.value)


def test_labels_that_were_made_otherwise_are_refused(tmp_path, vocabulary):
    shard = write_shard(tmp_path / "x.tar", sample("1", "a dog", json=b'{"caption": "a cat"}'))
    label_sources(vocabulary, config(shard), workers=1)
    before = (tmp_path / "x.labels.parquet").read_bytes()
    other = Vocabulary.from_counts({vocabulary.wnids[0]: 1}, vocabulary.metadata)
    first_sense = Vocabulary.from_counts(dict.fromkeys(vocabulary.wnids, 9), vocabulary.metadata | {"sense": "first"})
    for said, expected in (
        (refusal(other, config(shard)), f"vocabulary was {vocabulary.digest}, is {other.digest}"),
        (refusal(first_sense, config(shard)), "captions.sense was visual, is first"),
        (refusal(vocabulary, config(shard, captions="all")), "data.captions was first, is all"),
        (refusal(vocabulary, config(shard, caption_key="json.caption")), "data.caption_key was txt, is json.caption"),
    ):
        assert f"{tmp_path / 'x.labels.parquet'} is there already and was made otherwise: {expected}." in said
        assert "Remove it" in said
    write_shard(shard, *(sample(str(i), "a dog") for i in range(20)))
    assert "size in bytes was" in refusal(vocabulary, config(shard))
    assert (tmp_path / "x.labels.parquet").read_bytes() == before


def test_nothing_is_written_before_all_is_checked(tmp_path, vocabulary):
    patterns = corpus(tmp_path)
    (tmp_path / "3.labels.parquet").write_bytes(b"something else")
    said = refusal(vocabulary, config(patterns, caption_key="json.captions"))
    assert "3.labels.parquet is no label file" in said
    assert not (tmp_path / "0.labels.parquet").exists()


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_too_many_samples_without_a_caption_stop_it_also_when_it_is_run_again(tmp_path, vocabulary, workers):
    samples = [[sample(str(i), "a dog" if i % 2 else " ") for i in range(10)] for _ in range(3)]
    for number, made in enumerate(samples):
        write_shard(tmp_path / f"{number}.tar", *made)
    settings_ = DataConfig(sources=str(tmp_path / "*.tar"), max_bad=0.4)
    for _ in range(2):
        said = refusal(vocabulary, settings_, workers=workers)
        assert "15 of 30 samples have no caption (50.00%): empty caption: 15." in said
        assert "more than data.max_bad=0.4 allows" in said
    assert label_sources(vocabulary, DataConfig(sources=settings_.sources, max_bad=0.5)).kept


def test_a_wrong_caption_key_names_the_right_ones(tmp_path, vocabulary):
    shard = write_shard(tmp_path / "x.tar", sample("1", "a dog"))
    assert "Keys seen: jpg (1), txt (1)" in refusal(vocabulary, config(shard, caption_key="text"))


def test_what_cannot_be_labelled_is_refused(tmp_path, vocabulary):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_shard(tmp_path / folder / "x.tar", sample("1", "a dog"))
    (tmp_path / "y.tar.gz").write_bytes(b"")
    (tmp_path / "y.doc").write_bytes(b"")
    shard = tmp_path / "a" / "x.tar"
    assert "data.captions=frist is not one of first, sample, all" in refusal(
        vocabulary, config(shard, captions="frist")
    )
    assert "draws a caption anew each time" in refusal(vocabulary, config(shard, captions="sample"))
    assert "workers=0" in refusal(vocabulary, config(shard), workers=0)
    assert "no compressed shards" in refusal(vocabulary, config(tmp_path / "y.tar.gz"))
    assert "captions are read from .txt" in refusal(vocabulary, config(tmp_path / "y.doc"))
    assert "No file matches" in refusal(vocabulary, config(tmp_path / "z-*.tar"))
    both = refusal(vocabulary, config(tmp_path / "*" / "x.tar"), tmp_path / "out")
    assert f"{shard} and of {tmp_path / 'b' / 'x.tar'} would both go to {tmp_path / 'out' / 'x.labels.parquet'}" in both
    old = Vocabulary(vocabulary.wnids, vocabulary.names, vocabulary.counts, vocabulary.metadata | {"lexicon": "old"})
    assert "made with noun lexicon old" in refusal(old, config(shard))
    assert not list(tmp_path.rglob("*.labels.parquet"))


def test_two_commands_do_not_label_the_same_shard(tmp_path, vocabulary):
    shard = write_shard(tmp_path / "x.tar", sample("1", "a dog"))
    aside = path_aside(tmp_path / "x.labels.parquet")
    aside.write_bytes(b"the other's")
    with locked_file(shard, "labels"):
        assert f"Another process labels {shard}. Wait for it." in refusal(vocabulary, config(shard))
    assert aside.read_bytes() == b"the other's"


def test_a_folder_that_cannot_be_written_is_named(tmp_path, vocabulary):
    shard = write_shard(tmp_path / "x.tar", sample("1", "a dog"))
    (tmp_path / "file").write_text("")
    assert f"{tmp_path / 'file' / 'x.labels.parquet'} cannot be written" in refusal(
        vocabulary, config(shard), tmp_path / "file"
    )


# ---- other taggers --------------------------------------------------------------------------------------------------


def test_a_slow_taggers_labels_are_its_own(tmp_path, shared, monkeypatch, vocabulary):
    nltk = pytest.importorskip("nltk")
    monkeypatch.setattr(nltk.data, "path", [str(shared / "nltk_data")])
    made = vocabulary.metadata | {"tagger": "nltk"}
    theirs = Vocabulary(vocabulary.wnids, vocabulary.names, vocabulary.counts, made)
    captions = ["a dog sits on the couch", "they table a motion", "the women dog a man", "two zebras"]
    shard = write_shard(tmp_path / "x.tar", *(sample(str(i), caption) for i, caption in enumerate(captions)))
    label_sources(theirs, config(shard), workers=1)
    extractor = SynsetExtractor(tagger="nltk")
    expected = [(str(i), theirs.labels(extractor(caption))) for i, caption in enumerate(captions)]
    assert rows(tmp_path / "x.labels.parquet") == expected
    assert about(tmp_path / "x.labels.parquet")["tagger"] == "nltk"

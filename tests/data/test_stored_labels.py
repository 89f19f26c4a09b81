"""Training on stored labels sees what training on captions sees; labels that do not fit are refused at the start."""

import shlex
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catclip import cli
from catclip.captions import Vocabulary
from catclip.config import DataConfig
from catclip.data.labelling import label_sources
from catclip.data.loader import HeldOutBatches, Loader
from catclip.data.pairs import Pairs
from catclip.data.targets import LabelTargets, TokenTargets
from catclip.errors import UserError
from catclip.objectives.categorical import Categorical, count_labels
from tests.data.making import sample, training_batches, write_shard
from tests.tiny import assert_same, build, config, vocabulary_file

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # few cores, on purpose


@pytest.fixture(scope="module")
def vocabulary(glyphs) -> Vocabulary:
    return Vocabulary.load(vocabulary_file(glyphs))


@pytest.fixture(scope="module")
def folders(glyphs, vocabulary, tmp_path_factory) -> dict[str, str]:
    """Label files of the tiny data set by caption mode."""
    made = {}
    for mode in ("first", "all"):
        made[mode] = str(tmp_path_factory.mktemp(mode))
        label_sources(vocabulary, data(glyphs, sources=str(glyphs / "*.tar"), captions=mode), made[mode], workers=1)
    return made


def data(glyphs: Path, **changes: Any) -> DataConfig:
    settings: dict[str, Any] = {
        "sources": str(glyphs / "train-*.tar"),
        "vocabulary": str(vocabulary_file(glyphs)),
        "caption_key": "json.captions",
        "captions": "all",
        "shuffle": 20,
    }
    return DataConfig(**(settings | changes))


# ---- the same as without --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("mode", ["first", "all"])
def test_batches_equal_those_of_the_captions(glyphs, vocabulary, folders, mode, workers):
    made = []
    for labels in (None, folders[mode]):
        settings = data(glyphs, captions=mode, labels=labels)
        pairs = Pairs(settings.sources, settings)
        targets = [LabelTargets(vocabulary), TokenTargets(16)]
        batches = training_batches(pairs, targets, settings, 24, 10, 0)
        held_out = HeldOutBatches(Pairs(str(glyphs / "val-*.tar"), settings), targets, 24, 5)
        made.append(
            [*Loader(batches, 0, 11, workers=workers, max_bad=0), *Loader(held_out, 0, 4, workers=workers, max_bad=0)]
        )
        made[-1].append(count_labels(targets[0], pairs.annotations(limit=1000)))
    without, with_labels = made
    assert len(without) == 16
    assert any(len(batch["label_ids"]) for batch in without[:-1])
    assert_same(with_labels, without)


def test_captions_are_not_labelled_again(glyphs, folders, monkeypatch):
    monkeypatch.setattr(Vocabulary, "labels", lambda *_: pytest.fail("they are stored"))
    settings = config("categorical", glyphs, data={"labels": folders["all"]})
    objective = build(settings)
    pairs = Pairs(settings.data.sources, settings.data)
    batches = training_batches(pairs, [objective.targets], settings.data, 32, 8, 0)
    assert batches[0]["label_ids"].numel()


def test_the_label_prior_is_that_of_the_captions(glyphs, folders):
    stored = build(config("categorical", glyphs, data={"labels": folders["all"]}))
    made = build(config("categorical", glyphs))
    assert isinstance(stored, Categorical)
    assert isinstance(made, Categorical)
    assert_same(stored.head.bias.data, made.head.bias.data)


def test_what_cannot_be_read_is_counted_as_without(tmp_path, vocabulary):
    vocabulary.save(tmp_path / "v.tsv")
    samples = [sample("1", "a dog"), sample("2", ""), sample("3", jpg=b"no picture"), [("4.jpg", b"x")]]
    shard = write_shard(tmp_path / "x.tar", *samples, sample("5", "a cat"))
    settings = DataConfig(sources=str(shard), vocabulary=str(tmp_path / "v.tsv"), max_bad=1)
    label_sources(vocabulary, settings, workers=1)
    found = []
    for labels in (None, "beside"):
        pairs = Pairs(str(shard), DataConfig(vocabulary=settings.vocabulary, labels=labels))
        batches = training_batches(pairs, [LabelTargets(vocabulary)], DataConfig(), 24, 5, 0)
        found.append({key: value for key, value in batches[0].items() if key != "spent"})
    assert_same(found[0], found[1])
    assert found[0]["bad"].total() == 3


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.fixture
def labelled(tmp_path, vocabulary):
    """Two labelled shards, and what trains on them."""
    vocabulary.save(tmp_path / "v.tsv")
    for name in ("a", "b"):
        write_shard(tmp_path / f"{name}.tar", *(sample(f"{name}{i}", "a dog") for i in range(3)))
    settings = DataConfig(sources=str(tmp_path / "*.tar"), vocabulary=str(tmp_path / "v.tsv"), labels="beside")
    label_sources(vocabulary, settings, workers=1)
    return settings


def refusal(settings: DataConfig, **changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        Pairs(settings.sources, DataConfig(**(vars(settings) | changes)))
    return str(caught.value)


def test_what_fits_is_taken(labelled, vocabulary):
    labels = Pairs(labelled.sources, labelled).labels
    assert labels is not None
    assert [labels[shard, row] for shard in (0, 1) for row in range(3)] == [vocabulary.labels("a dog")] * 6
    assert Pairs(labelled.sources, DataConfig()).labels is None


def test_missing_files_are_counted_and_the_command_is_said(labelled, tmp_path):
    (tmp_path / "b.labels.parquet").unlink()
    said = refusal(labelled)
    assert f"1 of 2 shards have no label file ({tmp_path / 'b.labels.parquet'})" in said
    command = f"catclip label data.sources='{tmp_path}/*.tar' data.vocabulary={tmp_path}/v.tsv"
    assert said.endswith(f"`{command}`.")
    elsewhere = refusal(labelled, labels="elsewhere", captions="all", caption_key="txt")
    assert "2 of 2 shards have no label file (elsewhere/a.labels.parquet)" in elsewhere
    assert elsewhere.endswith(f"`{command} data.captions=all data.caption_key=txt out=elsewhere`.")


def test_held_out_shards_need_theirs_too(glyphs, folders, tmp_path):
    for path in Path(folders["all"]).glob("train-*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    settings = data(glyphs, labels=str(tmp_path))
    Pairs(settings.sources, settings)
    with pytest.raises(UserError, match="1 of 1 shards have no label file"):
        Pairs(str(glyphs / "val-*.tar"), settings)


def test_labels_of_another_vocabulary_are_refused(labelled, vocabulary, tmp_path):
    vocabulary.prune(min(max(vocabulary.counts), vocabulary.counts[-1] + 1)).save(tmp_path / "v.tsv")
    said = refusal(labelled)
    assert f"{tmp_path / 'a.labels.parquet'} does not fit: vocabulary was {vocabulary.digest}, is " in said
    assert "remove it and run `catclip label" in said


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        ("rule", "reference", "rule"),
        ("tagger", "nltk", "captions.tagger"),
        ("sense", "first", "captions.sense"),
        ("lexicon", "other", "noun lexicon"),
    ],
)
def test_labels_that_were_read_otherwise_are_refused(labelled, vocabulary, tmp_path, key, value, name):
    was = vocabulary.metadata[key]
    other = Vocabulary(vocabulary.wnids, vocabulary.names, vocabulary.counts, vocabulary.metadata | {key: value})
    other.save(tmp_path / "v.tsv")
    assert f"does not fit: {name} was {was}, is {value}." in refusal(labelled)


def test_labels_of_other_captions_are_refused(labelled, tmp_path):
    assert "data.captions was first, is all" in refusal(labelled, captions="all")
    assert "draws a caption anew" in refusal(labelled, captions="sample")
    for name in ("a", "b"):
        path = tmp_path / f"{name}.tar"
        write_shard(path, *(sample(f"{name}{i}", "a dog", json=b'{"caption": "a cat"}') for i in range(3)))
    assert "data.caption_key was txt, is json.caption" in refusal(labelled, caption_key="json.caption")


def test_labels_of_another_shard_are_refused(labelled, tmp_path):
    write_shard(tmp_path / "b.tar", *(sample(f"b{i}", "a dog", seed=i) for i in range(20)))
    assert f"{tmp_path / 'b.labels.parquet'} does not fit: size in bytes was" in refusal(labelled)


@pytest.mark.parametrize("change", ["key", "order", "fewer"])
def test_labels_of_other_samples_are_refused(labelled, tmp_path, change):
    path = tmp_path / "b.labels.parquet"
    table = pq.read_table(path)
    changed = {
        "key": table.set_column(0, "key", pa.array(["b0", "c1", "b2"])),
        "order": table.take([1, 0, 2]),
        "fewer": table.slice(0, 2),
    }[change]
    pq.write_table(changed.replace_schema_metadata(pq.read_schema(path).metadata), path)
    said = refusal(labelled)
    assert f"{path} has the labels of other samples than {tmp_path / 'b.tar'}: remove it and run `catclip label" in said


def test_what_is_no_label_file_is_refused(labelled, tmp_path):
    (tmp_path / "a.labels.parquet").write_bytes(b"nothing")
    assert "a.labels.parquet is no label file" in refusal(labelled)


def test_stored_labels_need_their_vocabulary(labelled):
    assert "data.labels needs data.vocabulary" in refusal(labelled, vocabulary=None)


def test_an_objective_with_another_vocabulary_is_refused(glyphs, vocabulary, folders, tmp_path):
    vocabulary.prune(vocabulary.counts[-1] + 1).save(tmp_path / "other.tsv")
    settings = config("categorical", glyphs, data={"labels": folders["all"]})
    settings.objective["vocabulary"] = str(tmp_path / "other.tsv")
    with pytest.raises(UserError, match=r"other\.tsv is another vocabulary than data\.vocabulary"):
        build(settings)


def test_the_command_that_is_said_makes_it_right(glyphs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = data(glyphs, labels="made", sources=[str(glyphs / "train-0000{0..1}.tar"), str(glyphs / "train-*2.tar")])
    said = refusal(settings)
    monkeypatch.setattr(sys, "argv", shlex.split(said.split("`")[1]))
    cli.main()
    assert Pairs(settings.sources, settings).labels is not None

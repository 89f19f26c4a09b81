"""Counting a corpus, and `catclip vocab`."""

import gzip
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catclip.captions import SynsetExtractor, Vocabulary
from catclip.captions.counting.counter import count, count_files, make_vocabulary
from catclip.errors import UserError
from catclip.verbs.vocab import run

CAPTIONS = ["a dog and a dog", "two cats", "9.99", "a couch", "a dog on a sofa", "an umbrella", "a dog"]


@pytest.fixture(scope="module")
def extractor():
    return SynsetExtractor()


@pytest.fixture
def files(tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.txt").write_text("".join(f"{caption}\n" for caption in CAPTIONS[i:]))
    return [str(tmp_path / f"{i}.txt") for i in range(4)]


def test_count(extractor):
    corpus = count([*CAPTIONS, " "], extractor)
    names = {extractor.lexicon.name(wnid): n for wnid, n in corpus.counts.items()}
    assert names == {"dog.n.01": 4, "cat.n.01": 1, "sofa.n.01": 2, "umbrella.n.01": 1}
    assert (corpus.captions, corpus.labelled) == (7, 6)
    assert corpus.skipped == {"empty caption": 1}


def test_coverage_equals_a_second_pass(shared, extractor):
    captions = (shared / "data/text/cc3m_val.txt").read_text(encoding="utf-8").splitlines()[:2000]
    labels = extractor.extract_many(captions)
    corpus = count(captions, extractor)
    totals = Counter(wnid for wnids in labels for wnid in wnids)
    assert corpus.counts == totals
    for tau in (1, 2, 3, 500, 100_000):
        covered = sum(any(totals[wnid] >= tau for wnid in wnids) for wnids in labels)
        assert corpus.coverage(tau) == pytest.approx(covered / len(captions))
        assert corpus.size(tau) == sum(n >= tau for n in totals.values())


def test_workers_do_not_change_the_result(files, extractor, monkeypatch):
    told = [0, 0]
    size = sum(Path(file).stat().st_size for file in files)

    def progress(captions, done, total):
        assert total == size
        told[0] += captions
        told[1] += done

    monkeypatch.setattr("catclip.captions.counting.counter.PART_SIZE", 50)
    one = count_files(files, extractor, progress=progress)
    assert told == [one.captions, size]
    two = count_files(files, extractor, workers=2, progress=progress)
    assert told == [2 * one.captions, 2 * size]
    assert (one.counts, one.captions, one.labelled) == (two.counts, two.captions, two.labelled)
    assert [one.coverage(tau) for tau in (1, 3, 9)] == [two.coverage(tau) for tau in (1, 3, 9)]
    vocabularies = [make_vocabulary(corpus, extractor, 2, "here") for corpus in (one, two)]
    assert vocabularies[0].__dict__ == vocabularies[1].__dict__


def test_error_in_a_worker_reaches_the_user(files, tmp_path, extractor):
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    for workers in (1, 2):
        with pytest.raises(UserError, match=r"bad\.csv has no column"):
            count_files([*files, str(tmp_path / "bad.csv")], extractor, workers=workers)


def test_vocabulary_says_how_it_was_made(extractor):
    vocabulary = make_vocabulary(count(CAPTIONS, extractor), extractor, 2, "captions.txt")
    assert vocabulary.names == ["dog.n.01", "sofa.n.01"]
    assert vocabulary.metadata.pop("lexicon").startswith("wordnet-3.0-")
    assert vocabulary.metadata == {
        "tau": "2",
        "captions": "7",
        "rule": "default",
        "tagger": "lexicon",
        "sense": "visual",
        "created_from": "captions.txt",
    }


def test_tau_that_leaves_nothing_names_one_that_does(extractor):
    corpus = count(CAPTIONS, extractor)
    with pytest.raises(UserError, match="largest tau that leaves any is 4"):
        make_vocabulary(corpus, extractor, 5, "")
    assert len(make_vocabulary(corpus, extractor, 4, "")) == 1
    with pytest.raises(UserError, match="None of the 1 captions"):
        make_vocabulary(count(["9.99"], extractor), extractor, 1, "")


# ---- catclip vocab --------------------------------------------------------------------------------------------------


def config(sources, out, **changes):
    data = SimpleNamespace(sources=sources, caption_key=None, captions="first", max_bad=0.01)
    captions = SimpleNamespace(tagger="lexicon", sense="visual")
    settings = {"data": data, "rule": "default", "captions": captions, "tau": 2, "out": str(out), "workers": 1}
    pruning = {"prune": "drop", "top_k": None, "min_depth": None, "exclude": []}
    return SimpleNamespace(**settings | pruning | changes)


def test_verb_writes_a_vocabulary_and_sums_up(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = tmp_path / "out" / "vocab.tsv"
    run(config(files, out))
    printed = capsys.readouterr().out
    assert "22 captions read" in printed
    assert "dog.n.01" in printed
    assert max(map(len, printed.replace(str(out), "OUT").splitlines())) <= 80
    vocabulary = Vocabulary.load(out)
    assert vocabulary.metadata["captions"] == "22"
    assert vocabulary.metadata["created_from"] == " ".join(files)
    assert vocabulary.metadata["data.captions"] == "first"
    assert "data.caption_key" not in vocabulary.metadata  # the usual ones
    first = out.read_bytes()
    run(config(files, tmp_path / "again.tsv", workers=2))
    assert (tmp_path / "again.tsv").read_bytes() == first


def test_verb_takes_weights(files, tmp_path):
    sources = [{"path": files[0], "weight": 2.5}, files[1]]
    run(config(sources, tmp_path / "vocab.tsv"))
    vocabulary = Vocabulary.load(tmp_path / "vocab.tsv")
    assert dict(zip(vocabulary.names, vocabulary.counts, strict=True)) == {
        "dog.n.01": 12, "sofa.n.01": 7, "umbrella.n.01": 4, "cat.n.01": 4,
    }  # fmt: skip
    assert vocabulary.metadata["captions"] == "24"
    assert vocabulary.metadata["created_from"] == f"{files[0]} (weight 2.5) {files[1]}"


def test_verb_keeps_what_it_counted_for_another_tau(files, tmp_path, monkeypatch):
    out = tmp_path / "vocab.tsv"
    kept = r"leaves no labels.*is 10\. What was counted is kept in .*vocab\.tsv\.parts: so changed, the command counts"
    for tau in (100_000, 700, 400):
        with pytest.raises(UserError, match=kept):
            run(config(files, out, tau=tau))
        assert list((tmp_path / "vocab.tsv.parts").glob("*.npz"))
        # With another tau nothing is labelled again.
        monkeypatch.setattr(SynsetExtractor, "label_column", lambda *_: pytest.fail("counted again"))
    run(config(files, out, tau=10))
    assert not (tmp_path / "vocab.tsv.parts").exists()


def test_verb_keeps_nothing_that_is_of_no_use(files, tmp_path):
    (tmp_path / "numbers.txt").write_text("9.99\n" * 9)
    with pytest.raises(UserError, match=r"None of the 9 captions gave a label; is data\.caption_key right\?$"):
        run(config(str(tmp_path / "numbers.txt"), tmp_path / "vocab.tsv"))
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"has no column"):
        run(config(str(tmp_path / "a.csv"), tmp_path / "vocab.tsv"))
    assert not list(tmp_path.glob("vocab.tsv*"))


def test_verb_stops_where_too_many_samples_have_no_caption(tmp_path, monkeypatch):
    source, out = tmp_path / "captions.jsonl", tmp_path / "vocab.tsv"
    rows = ['{"caption": ["a dog", "two dogs"]}'] * 97 + ['{"caption": []}', "{", '{"caption": null}']
    source.write_text("\n".join(rows))
    data = SimpleNamespace(sources=str(source), caption_key=None, captions="all", max_bad=0.02)
    with pytest.raises(
        UserError, match=r"^3 of 100 samples have no caption \(3\.00%\): no caption: 2; invalid JSON: 1\."
    ):
        run(config(str(source), out, data=data))
    assert not out.exists()
    monkeypatch.setattr(SynsetExtractor, "label_column", lambda *_: pytest.fail("counted again"))
    data.max_bad = 0.03
    run(config(str(source), out, data=data))
    assert Vocabulary.load(out).counts == [194]


def test_blank_lines_are_no_samples(tmp_path):
    for ending, header in ((".txt", ""), (".csv", "caption,url\n"), (".tsv", "caption\turl\n"), (".jsonl", "")):
        line = {".csv": "a dog,x", ".tsv": "a dog\tx", ".jsonl": '{"caption": "a dog"}'}.get(ending, "a dog")
        source, out = tmp_path / f"captions{ending}", tmp_path / f"{ending[1:]}.tsv"
        source.write_text(f"{header}{line}\n\n\n{line}\n\n")
        run(config(str(source), out))
        assert Vocabulary.load(out).counts == [2]


def test_verb_never_overwrites(files, tmp_path):
    out = tmp_path / "vocab.tsv"
    out.write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        run(config(files, out))
    assert out.read_text() == "mine"


def test_verb_on_wrong_input_writes_nothing(files, tmp_path):
    out = tmp_path / "vocab.tsv"
    with pytest.raises(UserError, match="leaves no labels"):
        run(config(files, out, tau=1000))
    with pytest.raises(UserError, match="at least once"):
        run(config(files, out, tau=0))
    with pytest.raises(UserError, match="No file matches"):
        run(config(str(tmp_path / "none-*.tar"), out))
    with pytest.raises(UserError, match="captions"):
        run(config(files, out, data=SimpleNamespace(sources=files, caption_key=None, captions="each", max_bad=0.01)))
    assert not out.exists()


def test_real_shards(shared, tmp_path):
    shards = str(shared / "data/flickr8k/train-0000{0..1}.tar")
    data = SimpleNamespace(sources=shards, caption_key="json.captions", captions="all", max_bad=0.01)
    run(config(shards, tmp_path / "vocab.tsv", data=data, tau=20, workers=2))
    vocabulary = Vocabulary.load(tmp_path / "vocab.tsv")
    assert vocabulary.metadata["captions"] == "10000"
    assert vocabulary.metadata["data.caption_key"] == "json.captions"
    assert vocabulary.metadata["data.captions"] == "all"
    assert vocabulary.names[:2] == ["dog.n.01", "man.n.01"]


# ---- workers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, -1, "many", 1.5])
def test_wrong_workers_are_refused(files, extractor, workers):
    with pytest.raises(UserError, match=f"workers={workers}: give a number of processes, null for one a core, or ray"):
        count_files(files, extractor, workers=workers)


def test_no_workers_given_is_one_a_core(files, extractor, monkeypatch):
    asked = []

    def noted(counting, parts, workers, progress):
        asked.append(workers)
        return (item for item in ())

    monkeypatch.setattr("catclip.captions.counting.counter.PART_SIZE", 50)
    monkeypatch.setattr("catclip.captions.counting.counter.run_in_processes", noted)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 5}, raising=False)
    count_files(files, extractor, workers=None)
    assert asked == [3]


def test_ray_that_is_missing_is_told(files, extractor, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'catclip\[ray\]'"):
        count_files(files, extractor, workers="ray")


class StandInForRay:
    """What Ray does for us, in this process: tasks are run when they are waited for, the last one first."""

    def is_initialized(self):
        return True

    def cluster_resources(self):
        return {"CPU": 1.0}

    def put(self, content):
        return content

    def remote(self, function):
        return SimpleNamespace(remote=lambda *arguments: (function, arguments))

    def wait(self, tasks):
        assert len(tasks) <= 2
        return tasks[-1:], tasks[:-1]

    def get(self, task):
        function, arguments = task
        return function(*arguments)


def ray_counts_the_same(files, extractor, monkeypatch):
    monkeypatch.setattr("catclip.captions.counting.counter.PART_SIZE", 50)
    told = Counter()

    def progress(captions, size, total):
        told.update(captions=captions, size=size)

    one = count_files(files, extractor)
    two = count_files(files, extractor, workers="ray", progress=progress)
    assert (one.counts, one.captions, one.labelled) == (two.counts, two.captions, two.labelled)
    assert [one.coverage(tau) for tau in (1, 3, 9)] == [two.coverage(tau) for tau in (1, 3, 9)]
    assert [one.examples_of(wnid) for wnid in one.counts] == [two.examples_of(wnid) for wnid in one.counts]
    assert told == {"captions": one.captions, "size": sum(Path(file).stat().st_size for file in files)}
    Path(files[0]).with_name("bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"bad\.csv has no column"):
        count_files([*files, str(Path(files[0]).with_name("bad.csv"))], extractor, workers="ray")


def test_ray_stood_in_for(files, extractor, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", StandInForRay())
    ray_counts_the_same(files, extractor, monkeypatch)


@pytest.mark.slow
def test_ray(files, extractor, monkeypatch):
    pytest.importorskip("ray")
    ray_counts_the_same(files, extractor, monkeypatch)


# ---- memory ---------------------------------------------------------------------------------------------------------

# The kernel's own account of this program: getrusage also counts the process that started it.
PEAK_MEMORY = """
import re, sys
from catclip.captions import SynsetExtractor
from catclip.captions.counting.counter import count_files
corpus = count_files(sys.argv[1], SynsetExtractor())
print(corpus.captions, int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", ["txt", "parquet", "csv.gz"])
def test_memory_does_not_grow_with_the_corpus(tmp_path, form):
    """Three million captions take no more memory than a quarter of them."""
    nouns = ["dog", "cat", "couch", "zebra", "umbrella", "table", "train", "kite", "boat", "apple"]
    block = [
        f"a {a} and {b} {c}s by the {d} {i}" for i, a in enumerate(nouns) for b in nouns for c in nouns for d in nouns
    ]
    peaks = []
    for times in (75, 300):
        path = tmp_path / f"{times}.{form}"
        if form == "parquet":
            with pq.ParquetWriter(path, pa.schema([("caption", pa.string())])) as writer:
                for _ in range(times):
                    writer.write_table(pa.table({"caption": block}))
        else:
            opener = partial(gzip.open, compresslevel=1) if form == "csv.gz" else open
            with opener(path, "wt") as file:
                file.write("caption\n" if form == "csv.gz" else "")
                for _ in range(times):
                    file.writelines(f"{caption}\n" for caption in block)
        said = subprocess.run([sys.executable, "-c", PEAK_MEMORY, path], capture_output=True, text=True, check=True)
        captions, peak = map(int, said.stdout.split())
        assert captions == times * len(block)
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 150  # caches and buffers fill up: ten million captions take 50 MB more than three
    assert peaks[1] < 500

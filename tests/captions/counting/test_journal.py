"""A count that is interrupted goes on from its last finished part."""

import errno
from unittest.mock import patch

import pytest

from catclip.captions import SynsetExtractor
from catclip.captions.counting import journal
from catclip.captions.counting.corpus import CorpusCounts
from catclip.captions.counting.counter import count_files
from catclip.captions.counting.journal import Journal
from catclip.errors import UserError

CAPTIONS = [
    f"{a} and {b}" for a in ("a dog", "two cats", "a couch", "9.99") for b in ("a zebra", "umbrellas", "the red")
]
PARTS = 12


@pytest.fixture(scope="module")
def extractor():
    return SynsetExtractor()


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Twelve files, each a part."""
    monkeypatch.setattr("catclip.captions.counting.counter.PART_SIZE", 50)
    for i, caption in enumerate(CAPTIONS):
        (tmp_path / f"{i:02d}.txt").write_text(f"{caption}\n\n{caption}\n")
    return f"{tmp_path}/*.txt"


class Killed(BaseException):
    pass


def count(sources, extractor, folder, stop_after=None, **options):
    """Count with a journal: the counts, and how many captions were counted now."""
    counted = 0

    def progress(captions, _size, _total):
        nonlocal counted
        if stop_after is not None and counted >= stop_after:
            raise Killed
        counted += captions

    with Journal(folder) as kept:
        return count_files(sources, extractor, journal=kept, progress=progress, **options), counted


def facts(corpus):
    return corpus.counts, corpus.captions, corpus.labelled, corpus.skipped, [corpus.coverage(tau) for tau in (1, 3, 9)]


@pytest.mark.parametrize("most", [3, 64])
def test_counting_goes_on_where_it_was_stopped(sources, extractor, tmp_path, most, monkeypatch):
    monkeypatch.setattr(journal, "_PART_FILES", most)
    whole = facts(count_files(sources, extractor))
    folder = tmp_path / "parts"
    done = 0
    while done < PARTS - 1:
        with pytest.raises(Killed):
            count(sources, extractor, folder, stop_after=4)
        done += 1  # of two captions; the next one was begun
        assert len(list(folder.glob("*.npz"))) <= most + 1
    corpus, counted = count(sources, extractor, folder)
    assert counted == 2 * (PARTS - done)
    assert facts(corpus) == whole
    corpus, counted = count(sources, extractor, folder)
    assert counted == 0
    assert facts(corpus) == whole


def test_other_settings_and_other_files_are_counted_anew(sources, extractor, tmp_path):
    folder = tmp_path / "parts"
    count(sources, extractor, folder)
    changed = tmp_path / "03.txt"
    changed.write_text("a zebra\n" * 5)
    corpus, counted = count(sources, extractor, folder)
    assert counted == 27
    assert facts(corpus) == facts(count_files(sources, extractor))
    plain = SynsetExtractor(tagger="none")
    corpus, counted = count(sources, plain, folder)
    assert counted == 27
    assert facts(corpus) == facts(count_files(sources, plain))


def test_a_killed_merge_loses_and_doubles_nothing(sources, extractor, tmp_path, monkeypatch):
    """Killed after the merged file was written, and before what it holds was deleted."""
    monkeypatch.setattr(journal, "_PART_FILES", 3)
    folder = tmp_path / "parts"
    with patch("pathlib.Path.unlink", side_effect=Killed), pytest.raises(Killed):
        count(sources, extractor, folder)
    assert len(list(folder.glob("*.npz"))) == 4
    corpus, counted = count(sources, extractor, folder)
    assert counted == 2 * (PARTS - 4)
    assert facts(corpus) == facts(count_files(sources, extractor))


def test_what_the_disk_has_damaged_is_counted_again(sources, extractor, tmp_path):
    folder = tmp_path / "parts"
    count(sources, extractor, folder)
    files = sorted(folder.glob("part-*.npz"))
    files[0].write_bytes(files[0].read_bytes()[:100])
    files[1].write_bytes(b"")
    data = bytearray(files[2].read_bytes())
    data[len(data) // 2] ^= 0xFF
    files[2].write_bytes(data)
    corpus, counted = count(sources, extractor, folder)
    assert counted == 2 * PARTS
    assert facts(corpus) == facts(count_files(sources, extractor))


def test_one_journal_at_a_time(sources, extractor, tmp_path):
    folder = tmp_path / "parts"
    with Journal(folder) as first:
        count_files(sources, extractor, journal=first)
        with pytest.raises(UserError, match=r"Another process counts into .*parts\. Wait for it"):
            count(sources, extractor, folder)
    assert count(sources, extractor, folder)[1] == 0


def test_a_count_that_fails_leaves_no_empty_folder(sources, extractor, tmp_path):
    folder = tmp_path / "parts"
    (tmp_path / "00.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="has no column"):
        count(f"{tmp_path}/00.csv", extractor, folder)
    assert not folder.exists()
    with Journal(folder) as first:
        count_files(sources, extractor, journal=first)
        first.remove()
        first.restore(["x"], CorpusCounts(extractor.synsets))  # now it counts there, and has nothing yet
        with pytest.raises(UserError, match="Another process"):
            count(sources, extractor, folder)
        assert folder.is_dir()


def test_a_removed_folder_leaves_nothing_behind(sources, extractor, tmp_path):
    folder = tmp_path / "parts"
    with Journal(folder) as kept:
        count_files(sources, extractor, journal=kept)
        kept.remove()
    assert not folder.exists()
    count(sources, extractor, folder)
    (folder / "mine.txt").write_text("mine")
    with Journal(folder) as kept:
        count_files(sources, extractor, journal=kept)
        kept.remove()
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, "The disk is full"), (errno.EACCES, "cannot be written")])
def test_a_disk_that_takes_no_more_is_told_in_a_line(sources, extractor, tmp_path, number, said):
    failing = patch.object(journal, "write_atomically", side_effect=OSError(number, "why"))
    with failing, pytest.raises(UserError, match=said):
        count(sources, extractor, tmp_path / "parts")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        count(sources, extractor, tmp_path / "file" / "parts")

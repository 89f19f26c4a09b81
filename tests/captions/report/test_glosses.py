import zipfile

import nltk
import pytest

from catclip.captions.report.glosses import load_glosses, read_glosses

LICENCE = "  1 This software …\n  14 WordNet {} Copyright 2006 by Princeton University.  All rights reserved.  \n"
DOG = '02084071 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 001 @ 02083346 n 0000 | a  pet; "the dog | barked"  \n'


@pytest.fixture
def only(tmp_path, monkeypatch):
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    (tmp_path / "corpora").mkdir()
    return tmp_path / "corpora"


def test_glosses_from_a_folder_or_a_zip(only):
    assert load_glosses() == {}
    text = LICENCE.format("3.0") + DOG
    with zipfile.ZipFile(only / "wordnet.zip", "w") as archive:
        archive.writestr("wordnet/data.noun", text)
    assert load_glosses() == {"n02084071": 'a pet; "the dog | barked"'}
    (only / "wordnet").mkdir()
    (only / "wordnet" / "data.noun").write_text(text.replace("pet", "hound"), encoding="utf-8")
    assert load_glosses() == {"n02084071": 'a hound; "the dog | barked"'}


def test_other_versions_number_synsets_differently():
    assert read_glosses((LICENCE.format("3.1") + DOG).splitlines(keepends=True)) == {}


def test_real_wordnet(shared, monkeypatch):
    monkeypatch.setattr(nltk.data, "path", [str(shared / "nltk_data")])
    glosses = load_glosses()
    assert len(glosses) == 82_115
    assert glosses["n02084071"].startswith("a member of the genus Canis")

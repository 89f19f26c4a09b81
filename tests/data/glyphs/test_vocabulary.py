"""The shipped vocabulary of the embedded data set is what the documented commands give."""

import pytest

from catclip.config import DataConfig, GlyphsConfig, VocabConfig
from catclip.paths import VOCAB
from catclip.verbs import data_glyphs, vocab


@pytest.mark.slow
def test_the_shipped_vocabulary_is_up_to_date(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data_glyphs.run(GlyphsConfig())
    data = DataConfig(sources="data/glyphs/train-*.tar", caption_key="json.captions", captions="all")
    vocab.run(VocabConfig(data=data, tau=10, out="vocab.tsv"))
    made, shipped = (tmp_path / "vocab.tsv").read_text(), (VOCAB / "glyphs.tsv").read_text()
    assert made == shipped, "scripts/build_vocabularies writes it anew"

"""The README's Python runs as it stands there."""

import re
from pathlib import Path

import pytest
from torch.nn.functional import cosine_similarity

from catclip.captions import SynsetExtractor, Vocabulary
from catclip.verbs.training import train
from tests import tiny

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
CAPTIONS = ["two dogs on a couch", "a cat on a couch"]


@pytest.fixture
def vocabulary(tmp_path, monkeypatch) -> Vocabulary:
    """The labels of a few captions, as `vocab.tsv` in an empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    extractor = SynsetExtractor()
    counts = {wnid: 1 for caption in CAPTIONS for wnid in extractor(caption)}
    made = Vocabulary.from_counts(counts, {"tau": "1", "rule": "default", "tagger": "lexicon", "sense": "visual"})
    made.save("vocab.tsv")
    return made


def run(block: str, **names: object) -> dict[str, object]:
    exec(compile(block, "README.md", "exec"), names)
    return names


def test_every_block_is_run_here():
    assert len(BLOCKS) == 2


def test_labels_from_python(vocabulary):
    names = run(BLOCKS[1], captions=CAPTIONS)
    expected = re.search(r'extractor\("two dogs on a couch"\)  # (.*)', BLOCKS[1])
    assert expected is not None
    assert SynsetExtractor()("two dogs on a couch") == eval(expected[1])
    assert list(names["vocabulary"]) == list(vocabulary)


def test_a_head_is_carried_over(vocabulary, glyphs, tmp_path, capsys):
    config = tiny.config("categorical", glyphs, steps=1)
    config.objective["vocabulary"] = "vocab.tsv"
    (trained,) = train({"run": config}, {"run": tmp_path / "runs" / "pretrain" / "…"}, "training")
    names = run(BLOCKS[0])
    learned = trained.trainer.evaluated().head.weight.detach()
    for row, wnid in ((0, "n02084071"), (2, "n02121620")):
        label = learned[vocabulary.index(wnid)]
        assert float(cosine_similarity(names["head"].weight[row].detach(), label, dim=0)) == pytest.approx(1, abs=1e-5)
    how = re.findall(r"^(dog|hot dogs|n02121620) .* (exact|nearest) ", capsys.readouterr().out, re.MULTILINE)
    assert dict(how) == {"dog": "exact", "hot dogs": "nearest", "n02121620": "exact"}
    assert names["backbone"].num_classes == 0

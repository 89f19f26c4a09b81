import pytest
import torch

from catclip.errors import UserError
from catclip.transfer.head import init_sigmoid_head, init_softmax_head
from catclip.transfer.init import find_mapping, label_head, transfer_init
from tests import tiny


def test_heads_of_an_objective(glyphs, tmp_path):
    objective = tiny.build(tiny.config("categorical", glyphs)).eval()
    vocabulary = objective.vocabulary
    names = [*vocabulary.wnids[:3], "xyzzy"]
    features = torch.randn(20, objective.backbone.width)
    for multilabel, given in ((False, None), (False, features), (True, None)):
        head, mapping = transfer_init(objective, names, multilabel=multilabel, features=given)
        assert mapping.rows == [(0,), (1,), (2,), ()]
        assert (head.in_features, head.out_features) == (objective.backbone.width, 4)
        expected = (
            init_sigmoid_head(objective.head, mapping.rows)
            if multilabel
            else init_softmax_head(objective.head, mapping.rows, given)
        )
        tiny.assert_same(head.state_dict(), expected.state_dict())
    mapping.save(tmp_path / "map.tsv")
    text = (
        (tmp_path / "map.tsv").read_text().replace("xyzzy\tnone\t\t\t\t", f"xyzzy\tnone\t\t\t{vocabulary.wnids[5]}\t")
    )
    (tmp_path / "map.tsv").write_text(text)
    assert transfer_init(objective, names, tmp_path / "map.tsv")[1].rows[3] == (5,)


def test_without_a_label_head_there_is_nothing_to_copy(glyphs):
    objective = tiny.build(tiny.config("contrastive", glyphs))
    with pytest.raises(UserError, match=r"Contrastive.* no head over synsets"):
        label_head(objective)
    with pytest.raises(UserError, match="no head over synsets"):
        transfer_init(objective, ["dog"])


def test_a_strategy_or_a_file(glyphs, tmp_path):
    vocabulary = tiny.build(tiny.config("categorical", glyphs)).vocabulary
    assert find_mapping(vocabulary.wnids[:2], vocabulary, "exact").rows == [(0,), (1,)]
    with pytest.raises(UserError, match=r"missing\.tsv.* cannot be read"):
        find_mapping(["dog"], vocabulary, tmp_path / "missing.tsv")

import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from timm.loss import BinaryCrossEntropy

from catclip.data.labelled import open_labelled
from catclip.errors import UserError
from catclip.transfer.finetune import Classification, start_head
from catclip.transfer.init import transfer_init
from catclip.transfer.probe import extract_features
from tests import tiny

CPU = torch.device("cpu")


def classification(glyphs, classes, **options) -> Classification:
    backbone = tiny.build(tiny.config("categorical", glyphs)).backbone
    return Classification(backbone, None, classes=classes, **options)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_of_one_class_a_picture_is_torchs(glyphs, smoothing):
    objective = classification(glyphs, list("abcd"), multilabel=False, smoothing=smoothing)
    logits, ids = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 3, 0])
    found = objective.loss({"logits": logits}, {"targets": F.one_hot(ids, 4).float()})["loss"]
    assert found.item() == pytest.approx(F.cross_entropy(logits, ids, label_smoothing=smoothing).item())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_of_any_classes_is_timms_summed_over_them(glyphs, smoothing):
    objective = classification(glyphs, list("abcd"), multilabel=True, smoothing=smoothing)
    logits, targets = torch.randn(6, 4), (torch.rand(6, 4) < 0.5).float()
    reference = BinaryCrossEntropy(smoothing=0, sum_classes=True)(logits, targets * (1 - smoothing) + smoothing / 4)
    assert objective.loss({"logits": logits}, {"targets": targets})["loss"].item() == pytest.approx(reference.item())


def test_the_head_starts_at_the_runs_labels_balanced_by_training_pictures(glyphs):
    source = tiny.build(tiny.config("categorical", glyphs)).eval()
    images = open_labelled(glyphs / "probe" / "train")
    objective = classification(glyphs, images.classes, multilabel=False).eval()
    objective.backbone.load_state_dict(source.backbone.state_dict())
    mapping = start_head(objective, source, "nearest", images, CPU, 0, 0)
    assert mapping.names == images.classes
    features = torch.from_numpy(extract_features(source.embed, images, tiny.SIZE, CPU, 0))
    expected, _ = transfer_init(source, images.classes, features=features)
    assert len(images) <= 2048
    assert torch.allclose(objective.head.weight, expected.weight, atol=1e-5)
    assert torch.allclose(objective.head.bias, expected.bias, atol=1e-4)


def test_a_head_is_balanced_by_what_can_be_decoded(glyphs, tmp_path):
    source = tiny.build(tiny.config("categorical", glyphs)).eval()
    shutil.copytree(glyphs / "probe" / "train", tmp_path / "train")
    damaged, *_ = sorted((tmp_path / "train").rglob("*.*"))
    damaged.write_bytes(b"no picture")

    def head(folder: Path) -> torch.Tensor:
        images = open_labelled(folder)
        objective = classification(glyphs, images.classes, multilabel=False).eval()
        objective.backbone.load_state_dict(source.backbone.state_dict())
        start_head(objective, source, "nearest", images, CPU, 0, 0)
        return objective.head.bias.detach()

    found = head(tmp_path / "train")
    damaged.unlink()
    assert torch.allclose(found, head(tmp_path / "train"), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"classes": ["a"], "multilabel": False}, "one class only"),
        ({"classes": ["a", "b"], "multilabel": True, "smoothing": 1.0}, r"objective\.smoothing=1"),
    ],
)
def test_options_that_make_no_sense(glyphs, options, said):
    with pytest.raises(UserError, match=said):
        classification(glyphs, **options)

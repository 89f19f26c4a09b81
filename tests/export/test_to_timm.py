"""Exported to timm: what timm builds by itself gives what the run gives."""

import re

import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.data import resolve_model_data_config

from catclip.errors import UserError
from catclip.export.card import Section
from catclip.export.release import open_release
from catclip.export.to_timm import write_checkpoint, write_folder
from catclip.models.backbone import build_backbone
from catclip.train.folder import load_objective


def normalised(backbone, pictures: torch.Tensor) -> torch.Tensor:
    return (pictures - backbone.mean) / backbone.std


def call(sections: list[Section]) -> torch.nn.Module:
    """The model that the card says how to make."""
    (line,) = re.findall(r"^model = (.*?)(?:  #.*)?$", sections[0].text, flags=re.MULTILINE)
    return eval(line, {"timm": timm})


@pytest.mark.parametrize("write", [write_checkpoint, write_folder])
@pytest.mark.parametrize("kind", ["categorical", "siglip", "finetuned", "resnet"])
def test_features_and_logits_are_bit_identical(runs, tmp_path, pictures, write, kind):
    release = open_release(runs[kind])
    model = call(write(release, tmp_path, tmp_path))
    objective = load_objective(runs[kind])
    seen = normalised(objective.backbone, pictures)
    features = model.forward_head(model.forward_features(seen), pre_logits=True)
    assert torch.equal(features, objective.backbone(pictures))
    assert torch.equal(model(seen), features if kind == "siglip" else objective.predict(pictures))
    model.reset_classifier(0)
    assert torch.equal(model(seen), features)


def test_the_labels_are_those_of_the_rows(runs, tmp_path):
    release = open_release(runs["categorical"])
    write_checkpoint(release, tmp_path, tmp_path)
    head, *rows = (tmp_path / "labels.tsv").read_text().splitlines()
    assert head.split("\t") == ["index", "wnid", "name"]
    vocabulary = load_objective(runs["categorical"]).vocabulary
    expected = zip(map(str, range(len(vocabulary))), vocabulary.wnids, vocabulary.names, strict=True)
    assert [tuple(row.split("\t")) for row in rows] == list(expected)
    weights = load_file(tmp_path / "model.safetensors")
    assert torch.equal(weights["head.weight"], release.head.weight)


def test_the_folder_says_how_pictures_are_seen_and_what_the_rows_are(runs, tmp_path):
    release = open_release(runs["categorical"])
    write_folder(release, tmp_path, tmp_path)
    model = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    data = resolve_model_data_config(model)
    assert (data["input_size"], data["crop_pct"], data["interpolation"]) == ((3, 32, 32), 1.0, "bicubic")
    assert (list(data["mean"]), list(data["std"])) == (release.mean, release.std)
    assert model.pretrained_cfg["label_names"] == [label.wnid for label in release.labels]
    # Another head on the same backbone, as timm has it.
    other = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=3)
    assert other.num_classes == 3
    assert torch.equal(other.blocks[0].mlp.fc1.weight, model.blocks[0].mlp.fc1.weight)


def test_a_model_that_is_none_of_timms_own(runs, tmp_path):
    release = open_release(runs["categorical"])
    release.objective.backbone = build_backbone("vit_large_mci_224", 32, {"depth": 1, "embed_dim": 32}, 0)
    with pytest.raises(UserError, match="timm alone has no such model"):
        write_folder(release, tmp_path, tmp_path)

"""Graphs of torch.export and ONNX: what they give, for batches of any size."""

import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from catclip.errors import UserError
from catclip.export.release import open_release
from catclip.export.to_onnx import check_opset, write_graphs
from catclip.export.to_torch import write_programs
from catclip.train.folder import load_objective

SIZES = (1, 2, 7)


@torch.no_grad()
def expected(objective, images: torch.Tensor, tokens: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    pictures = [objective.backbone(images), objective.predict(images), objective.embed_pictures(images)]
    return pictures, [objective.embed_texts(tokens)]


@pytest.fixture
def batches():
    draw = torch.Generator().manual_seed(3)
    return [
        (
            torch.randint(0, 256, (size, 3, 32, 32), dtype=torch.uint8, generator=draw),
            torch.randint(1, 49408, (size, 16), generator=draw),
        )
        for size in SIZES
    ]


@torch.no_grad()
def test_torch_programs(runs, tmp_path, batches):
    objective = load_objective(runs["hybrid"])
    write_programs(open_release(runs["hybrid"]), tmp_path, tmp_path)
    towers = [torch.export.load(tmp_path / f"{name}.pt2").module() for name in ("pictures", "texts")]
    for batch in batches:
        for tower, given, wanted in zip(towers, batch, expected(objective, *batch), strict=True):
            for found, each in zip(tower(given), wanted, strict=True):
                torch.testing.assert_close(found, each, atol=1e-6, rtol=1e-5)


def test_onnx_graphs(runs, tmp_path, batches):
    objective = load_objective(runs["hybrid"])
    sections = write_graphs(open_release(runs["hybrid"]), tmp_path, tmp_path, opset=20)
    assert "Opset 20" in sections[0].text
    names = (["features", "logits", "image_embeddings"], ["text_embeddings"])
    for number, name in enumerate(("pictures", "texts")):
        model = onnx.load(tmp_path / f"{name}.onnx")
        onnx.checker.check_model(model)
        assert model.opset_import[0].version == 20
        session = onnxruntime.InferenceSession(tmp_path / f"{name}.onnx", providers=["CPUExecutionProvider"])
        assert [each.name for each in session.get_outputs()] == names[number]
        for batch in batches:
            wanted = expected(objective, *batch)[number]
            for found, each in zip(
                session.run(None, {session.get_inputs()[0].name: batch[number].numpy()}), wanted, strict=True
            ):
                np.testing.assert_allclose(found, each.numpy(), atol=1e-4, rtol=1e-4)


def test_a_run_without_texts_or_labels_has_what_it_has(runs, tmp_path, batches):
    write_programs(open_release(runs["categorical"]), tmp_path, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"pictures.pt2", "labels.tsv"}
    features, logits = torch.export.load(tmp_path / "pictures.pt2").module()(batches[0][0])
    assert (features.shape[1], logits.shape[1]) == (32, len((tmp_path / "labels.tsv").read_text().splitlines()) - 1)


def test_settings_of_training_leave_no_trace_in_a_graph(runs, tmp_path, batches):
    run = tmp_path / "run"
    shutil.copytree(runs["categorical"], run)
    file = run / "config.yaml"
    text = file.read_text()
    for setting in ("checkpoint_activations: false", "channels_last: false"):
        assert setting in text
        text = text.replace(setting, setting.replace("false", "true"))
    file.write_text(text.replace("patch_dropout: 0.0", "patch_dropout: 0.5"))
    write_programs(open_release(run), tmp_path, tmp_path)
    found = torch.export.load(tmp_path / "pictures.pt2").module()(batches[0][0])
    for one, other in zip(found, expected_labels(load_objective(runs["categorical"]), batches[0][0]), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def expected_labels(objective, images: torch.Tensor) -> list[torch.Tensor]:
    return [objective.backbone(images), objective.predict(images)]


def test_opsets_that_there_are_not():
    for opset in (17, 999):
        with pytest.raises(UserError, match=f"opset={opset} must be from 18 to "):
            check_opset(opset)

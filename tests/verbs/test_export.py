"""`catclip export`, through the command line; the formats are tested in tests/export."""

import numpy as np
import onnxruntime
import open_clip
import pytest
import timm
import torch

from catclip.train.folder import load_objective
from catclip.verbs.training import train
from tests import tiny
from tests.export.making import make_run


def test_a_run_comes_out_and_nothing_is_overwritten(glyphs, catclip, tmp_path):
    run = tmp_path / "run"
    train({"run": tiny.config("categorical", glyphs, steps=2)}, {"run": run}, "training")
    code, said, _ = catclip("export", f"model={run}", "format=timm-hub", "out=model")
    assert code == 0, said
    assert "model: README.md, config.json, labels.tsv, model.safetensors" in said
    model = timm.create_model("local-dir:model", pretrained=True).eval()
    objective = load_objective(run)
    pictures = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    seen = (pictures - objective.backbone.mean) / objective.backbone.std
    assert torch.equal(model(seen), objective.predict(pictures))

    assert len({file.stat().st_mode for file in (tmp_path / "model").iterdir()}) == 1, "others may read all or nothing"
    before = {file: file.read_bytes() for file in (tmp_path / "model").iterdir()}
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    for out, form, why in [
        ("model", "timm", "out=model is there already"),
        ("file", "timm", "out=file is there already"),
        ("new", "open_clip", "needs a text tower"),
        ("new", "onxn", "format=onxn is not one of"),
    ]:
        code, _, error = catclip("export", f"model={run}", f"format={form}", f"out={out}")
        assert (code, why in error) == (2, True), error
    assert {file: file.read_bytes() for file in (tmp_path / "model").iterdir()} == before
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".*partial"))
    assert catclip("export", f"model={run}", "format=timm", "out=empty", "weights=last")[0] == 0

    code, _, error = catclip("export", f"model={tmp_path / 'empty'}", "format=timm")
    assert (code, "is not a run folder" in error) == (2, True)
    (file,) = run.glob("checkpoints/step-2/ema.safetensors")
    file.write_bytes(file.read_bytes()[:-100])
    code, _, error = catclip("export", f"model={run}", "format=timm")
    assert (code, "ema.safetensors cannot be loaded" in error) == (2, True)


@pytest.mark.parametrize(
    ("form", "files"),
    [
        ("onnx", "README.md, labels.tsv, pictures.onnx, texts.onnx"),
        ("torch", "README.md, labels.tsv, pictures.pt2, texts.pt2"),
        (
            "open_clip",
            "README.md, label_head.safetensors, labels.tsv, open_clip_config.json, open_clip_model.safetensors",
        ),
    ],
)
@torch.no_grad()
def test_both_towers_come_out_in_every_format(glyphs, catclip, tmp_path, form, files):
    run = make_run(tmp_path / "run", "hybrid", glyphs)
    code, said, error = catclip("export", f"model={run}", f"format={form}")
    assert code == 0, error
    folder = run / "export" / form
    assert f"{folder}: {files}" in said
    objective = load_objective(run)
    pictures = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    if form == "onnx":
        session = onnxruntime.InferenceSession(folder / "pictures.onnx", providers=["CPUExecutionProvider"])
        found = torch.from_numpy(np.array(session.run(["image_embeddings"], {"images": pictures.numpy()})[0]))
    elif form == "torch":
        found = torch.export.load(folder / "pictures.pt2").module()(pictures)[2]
    else:
        model = open_clip.create_model_and_transforms(f"local-dir:{folder}")[0].eval()
        seen = (pictures - objective.backbone.mean) / objective.backbone.std
        found = model.encode_image(seen, normalize=True)
    torch.testing.assert_close(found, objective.embed_pictures(pictures), atol=1e-4, rtol=1e-4)

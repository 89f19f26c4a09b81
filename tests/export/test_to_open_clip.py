"""Exported to open_clip: the installed package gives the embeddings that the run gives."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file

from catclip.errors import UserError
from catclip.export.release import open_release
from catclip.export.to_open_clip import write_folder
from catclip.models.backbone import build_backbone
from catclip.models.weights import load_weights
from catclip.train.folder import load_objective
from tests import tiny

CAPTIONS = ["a red car", "two dogs on a couch and more words than there is room for, if the text is short", ""]


def exported(run: Path, folder: Path):
    folder.mkdir(exist_ok=True)
    write_folder(open_release(run), folder, folder)
    name = f"local-dir:{folder}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    return model.eval(), preprocess, open_clip.get_tokenizer(name)


@pytest.mark.parametrize("kind", ["hybrid", "siglip", "usual"])
@torch.no_grad()
def test_embeddings_are_identical(runs, tmp_path, kind):
    model, _, tokenizer = exported(runs[kind], tmp_path)
    objective = load_objective(runs[kind])
    size = objective.backbone.image_size
    pictures = torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8)
    seen = (pictures - objective.backbone.mean) / objective.backbone.std
    tokens = tokenizer(CAPTIONS)
    assert torch.equal(tokens, objective_tokens(objective)(CAPTIONS))
    embeddings = model.encode_image(seen, normalize=True), model.encode_text(tokens, normalize=True)
    assert torch.equal(embeddings[0], objective.embed_pictures(pictures))
    assert torch.equal(embeddings[1], objective.embed_texts(tokens))
    pair = getattr(objective, "contrastive", objective)
    expected = pair.log_scale.exp() * embeddings[0] @ embeddings[1].T + (0 if pair.bias is None else pair.bias)
    torch.testing.assert_close(model.get_logits(seen, tokens)[0], expected)


def objective_tokens(objective):
    targets = getattr(objective, "contrastive", objective).targets
    return open_clip.get_tokenizer("ViT-B-16", context_length=targets.length)


def test_a_backbone_as_its_name_says_needs_no_path(runs, tmp_path):
    exported(runs["usual"], tmp_path / "usual")
    exported(runs["hybrid"], tmp_path / "hybrid")
    names = {
        kind: json.loads((tmp_path / kind / "open_clip_config.json").read_text())["model_cfg"]["vision_cfg"]
        for kind in ("usual", "hybrid")
    }
    assert names["usual"]["timm_model_name"] == "vit_tiny_patch16_224"
    assert names["hybrid"]["timm_model_name"] == f"local-dir:{tmp_path / 'hybrid' / 'trunk'}"


@torch.no_grad()
def test_the_label_head_of_a_hybrid_lies_beside(runs, tmp_path, pictures):
    model, _, _ = exported(runs["hybrid"], tmp_path)
    objective = load_objective(runs["hybrid"])
    head = load_file(tmp_path / "label_head.safetensors")
    logits = model.visual.trunk((pictures - objective.backbone.mean) / objective.backbone.std) @ head["weight"].T
    torch.testing.assert_close(logits + head["bias"], objective.predict(pictures))
    assert len((tmp_path / "labels.tsv").read_text().splitlines()) == len(head["bias"]) + 1


def test_what_went_out_comes_in_again(runs, tmp_path):
    exported(runs["hybrid"], tmp_path)
    trunk = load_objective(runs["hybrid"]).backbone.trunk.state_dict()
    backbone = build_backbone("vit_tiny_patch16_224", tiny.SIZE, tiny.OPTIONS, 5)
    load_weights(backbone, tmp_path)
    tiny.assert_same(dict(backbone.trunk.state_dict()), dict(trunk))


# ---------------------------------------------------------------- video, by frames


def clip(colour: str, frames: int = 5) -> list[Image.Image]:
    """A disc that wanders over the picture."""
    drawn = []
    for number in range(frames):
        picture = Image.new("RGB", (48, 32), "white")
        ImageDraw.Draw(picture).ellipse((4 * number + 8, 8, 4 * number + 24, 24), fill=colour)
        drawn.append(picture)
    return drawn


@torch.no_grad()
def test_texts_find_clips_by_the_mean_of_their_frames(runs, tmp_path):
    model, preprocess, tokenizer = exported(runs["hybrid"], tmp_path)
    colours = ["red", "green", "blue"]
    clips = torch.stack([torch.stack([preprocess(frame) for frame in clip(colour)]) for colour in colours])
    assert clips.shape == (3, 5, 3, 32, 32)
    frames = model.encode_image(clips.flatten(0, 1), normalize=True).unflatten(0, clips.shape[:2])
    videos = torch.nn.functional.normalize(frames.mean(dim=1), dim=-1)
    tokens = tokenizer([f"a {colour} disc" for colour in colours])
    cosines = model.encode_text(tokens, normalize=True) @ videos.T
    # The same by the run itself, which takes the frames as bytes.
    objective = load_objective(runs["hybrid"])
    seen = clips.flatten(0, 1) * objective.backbone.std + objective.backbone.mean
    own = objective.embed_pictures(seen.round().to(torch.uint8)).unflatten(0, clips.shape[:2]).mean(dim=1)
    expected = objective.embed_texts(tokens) @ torch.nn.functional.normalize(own, dim=-1).T
    torch.testing.assert_close(cosines, expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(cosines.argsort(dim=1), expected.argsort(dim=1))


def test_a_run_without_a_text_tower(runs, tmp_path):
    with pytest.raises(UserError, match=r"needs a text tower, which this run \(Categorical\) has not"):
        write_folder(open_release(runs["categorical"]), tmp_path, tmp_path)


def test_features_that_open_clip_would_not_have_are_refused(runs, tmp_path):
    with pytest.raises(UserError, match="288 features and the 1024 that it gives"):
        exported(runs["mobilenet"], tmp_path)
    assert not list(tmp_path.iterdir())

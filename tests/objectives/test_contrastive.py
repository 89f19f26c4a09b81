"""The contrastive objective is CLIP: open_clip's loss and text tower, linear projections, a bounded temperature."""

import math

import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.loss import SigLipLoss

from catclip.errors import UserError
from catclip.objectives.contrastive import Contrastive
from tests.tiny import TEXT, batches, build, config


@pytest.fixture
def objective(glyphs) -> Contrastive:
    made = build(config("contrastive", glyphs))
    assert isinstance(made, Contrastive)
    return made


@pytest.fixture
def batch(glyphs, objective):
    return batches(config("contrastive", glyphs), objective, 1)[0]


def symmetric_cross_entropy(pictures: torch.Tensor, texts: torch.Tensor, scale: float) -> torch.Tensor:
    """Radford et al., figure 3, written out: every picture against all texts, every text against all pictures."""
    logits = scale * pictures @ texts.T
    total = torch.zeros((), dtype=logits.dtype)
    for i in range(len(logits)):
        total = total - logits[i, i] + logits[i].exp().sum().log()
        total = total - logits[i, i] + logits[:, i].exp().sum().log()
    return total / (2 * len(logits))


def test_the_loss_is_the_symmetric_cross_entropy(objective, batch):
    pictures, texts = objective.embed_pictures(batch["images"]), objective.embed_texts(batch["tokens"])
    made = objective(batch)
    assert made["scale"].item() == pytest.approx(1 / 0.07, rel=1e-5)
    expected = symmetric_cross_entropy(pictures.double(), texts.double(), 1 / 0.07)
    assert made["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    theirs = open_clip.ClipLoss()(pictures, texts, torch.tensor(1 / 0.07))
    torch.testing.assert_close(made["loss"], theirs)


def test_the_gradients_are_those_of_the_symmetric_cross_entropy(objective, batch):
    weights = [objective.projection.weight, objective.log_scale, objective.text.text_projection]
    made = torch.autograd.grad(objective(batch)["loss"], weights)
    pictures, texts = objective.embed_pictures(batch["images"]), objective.embed_texts(batch["tokens"])
    loss = symmetric_cross_entropy(pictures, texts, objective.log_scale.exp())
    for ours, theirs in zip(made, torch.autograd.grad(loss, weights), strict=True):
        assert theirs.abs().max() > 1e-4
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_every_weight_learns(objective, batch):
    objective(batch)["loss"].backward()
    unused = [name for name, each in objective.named_parameters() if each.grad is None or not each.grad.any()]
    assert unused == []


def test_pairs_that_match_have_a_lower_loss(objective, batch):
    pictures = objective.embed_pictures(batch["images"])
    matching, others = ({"pictures": pictures, "texts": texts} for texts in (pictures, pictures.roll(1, 0)))
    assert objective.loss(matching, batch)["loss"] < objective.loss(others, batch)["loss"]


def test_the_temperature_stays_at_100_and_can_come_back(objective, batch):
    with torch.no_grad():
        objective.log_scale.fill_(math.log(1000))
    made = objective(batch)
    assert made["scale"].item() == pytest.approx(100, rel=1e-5)
    assert objective.log_scale.item() == pytest.approx(math.log(100))
    made["loss"].backward()
    assert objective.log_scale.grad != 0


def test_a_temperature_below_the_bound_is_left_alone(objective, batch):
    with torch.no_grad():
        objective.log_scale.fill_(math.log(3))
    assert objective(batch)["scale"].item() == pytest.approx(3, rel=1e-5)


def test_embeddings_are_unit_vectors_of_linear_projections(objective, batch):
    pictures, texts = objective.embed_pictures(batch["images"]), objective.embed_texts(batch["tokens"])
    assert pictures.shape == texts.shape == (8, TEXT["embed"])
    torch.testing.assert_close(pictures.norm(dim=1), torch.ones(8))
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(8))
    linear = objective.embed(batch["images"]) @ objective.projection.weight.T
    torch.testing.assert_close(pictures, F.normalize(linear, dim=1))
    assert objective.projection.bias is None


def test_the_text_tower_is_open_clips_of_the_configured_size(objective, batch):
    theirs = open_clip.transformer.TextTransformer(
        context_length=TEXT["text_length"], width=TEXT["text_width"], heads=TEXT["text_heads"],
        layers=TEXT["text_layers"], output_dim=TEXT["embed"],
    )  # fmt: skip
    theirs.load_state_dict(objective.text.state_dict())
    torch.testing.assert_close(objective.embed_texts(batch["tokens"]), F.normalize(theirs(batch["tokens"]), dim=1))
    assert batch["tokens"].shape == (8, TEXT["text_length"])


# ---- SigLIP ---------------------------------------------------------------------------------------------------------


def test_siglip_starts_where_published_and_is_open_clips(glyphs):
    settings = config("contrastive", glyphs)
    settings.objective["loss"] = "siglip"
    objective = build(settings)
    assert isinstance(objective, Contrastive)
    batch = batches(settings, objective, 1)[0]
    made = objective(batch)
    assert (made["scale"].item(), made["bias"].item()) == (pytest.approx(10), -10)
    outputs = objective.outputs(batch)
    theirs = SigLipLoss()(outputs["pictures"], outputs["texts"], torch.tensor(10.0), torch.tensor(-10.0))
    torch.testing.assert_close(made["loss"], theirs)
    made["loss"].backward()
    assert [name for name, each in objective.named_parameters() if each.grad is None or not each.grad.any()] == []


# ---- towers by name -------------------------------------------------------------------------------------------------


def test_a_named_tower_with_sizes_of_ones_own(glyphs):
    settings = config("contrastive", glyphs)
    settings.objective = {"_target_": settings.objective["_target_"], "text": "ViT-S-32-alt", "text_layers": 1}
    objective = build(settings)
    assert isinstance(objective, Contrastive)
    assert objective.projection.weight.shape[0] == 256
    assert len(objective.text.transformer.resblocks) == 1
    assert batches(settings, objective, 1)[0]["tokens"].shape == (8, 77)


def test_a_tower_that_gives_tokens_too_gives_one_vector_a_text(glyphs):
    settings = config("contrastive", glyphs)
    settings.objective = {"_target_": settings.objective["_target_"], "text": "coca_ViT-B-32", "text_layers": 1}
    objective = build(settings)
    (batch,) = batches(settings, objective, 1)
    assert objective.embed_texts(batch["tokens"]).shape == (8, 512)
    objective(batch)["loss"].backward()


@pytest.mark.parametrize(("options", "said"), [({"loss": "sigclip"}, "'siglip'"), ({"text": "ViT-B-61"}, "ViT-B-16")])
def test_names_that_are_none_are_said(glyphs, options, said):
    settings = config("contrastive", glyphs)
    settings.objective |= options
    with pytest.raises(UserError, match=said):
        build(settings)

"""Objectives are built by name, alike but for themselves, and what is wrong in a configuration is said."""

import pytest
import torch

from catclip.captions import Vocabulary
from catclip.config import BackboneConfig
from catclip.data.pairs import Annotation
from catclip.errors import UserError
from catclip.objectives.base import Objective
from catclip.objectives.build import build_objective
from tests.tiny import OBJECTIVES, OPTIONS, SIZE, TEXT, assert_same, build, config, objective_config, vocabulary_file

BACKBONE = BackboneConfig("vit_tiny_patch16_224", SIZE, OPTIONS)


def failure(options: dict) -> str:
    with pytest.raises(UserError) as caught:
        build_objective(options, BACKBONE, None, 0)
    return str(caught.value)


# ---- fairness -------------------------------------------------------------------------------------------------------


def test_all_objectives_start_from_the_same_backbone(glyphs):
    weights = [dict(build(config(name, glyphs, seed=3)).backbone.state_dict()) for name in OBJECTIVES]
    assert_same(weights[0], weights[1])
    other = build(config(OBJECTIVES[0], glyphs, seed=4)).backbone.state_dict()
    assert any(not torch.equal(other[key], value) for key, value in weights[0].items())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_all_weights_depend_on_the_seed_alone(glyphs, name):
    torch.manual_seed(1)
    first = dict(build(config(name, glyphs, seed=3)).state_dict())
    torch.rand(7)
    assert_same(dict(build(config(name, glyphs, seed=3)).state_dict()), first)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_building_leaves_the_random_state_alone(glyphs, name):
    torch.manual_seed(1)
    expected = torch.rand(5)
    torch.manual_seed(1)
    build(config(name, glyphs))
    assert torch.equal(torch.rand(5), expected)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_keeps_to_the_seam(glyphs, name):
    objective = build(config(name, glyphs))
    assert isinstance(objective, Objective)
    images = torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8)
    torch.testing.assert_close(objective.embed(images), objective.backbone(images))
    target = objective.targets(Annotation(["a dog"]), None)  # type: ignore[arg-type]
    assert all(isinstance(tensor, torch.Tensor) for tensor in objective.targets.collate([target]).values())


def test_the_configuration_is_not_changed_by_building(glyphs):
    options = objective_config("contrastive", glyphs)
    build_objective(options, BACKBONE, None, 0)
    assert options == objective_config("contrastive", glyphs)


# ---- what the user hears --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "", "Categorical", "catclip.objectives.categorical.Categoric", "catclip.objectives.nothing.Nothing",
        ".categorical.Categorical", "catclip..x", None, 7,
    ],
)  # fmt: skip
def test_a_target_that_cannot_be_imported_is_named(target):
    said = failure({"_target_": target, **TEXT})
    assert "objective._target_" in said
    assert str(target) in said


def test_no_target_at_all():
    assert "has no objective._target_: give the dotted name of its class" in failure(dict(TEXT))


@pytest.mark.parametrize(
    "target", ["os.path.join", "torch.nn.Linear", "builtins.type", "catclip.objectives.categorical", "math.pi"]
)
def test_a_target_that_is_no_objective_is_refused(target):
    said = failure({"_target_": target})
    assert target in said
    assert "subclass of catclip.objectives.base.Objective" in said


@pytest.mark.parametrize(
    ("option", "hint"), [("text_layer", "text_layers"), ("vocabulary", ""), ("embedding", "embed")]
)
def test_an_unknown_option_names_the_nearest_and_the_known(glyphs, option, hint):
    said = failure({**objective_config("contrastive", glyphs), option: 3})
    assert f"Contrastive takes no option '{option}'." in said
    assert f"Did you mean '{hint}'?" in said if hint else "Did you mean" not in said
    assert "embed, text_length, text_width, text_layers, text_heads" in said


def test_backbone_and_pairs_are_no_options(glyphs):
    for option in ("backbone", "pairs"):
        assert f"no option '{option}'" in failure({**objective_config("contrastive", glyphs), option: None})


def test_a_missing_option_is_named():
    said = failure({"_target_": "catclip.objectives.categorical.Categorical"})
    assert "Categorical needs objective.vocabulary" in said


def test_a_wrong_backbone_is_said(glyphs):
    with pytest.raises(UserError, match="vit_tinny"):
        build_objective(objective_config("contrastive", glyphs), BackboneConfig("vit_tinny", SIZE), None, 0)


def test_the_vocabulary_decides_the_width_of_the_head(glyphs):
    objective = build_objective(objective_config("categorical", glyphs), BACKBONE, None, 0)
    assert objective.head.weight.shape == (len(Vocabulary.load(vocabulary_file(glyphs))), OPTIONS["embed_dim"])

"""The hybrid is the weighted sum of its two objectives on one backbone."""

import copy

import pytest
import torch
from safetensors.torch import save

from catclip.errors import UserError
from catclip.evaluate import multilabel, retrieval
from catclip.objectives.categorical import Categorical
from catclip.objectives.contrastive import Contrastive
from catclip.objectives.hybrid import Hybrid
from tests.tiny import TEXT, batches, build, config, vocabulary_file


def made(glyphs, **options) -> tuple[Hybrid, list]:
    settings = config("contrastive", glyphs)
    settings.objective = {
        "_target_": "catclip.objectives.hybrid.Hybrid", "vocabulary": str(vocabulary_file(glyphs)),
        "contrastive": TEXT, **options,
    }  # fmt: skip
    objective = build(settings)
    assert isinstance(objective, Hybrid)
    return objective, batches(settings, objective, 2)


def alone(hybrid: Hybrid) -> tuple[Categorical, Contrastive]:
    """The two with the hybrid's weights, each with the backbone of its own that it has without the other."""
    parts = copy.deepcopy((hybrid.categorical, hybrid.contrastive))
    for part in parts:
        part.backbone = copy.deepcopy(hybrid.backbone)
    return parts


def test_loss_and_gradients_are_the_weighted_sums(glyphs):
    hybrid, (batch, _) = made(glyphs, categorical_weight=0.25, contrastive_weight=2.0)
    categorical, contrastive = alone(hybrid)
    losses = [part(batch)["loss"] for part in (categorical, contrastive)]
    logged = hybrid(batch)
    torch.testing.assert_close(logged["loss"], 0.25 * losses[0] + 2 * losses[1])
    assert (logged["categorical_loss"], logged["contrastive_loss"]) == (losses[0], losses[1])
    assert logged["scale"].item() == pytest.approx(1 / 0.07)
    logged["loss"].backward()
    (0.25 * losses[0] + 2 * losses[1]).backward()
    for name, weight in hybrid.backbone.named_parameters():
        each = [part.backbone.get_parameter(name).grad for part in (categorical, contrastive)]
        torch.testing.assert_close(weight.grad, each[0] + each[1], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(hybrid.head.weight.grad, categorical.head.weight.grad)


def test_the_backbone_is_there_once_and_runs_once(glyphs):
    hybrid, (batch, _) = made(glyphs)
    assert len({name.split(".")[0] for name in hybrid.state_dict()} - {"backbone"}) == 2
    save(hybrid.state_dict())  # which refuses weights that stand there twice
    calls = []
    hybrid.backbone.register_forward_hook(lambda *_: calls.append(1))
    hybrid(batch)
    assert len(calls) == 1


def test_options_go_to_the_two(glyphs):
    hybrid, (batch, other) = made(glyphs, categorical={"loss": "softmax"}, contrastive=TEXT | {"loss": "siglip"})
    for each in (batch, other):
        hybrid.observe(each)
    assert hybrid.state_dict()["categorical.frequency.pictures"] == 16
    assert hybrid(batch)["bias"].item() == -10


def test_both_evaluators_measure_it(glyphs):
    hybrid, made_ = made(glyphs)
    categorical, contrastive = alone(hybrid)
    assert hybrid.evaluators == ("multilabel", "retrieval")
    with torch.no_grad():
        assert dict(multilabel.evaluate(hybrid, made_)) == dict(multilabel.evaluate(categorical, made_))
        assert dict(retrieval.evaluate(hybrid, made_)) == dict(retrieval.evaluate(contrastive, made_))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"categorical": {"los": "bce"}}, "Categorical takes no option 'los'. Did you mean 'loss'?"),
        ({"contrastive": {"text_layer": 2}}, "Contrastive takes no option 'text_layer'"),
        ({"categorical": {"loss": "focal"}}, "objective.categorical.loss=focal is not one of"),
        ({"categorical": {"labels": "subword"}}, "no objective.vocabulary="),
        ({"vocabulary": None}, "objective.vocabulary is null: give a file of `catclip vocab`, or subwords"),
        ({"contrastive": TEXT | {"loss": "triplet"}}, "objective.contrastive.loss=triplet is not one of"),
        ({"categorical_weight": -1.0}, "objective.categorical_weight=-1.0"),
    ],
)
def test_wrong_options_are_said(glyphs, options, said):
    with pytest.raises(UserError) as caught:
        made(glyphs, **options)
    assert said in str(caught.value)

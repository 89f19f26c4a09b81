"""What is changed is what differs, one thing at a time, and only where it concerns the objective."""

from dataclasses import asdict

import pytest
import torch

from catclip.compare import sensitivity
from catclip.compare.sensitivity import (
    Trial,
    _resolutions,
    relabelled,
    sensitivity_figures,
    set_labels,
    text_length,
    variants,
    with_text_length,
)
from catclip.config import BackboneConfig, MeasureConfig, SensitivityConfig
from catclip.errors import UserError
from tests import tiny

CPU = torch.device("cpu")
WANTED = SensitivityConfig(
    text_length=[16, 8], vocabulary=[1000], patch_dropout=[0.5], workers=[0, 1], precision=["fp32", "bf16"], rounds=2
)
MEASURE = MeasureConfig(steps=1, sensitivity=WANTED)


@pytest.mark.parametrize("name", tiny.OBJECTIVES)
def test_each_variant_differs_in_one_thing(glyphs, name):
    config = tiny.config(name, glyphs)
    first, *others = variants(config, MEASURE, CPU)
    assert first.name == ""
    for each in others:
        before, after = (_flat(asdict(one.config)) for one in (first, each))
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        as_configured = each.labels is not None or (each.fed and each.value == "0")
        assert len(changed) == (0 if as_configured else 1), (each.name, changed)
    found = {each.name for each in others}
    assert found >= {".resolution=16", ".resolution=48", ".patch_dropout=0.5", ".precision=bf16", ".compile=true"}
    assert ".precision=fp32" not in found  # as configured
    assert (".text_length=8" in found) == (name == "contrastive")
    assert ".text_length=16" not in found  # as configured
    assert (".vocabulary=1000" in found) == (name == "categorical")


def _flat(tree, prefix=""):
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {name: value for key, each in tree.items() for name, value in _flat(each, f"{prefix}.{key}").items()}


def test_texts_of_a_hybrid_are_its_contrastive_parts():
    assert with_text_length({"contrastive": {"text_length": 77}, "vocabulary": None}, 8) == {
        "contrastive": {"text_length": 8},
        "vocabulary": None,
    }
    assert with_text_length({"vocabulary": None}, 8) is None


@pytest.mark.parametrize(("name", "side", "wanted"), [
    ("vit_base_patch32_224", 224, [128, 320]), ("vit_base_patch16_224", 224, [112, 336]), ("resnet18", 32, [16, 48]),
])  # fmt: skip
def test_sides_are_whole_patches(glyphs, name, side, wanted):
    config = tiny.config("contrastive", glyphs)
    config.backbone = BackboneConfig(name, side)
    assert _resolutions(config) == wanted


def test_the_length_of_texts_as_configured(glyphs):
    config = tiny.config("contrastive", glyphs)
    config.objective |= {"text_length": None}  # as open_clip has it: 77
    assert text_length(config.objective) == 77
    measure = SensitivityConfig(text_length=[77, 16])
    names = [each.name for each in variants(config, MeasureConfig(sensitivity=measure), CPU)]
    assert ".text_length=16" in names
    assert ".text_length=77" not in names
    assert text_length({"contrastive": {"text_length": 12}}) == 12
    assert text_length(tiny.objective_config("categorical", glyphs)) is None


def test_all_take_turns_back_and_forth(glyphs, monkeypatch):
    order = []

    def measured(_, variant, device, steps):
        order.append((variant.config.objective["_target_"], variant.name))
        return Trial(1.0, 100)

    monkeypatch.setattr(sensitivity, "in_fresh_process", measured)
    sensitivity_figures({name: tiny.config(name, glyphs) for name in tiny.OBJECTIVES}, CPU, MEASURE)
    once = len(order) // 2
    assert order[once:] == order[:once][::-1]


def test_emulated_bf16_is_not_measured(glyphs, monkeypatch):
    monkeypatch.setattr(sensitivity, "multiplies_bf16", lambda _: False)
    config = tiny.config("categorical", glyphs, precision="bf16")
    with pytest.raises(UserError, match="no instructions for bf16"):
        sensitivity._try(sensitivity.Variant(config), CPU, 1)


def test_more_labels_train(glyphs):
    config = tiny.config("categorical", glyphs)
    objective = tiny.build(config)
    (batch,) = tiny.batches(config, objective, 1)
    many = relabelled(batch, 10_000)
    set_labels(objective, 10_000)
    assert objective.outputs(many)["logits"].shape == (8, 10_000)
    assert objective(many)["loss"].isfinite()
    assert torch.equal(many["label_offsets"], batch["label_offsets"])
    for start, stop in many["label_offsets"].unfold(0, 2, 1).tolist():
        assert len(many["label_ids"][start:stop].unique()) == stop - start
    assert int(many["label_ids"].max()) < 10_000
    with pytest.raises(UserError, match="must be larger"):
        relabelled(batch, 1)


def test_figures_are_medians_with_ratios_to_what_is_configured(glyphs, monkeypatch):
    order = []

    def measured(_, variant, device, steps):
        order.append(variant.name)
        if variant.key == "patch_dropout":
            raise UserError("it drops none")
        return Trial((3.0 if variant.key == "precision" else 1.0) + 0.01 * (len(order) > 12), 100)

    monkeypatch.setattr(sensitivity, "in_fresh_process", measured)
    figures = sensitivity_figures({"a": tiny.config("categorical", glyphs)}, CPU, MEASURE)
    assert order[0] == ""
    assert order.count("") == order.count(".precision=bf16") == 2
    assert order.count(".patch_dropout=0.5") == 1  # it is not asked again
    assert figures["sensitivity.a.patch_dropout=0.5.note"] == "it drops none"
    assert figures["sensitivity.a.precision=bf16.milliseconds.ratio"] == pytest.approx(3, rel=0.02)
    assert figures["sensitivity.a.peak_memory_bytes"] == 100
    assert figures["sensitivity.a.workers=1.milliseconds.ratio.verdict"] == "equal"
    assert "sensitivity.a.workers=0.milliseconds.ratio.verdict" not in figures  # as configured
    assert not any(isinstance(value, dict | list) for value in figures.values())


@pytest.mark.slow
def test_a_variant_is_measured_in_a_process_of_its_own(glyphs):
    config = tiny.config("contrastive", glyphs)
    made = {each.name: each for each in variants(config, MEASURE, CPU)}
    for name in ("", ".text_length=8", ".workers=1"):
        trial = sensitivity.in_fresh_process(sensitivity._try, made[name], CPU, 1)
        assert trial.seconds > 0
        assert 0 < trial.memory < 10**9

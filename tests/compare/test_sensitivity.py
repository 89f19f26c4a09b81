"""What is changed is what differs, one thing at a time, and only where it concerns the objective."""

from dataclasses import asdict

import pytest
import torch

from catclip.compare import sensitivity
from catclip.compare.sensitivity import (
    Turns,
    Variant,
    _resolutions,
    relabelled,
    sensitivity_figures,
    set_labels,
    take_turns,
    text_length,
    variants,
    with_text_length,
)
from catclip.config import BackboneConfig, MeasureConfig, SensitivityConfig
from catclip.errors import UserError
from tests import tiny

CPU = torch.device("cpu")
WANTED = SensitivityConfig(
    text_length=[16, 8], vocabulary=[1000], patch_dropout=[0.5], workers=[0, 1], precision=["fp32", "bf16"]
)
MEASURE = MeasureConfig(rounds=2, steps=1, sensitivity=WANTED)


@pytest.mark.parametrize("name", tiny.OBJECTIVES)
def test_each_variant_differs_in_one_thing(glyphs, name):
    config = tiny.config(name, glyphs)
    first, *others = variants(config, MEASURE, CPU)
    assert first.name == ""
    for each in others:
        before, after = (_flat(asdict(one.config)) for one in (first, each))
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        assert len(changed) == (0 if each.labels is not None else 1), (each.name, changed)
    found = {each.name for each in others}
    assert found >= {".resolution=16", ".resolution=48", ".patch_dropout=0.5", ".precision=bf16", ".compile=true"}
    assert ".workers=1" in found
    assert not {".precision=fp32", ".workers=0"} & found  # as configured
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


def test_a_variant_and_what_is_configured_take_turns(glyphs, monkeypatch):
    taken = []

    def side(variant, *_):
        return lambda: taken.append(variant.name) or float(len(taken))

    monkeypatch.setattr(sensitivity, "_side", side)
    config = tiny.config("categorical", glyphs)
    turns = take_turns(Variant(config), Variant(config, "x", "1"), CPU, MeasureConfig(rounds=3))
    assert taken == ["", ".x=1", ".x=1", "", "", ".x=1", ".x=1", ""]
    assert turns == ([4, 5, 8], [3, 6, 7])  # the first round warms up


def test_emulated_bf16_is_not_measured(glyphs, monkeypatch):
    monkeypatch.setattr(sensitivity, "multiplies_bf16", lambda _: False)
    config = tiny.config("categorical", glyphs, precision="bf16")
    with pytest.raises(UserError, match="no instructions for bf16"):
        take_turns(Variant(config), Variant(config), CPU, MEASURE)


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
    asked = []

    def in_fresh_process(function, *arguments):
        if function is not take_turns:
            return 100
        base, variant, *_ = arguments
        asked.append((base.name, variant.name))
        if variant.key == "patch_dropout":
            raise UserError("it drops none")
        if variant.key == "vocabulary":
            raise torch.OutOfMemoryError("CUDA out of memory")
        slower = 3.0 if variant.key == "precision" else 1.0
        return Turns([1.0, 1.01], [slower, 1.01 * slower])

    monkeypatch.setattr(sensitivity, "in_fresh_process", in_fresh_process)
    figures = sensitivity_figures({"a": tiny.config("categorical", glyphs)}, CPU, MEASURE)
    assert asked[-1] == (".workers=0", ".workers=1")  # fed, like what it is compared with
    assert {base for base, _ in asked[:-1]} == {""}
    assert figures["sensitivity.a.patch_dropout=0.5.note"] == "it drops none"
    assert "not enough memory" in figures["sensitivity.a.vocabulary=1000.note"]
    assert figures["sensitivity.a.precision=bf16.milliseconds.ratio"] == pytest.approx(3)
    assert figures["sensitivity.a.milliseconds"] == pytest.approx(1005)
    assert figures["sensitivity.a.peak_memory_bytes"] == figures["sensitivity.a.resolution=48.peak_memory_bytes"] == 100
    assert figures["sensitivity.a.workers=1.milliseconds.ratio.verdict"] == "equal"
    assert "sensitivity.a.workers=0.milliseconds.ratio.verdict" not in figures  # as configured
    assert "sensitivity.a.workers=1.peak_memory_bytes" not in figures
    assert not any(isinstance(value, dict | list) for value in figures.values())


def test_what_fails_otherwise_is_not_hidden(glyphs, monkeypatch):
    def in_fresh_process(function, *_):
        if function is take_turns:
            raise RuntimeError("shapes cannot be multiplied")
        return 100

    monkeypatch.setattr(sensitivity, "in_fresh_process", in_fresh_process)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        sensitivity_figures({"a": tiny.config("categorical", glyphs)}, CPU, MEASURE)


@pytest.mark.slow
@pytest.mark.parametrize("name", tiny.OBJECTIVES)
def test_variants_are_measured_in_processes_of_their_own(glyphs, name):
    wanted = SensitivityConfig([8], [1000], [16], [], [1], [], [])
    measure = MeasureConfig(rounds=2, steps=1, sensitivity=wanted)
    figures = sensitivity_figures({name: tiny.config(name, glyphs)}, CPU, measure)
    changes = [".resolution=16", ".vocabulary=1000" if name == "categorical" else ".text_length=8"]
    for change in ("", *changes):
        assert figures[f"sensitivity.{name}{change}.milliseconds"] > 0
        assert 0 < figures[f"sensitivity.{name}{change}.peak_memory_bytes"] < 10**9
    for change in (*changes, ".workers=1"):
        assert f"sensitivity.{name}{change}.milliseconds.ratio.verdict" in figures
    assert not [key for key in figures if key.endswith(".note")]

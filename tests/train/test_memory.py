import re
from dataclasses import fields

import pytest
import torch

from catclip.config import PretrainConfig
from catclip.errors import UserError
from catclip.train import memory
from catclip.train.memory import memory_errors
from tests import tiny

CPU = torch.device("cpu")


def advice(config: PretrainConfig) -> str:
    with pytest.raises(UserError) as raised, memory_errors(config, CPU):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")
    return str(raised.value)


def test_what_would_take_less_is_said(glyphs, monkeypatch):
    monkeypatch.setattr(memory, "multiplies_bf16", lambda device: device == CPU)
    said = advice(tiny.config("categorical", glyphs, batch=1000))
    assert "trains the same: run.micro_batch=500, backbone.checkpoint_activations=true." in said
    parts = advice(tiny.config("categorical", glyphs, batch=1000, micro_batch=64))
    assert "run.micro_batch=32," in parts
    assert "run.batch=500" in said
    assert "run.precision=bf16" in said
    assert said.endswith("(CUDA out of memory. Tried to allocate 2.00 GiB.)")


@pytest.mark.parametrize(("precision", "fast"), [("bf16", True), ("fp32", False)])
def test_what_would_not_help_is_not_said(glyphs, monkeypatch, precision, fast):
    monkeypatch.setattr(memory, "multiplies_bf16", lambda _: fast)
    config = tiny.config("categorical", glyphs, batch=1, precision=precision)
    config.backbone.checkpoint_activations = True
    said = advice(config)
    assert "precision" not in said
    assert "batch=" not in said
    assert "activations" not in said


def test_the_keys_exist(glyphs):
    config = tiny.config("categorical", glyphs)
    for group, key in re.findall(r"\b(run|backbone)\.(\w+)=", advice(config)):
        assert key in {field.name for field in fields(getattr(config, group))}, key


@pytest.mark.parametrize("error", [RuntimeError("shapes cannot be multiplied"), ValueError("x"), SystemExit(75)])
def test_other_errors_pass(glyphs, error):
    with pytest.raises(type(error)) as raised, memory_errors(tiny.config("categorical", glyphs), CPU):
        raise error
    assert raised.value is error

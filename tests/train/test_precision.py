import pytest
import torch

from catclip.errors import UserError
from catclip.train import precision
from catclip.train.precision import PRECISIONS, pick_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("device", [CPU, GPU])
def test_auto_is_bf16_where_the_device_is_made_for_it(monkeypatch, device, fast):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: fast and device is CPU)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: fast and not including_emulation)
    assert pick_precision("auto", device) == ("bf16" if fast else "fp32")


@pytest.mark.parametrize("setting", PRECISIONS)
def test_what_is_asked_for_is_given(monkeypatch, setting):
    monkeypatch.setattr(precision, "multiplies_bf16", lambda _: setting != "bf16")
    assert pick_precision(setting, CPU) == setting


def test_another_is_refused():
    with pytest.raises(UserError, match=r"precision=fp8 is not one of auto, bf16, fp16, fp32"):
        pick_precision("fp8", CPU, "precision")

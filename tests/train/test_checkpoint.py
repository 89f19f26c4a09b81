import json
import resource
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from catclip.errors import UserError
from catclip.train import checkpoint as module
from catclip.train.checkpoint import list_checkpoints, load_checkpoint, prune_checkpoints, save_checkpoint
from catclip.train.trainer import Trainer
from tests import tiny
from tests.tiny import assert_same

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trainer(glyphs) -> Trainer:
    """After two steps; to be saved, and loaded from what it saved."""
    return fresh(glyphs, steps=2)


def fresh(glyphs: Path, steps: int) -> Trainer:
    config = tiny.config("categorical", glyphs)
    model = tiny.build(config)
    trainer = Trainer(model, config.optim, 8, CPU, "fp32")
    for batch in tiny.batches(config, model, steps):
        trainer.step(batch)
    return trainer


def names(folder: Path) -> list[str]:
    return [path.name for path in list_checkpoints(folder)]


def test_a_checkpoint_brings_back_everything(glyphs, trainer, tmp_path):
    saved = save_checkpoint(tmp_path, trainer, {"seconds": 1.5, "last": {"loss": 2.0}})
    assert saved == tmp_path / "step-2"
    other = fresh(glyphs, steps=0)
    progress = load_checkpoint(saved, other)
    assert progress == {"step": 2, "seconds": 1.5, "last": {"loss": 2.0}}
    assert other.step_number == 2
    assert_same(other.weights(), trainer.weights())
    assert_same(other.training_state(), trainer.training_state())


def test_weights_are_safetensors_and_state_holds_no_code(trainer, tmp_path):
    saved = save_checkpoint(tmp_path, trainer, {})
    assert {path.name for path in saved.iterdir()} == {
        "last.safetensors", "ema.safetensors", "training.pt", "state.json"
    }  # fmt: skip
    assert_same(load_file(saved / "ema.safetensors"), dict(trainer.weights()["ema"]))
    torch.load(saved / "training.pt", weights_only=True)
    assert json.loads((saved / "state.json").read_text()) == {"step": 2}
    assert len({path.stat().st_mode for path in saved.iterdir()}) == 1, "colleagues may read all or nothing"


def test_list_is_in_the_order_of_steps_and_ignores_what_is_not_whole(tmp_path):
    for name in ("step-9", "step-100", "step-20", ".step-200.partial", ".step-5.removed", "step-x", "step-7.old"):
        (tmp_path / name).mkdir()
    assert names(tmp_path) == ["step-9", "step-20", "step-100"]
    assert names(tmp_path / "none") == []


def test_prune_keeps_the_last_and_does_not_count_later_ones(tmp_path):
    for step in (2, 4, 6, 8, 20):
        (tmp_path / f"step-{step}").mkdir()
    prune_checkpoints(tmp_path, step=8, keep=2)
    assert names(tmp_path) == ["step-6", "step-8", "step-20"]
    assert {path.name for path in tmp_path.iterdir()} == {"step-6", "step-8", "step-20"}
    prune_checkpoints(tmp_path, step=20, keep=1)
    assert names(tmp_path) == ["step-20"]


def test_a_kill_while_removing_leaves_nothing_that_looks_whole(trainer, tmp_path, monkeypatch):
    (tmp_path / "step-1").mkdir()
    (tmp_path / "step-1" / "last.safetensors").write_bytes(b"x")
    (tmp_path / "step-1" / "state.json").write_bytes(b"x")
    save_checkpoint(tmp_path, trainer, {})

    def killed_half_way(folder: Path, **_: object) -> None:
        if folder.exists():
            (folder / "state.json").unlink()
            raise SystemExit

    monkeypatch.setattr(shutil, "rmtree", killed_half_way)
    with pytest.raises(SystemExit):
        prune_checkpoints(tmp_path, step=2, keep=1)
    assert names(tmp_path) == ["step-2"]


def test_leftovers_of_a_kill_go_with_the_next_checkpoint(trainer, tmp_path):
    (tmp_path / ".step-1.partial").mkdir()
    (tmp_path / ".step-1.partial" / "last.safetensors").write_bytes(b"half")
    (tmp_path / ".step-0.removed").mkdir()
    save_checkpoint(tmp_path, trainer, {})
    assert {path.name for path in tmp_path.iterdir()} == {"step-2"}


def test_a_step_that_is_there_is_written_anew(trainer, tmp_path):
    (tmp_path / "step-2").mkdir()
    (tmp_path / "step-2" / "stale").touch()
    save_checkpoint(tmp_path, trainer, {})
    assert not (tmp_path / "step-2" / "stale").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"step-2"}


@pytest.mark.parametrize("writer", ["save_file", "torch.save", "write_atomically"])
def test_a_full_disk_leaves_earlier_checkpoints(glyphs, tmp_path, monkeypatch, writer):
    trainer = fresh(glyphs, steps=1)
    save_checkpoint(tmp_path, trainer, {"seconds": 1.0})
    before = {path.name: path.read_bytes() for path in (tmp_path / "step-1").iterdir()}
    trainer.step_number = 2

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full) if writer == "torch.save" else monkeypatch.setattr(module, writer, full)
    with pytest.raises(UserError, match=r"step 2 could not be written.*No space left.*Earlier checkpoints are intact"):
        save_checkpoint(tmp_path, trainer, {})
    assert {path.name for path in tmp_path.iterdir()} == {"step-1"}
    assert {path.name: path.read_bytes() for path in (tmp_path / "step-1").iterdir()} == before


def test_writing_past_the_systems_limit_is_the_users_error(trainer, tmp_path):
    """No monkeypatch: what safetensors itself raises when the system refuses to write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(UserError, match="could not be written"):
            save_checkpoint(tmp_path, trainer, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", ["last.safetensors", "ema.safetensors", "training.pt", "state.json"])
@pytest.mark.parametrize("damage", ["truncate", "remove"])
def test_a_damaged_checkpoint_is_named(glyphs, trainer, tmp_path, file, damage):
    saved = save_checkpoint(tmp_path, trainer, {})
    if damage == "remove":
        (saved / file).unlink()
    else:
        (saved / file).write_bytes((saved / file).read_bytes()[:11])
    with pytest.raises(UserError, match=r"step-2|does not fit"):
        load_checkpoint(saved, trainer)

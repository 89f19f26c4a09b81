import io
import json
import math

import pytest
from rich.console import Console

from catclip.config import TrackConfig
from catclip.errors import UserError
from catclip.train import track
from catclip.train.track import Tracker, TrainingConsole, read_metrics


def rows(*steps: int) -> list[dict]:
    return [{"step": step, "loss": 1 / (step + 1)} for step in steps]


def test_rows_come_back_as_they_were_logged(tmp_path):
    tracker = Tracker(tmp_path, TrackConfig(), "run", 0, {})
    for row in rows(0, 1, 2):
        tracker.log(row)
    assert read_metrics(tmp_path / "metrics.jsonl") == rows(0, 1, 2)  # before it is closed: a kill loses nothing
    tracker.close()
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 3


def test_what_is_not_finite_is_left_out_of_what_must_be_json(tmp_path):
    tracker = Tracker(tmp_path, TrackConfig(), "run", 0, {})
    tracker.log({"step": 1, "loss": math.nan, "lr": 0.1, "best": math.inf})
    tracker.close()
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1, "lr": 0.1}]


def test_a_resumed_run_goes_on_from_its_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(1, 2, 3, 4)) + '{"step": 5, "lo')
    tracker = Tracker(tmp_path, TrackConfig(), "run", 2, {})
    tracker.log({"step": 3, "loss": 9.0})
    tracker.close()
    assert read_metrics(path) == [*rows(1, 2), {"step": 3, "loss": 9.0}]


def test_a_fresh_start_drops_the_rows_of_a_run_that_left_no_checkpoint(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(json.dumps(rows(0)[0]) + "\n")
    Tracker(tmp_path, TrackConfig(), "run", 0, {}).close()
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_a_kill_while_resuming_loses_no_rows(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(1, 2)))

    def killed(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr("catclip.files.os.replace", killed)
    with pytest.raises(SystemExit):
        Tracker(tmp_path, TrackConfig(), "run", 2, {})
    assert read_metrics(path) == rows(1, 2)


def test_there_may_be_no_metrics(tmp_path):
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_unknown_tracking_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"track\.wandb=ofline is not one of .* Did you mean 'offline'"):
        Tracker(tmp_path, TrackConfig(wandb="ofline"), "run", 0, {})


def test_wandb_offline_needs_no_network_and_keeps_its_id(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    for start in (0, 2):
        tracker = Tracker(tmp_path, TrackConfig(wandb="offline"), "run", start, {"run": {"seed": 0}})
        tracker.log({"step": start + 1, "loss": 1.0})
        tracker.close()
    offline = list((tmp_path / "wandb").glob("offline-run-*"))
    assert len(offline) == 2
    identifier = (tmp_path / "wandb_id").read_text()
    assert all(folder.name.endswith(identifier) for folder in offline)
    assert all(list(folder.glob("*.wandb")) for folder in offline)


@pytest.mark.slow
def test_wandb_online_without_a_key_says_what_else_there_is(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(UserError, match=r"wandb cannot start: .*track\.wandb=offline needs no network"):
        Tracker(tmp_path, TrackConfig(wandb="online"), "run", 0, {})


def test_tensorboard_that_is_not_installed_is_said_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(track, "find_spec", lambda _: None)
    with pytest.raises(
        UserError, match=r"track\.tensorboard=true needs TensorBoard: pip install 'catclip\[tensorboard\]'"
    ):
        Tracker(tmp_path, TrackConfig(tensorboard=True), "run", 0, {})


def test_tensorboard_shows_what_metrics_hold_and_nothing_past_the_checkpoint(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for start, losses in ((0, [3.0, 2.0, 9.0]), (2, [1.0])):  # the third step was past the checkpoint
        tracker = Tracker(tmp_path, TrackConfig(tensorboard=True), "run", start, {})
        for step, loss in enumerate(losses, start + 1):
            tracker.log({"step": step, "loss": loss})
        tracker.close()
    shown = EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    assert [(event.step, event.value) for event in shown.Scalars("loss")] == [(1, 3.0), (2, 2.0), (3, 1.0)]


def test_a_full_disk_is_said(tmp_path):
    tracker = Tracker(tmp_path, TrackConfig(), "run", 0, {})
    tracker.file.close()
    tracker.file = open("/dev/full", "a", buffering=1)  # noqa: SIM115 - the system's own full disk
    with pytest.raises(UserError, match=r"The disk is full: .*metrics\.jsonl cannot be written\. Free some space"):
        tracker.log({"step": 1, "loss": 1.0})


def test_elsewhere_than_in_a_terminal_a_line_is_printed_every_so_often(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(track.time, "monotonic", lambda: now[0])
    out = io.StringIO()
    console = TrainingConsole(1000, 0, Console(file=out, width=80))
    with console:
        for step in range(1, 61):
            now[0] += 1
            console.advance(step, "loss 0.5, 20 img/s, 3% waiting" if step % 5 == 0 else None)
    lines = out.getvalue().splitlines()
    assert [line.split(",")[0].split(":")[0] for line in lines] == ["step 30 of 1", "step 60 of 1"]
    assert all(line.endswith("loss 0.5, 20 img/s, 3% waiting") for line in lines)


def test_in_a_terminal_the_bar_says_how_far_it_is():
    out = io.StringIO()
    console = TrainingConsole(10, 4, Console(file=out, width=100, force_terminal=True))
    with console:
        console.advance(7, "loss 0.123")
        console.line("a line above")
    assert "a line above" in out.getvalue()
    assert "7/10" in out.getvalue()
    assert "loss 0.123" in out.getvalue()

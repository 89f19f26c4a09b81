import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from safetensors.torch import save_file

from catclip.environment import environment
from catclip.errors import UserError
from catclip.paths import CONF
from catclip.train.folder import _FREE, _MEASURED, RunFolder, is_free, load_objective, read_config
from catclip.verbs.training import train
from tests import tiny
from tests.tiny import assert_same


@pytest.fixture(scope="module")
def done(glyphs, tmp_path_factory) -> tuple[Path, object]:
    """A finished run and its configuration; do not write into it."""
    out = tmp_path_factory.mktemp("run") / "tiny"
    config = tiny.config("categorical", glyphs, steps=3, optim={"ema": 0.1})
    train({"categorical": config}, {"categorical": out}, "training")
    return out, config


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_a_run_leaves(done):
    out, config = done
    assert {path.name for path in out.iterdir()} == {
        "config.yaml", "environment.json", "metrics.jsonl", "checkpoints", "summary.json", "vocabulary.tsv"
    }  # fmt: skip
    saved = yaml.safe_load((out / "config.yaml").read_text())
    assert saved["optim"]["ema"] == 0.1
    assert saved["run"]["steps"] == 3
    assert saved["objective"]["_target_"] == "catclip.objectives.categorical.Categorical"
    assert "${" not in (out / "config.yaml").read_text()
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert [row["samples"] for row in rows] == [8, 16, 24]
    contract = {"step", "samples", "seconds", "loss", "images_per_second", "data_wait", "lr", "memory"}
    assert all(contract <= row.keys() for row in rows)
    assert all(0 <= row["data_wait"] <= 1 for row in rows)
    assert rows[0]["seconds"] < rows[1]["seconds"] < rows[2]["seconds"]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["steps"] == 3
    assert summary["samples"] == 24
    assert summary["loss"] == rows[-1]["loss"]
    assert summary["skipped_samples"] == 0
    assert (out / "vocabulary.tsv").read_bytes() == Path(config.data.vocabulary).read_bytes()


def test_environment_says_what_a_measurement_depends_on(done):
    here = json.loads((done[0] / "environment.json").read_text())
    assert {"command", "commit", "versions", "platform", "cpu", "cores", "torch_threads", "gpu"} <= here.keys()
    assert {"python", "catclip", "torch", "timm", "open_clip_torch", "numpy"} <= here["versions"].keys()
    assert here["cores"] >= 1


def test_commit_of_a_foreign_checkout_is_not_ours(tmp_path, monkeypatch):
    """Installed into an environment inside another project, git knows a commit, but of that project."""
    import subprocess

    import catclip.environment as module

    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    (tmp_path / "environment.py").touch()
    monkeypatch.setattr(module, "__file__", str(tmp_path / "environment.py"))
    assert environment()["commit"] is None
    subprocess.run([*git, "add", "environment.py"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "ours"], check=True)
    commit = environment()["commit"]
    assert commit is not None
    assert len(commit) == 40
    (tmp_path / "environment.py").write_text("changed")
    assert environment()["commit"] == commit + "+"


def test_a_run_of_the_same_configuration_is_taken_up_and_nothing_is_written(done):
    out, config = done
    before = contents(out)
    assert RunFolder(out, config).done
    assert contents(out) == before


def test_a_run_configured_otherwise_is_refused_and_the_keys_are_named(done):
    out, config = done
    before = contents(out)
    other = replace(config, optim=replace(config.optim, lr=0.5), run=replace(config.run, batch=9))
    with pytest.raises(UserError) as refusal:
        RunFolder(out, other)
    assert "optim.lr was 0.001, is now 0.5" in str(refusal.value)
    assert "run.batch was 8, is now 9" in str(refusal.value)
    assert "ema" not in str(refusal.value)
    assert contents(out) == before
    names = ("lr", "min_lr", "betas", "weight_decay", "warmup", "schedule", "cooldown", "layer_decay", "clip", "ema")
    with pytest.raises(UserError, match=r"and 2 keys more. Resume it with its own"):
        RunFolder(out, replace(config, optim=replace(config.optim, **dict.fromkeys(names, "another"))))


def test_what_does_not_change_the_result_may_change(done):
    out, config = done
    data = replace(config.data, workers=7)
    run = replace(config.run, keep=9, checkpoint_every=3, name="other", out="elsewhere", device="cuda")
    RunFolder(out, replace(config, data=data, run=run, track=replace(config.track, log_every=7, wandb="offline")))


def test_what_our_own_advice_is_to_change_may_change(done):
    out, config = done
    data = replace(config.data, max_bad=0.5, cache="/local", cache_limit="1GB", val="/local/val-*.tar", probe="/local")
    run = replace(config.run, compile=False, evaluate_every=2)
    RunFolder(out, replace(config, data=data, run=run, evaluators={"zeroshot": {"data": "pictures"}}))


def test_the_page_says_what_may_change():
    text = (CONF.parent / "docs" / "pretraining.md").read_text().partition("On resumption")[2].partition("## ")[0]
    said = {key.removesuffix("*") for key in re.findall(r"`(\w+\.[\w*]+)`", text)} - {"config.yaml"} | {"run.out"}
    assert {key for key in said if not key.startswith((*_FREE, *_MEASURED))} == set()
    assert {key for key in (*_FREE, *_MEASURED) if not any(each.startswith(key) for each in said)} == set()


def test_runs_are_told_apart_by_what_may_change_and_is_measured():
    assert is_free("data.cache_limit")
    assert not any(
        is_free(key) for key in ("run.compile", "evaluators.zeroshot.data", "data.vocabulary", "data.sources")
    )


def test_a_vocabulary_that_changed_in_its_place_is_refused(glyphs, tmp_path):
    file = tmp_path / "vocab.tsv"
    shutil.copy(tiny.vocabulary_file(glyphs), file)
    config = tiny.config("categorical", glyphs)
    config.objective["vocabulary"] = str(file)
    RunFolder(tmp_path / "run", config)
    RunFolder(tmp_path / "run", config)
    file.write_text(file.read_text().replace("# tau=1", "# tau=2"))
    with pytest.raises(UserError, match=r"configured otherwise: .*vocab\.tsv has changed since"):
        RunFolder(tmp_path / "run", config)
    file.unlink()  # the run has its own copy
    RunFolder(tmp_path / "run", config)


def test_a_folder_of_something_else_is_refused_and_left_alone(glyphs, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="is not empty and holds no run"):
        RunFolder(tmp_path, tiny.config("categorical", glyphs))
    assert contents(tmp_path) == {"thesis.tex": b"precious"}


def test_a_file_in_the_place_of_the_folder_is_refused(glyphs, tmp_path):
    (tmp_path / "file").write_text("precious")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match=r"run\.out=.* cannot be made"):
            RunFolder(path, tiny.config("categorical", glyphs))
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("killed_at", ["environment.json", "config.yaml"])
def test_a_start_that_was_killed_can_be_started_again(glyphs, tmp_path, monkeypatch, killed_at):
    import catclip.train.folder as module

    write = module.write_atomically

    def killed(path: Path, text: str) -> None:
        if path.name == killed_at:
            path.with_name(f".{path.name}.partial").write_text(text[:20])
            raise SystemExit
        write(path, text)

    config = tiny.config("categorical", glyphs)
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_atomically", killed)
        with pytest.raises(SystemExit):
            RunFolder(tmp_path / "run", config)
    RunFolder(tmp_path / "run", config)
    assert read_config(tmp_path / "run")["run"]["steps"] == 8
    assert json.loads((tmp_path / "run" / "environment.json").read_text())


# ---------------------------------------------------------------- the objective that comes back out


def test_objective_comes_back_with_the_weights_asked_for(done):
    from safetensors.torch import load_file

    out, _ = done
    for weights in ("ema", "last"):
        objective = load_objective(out, weights)
        assert not objective.training
        assert_same(dict(objective.state_dict()), load_file(out / "checkpoints" / "step-3" / f"{weights}.safetensors"))


def test_objective_comes_back_without_the_files_it_was_made_from(done, tmp_path):
    """The run folder alone says what the outputs mean, wherever it is carried."""
    shutil.copytree(done[0], tmp_path / "carried")
    text = (tmp_path / "carried" / "config.yaml").read_text()
    (tmp_path / "carried" / "config.yaml").write_text(text.replace(str(done[1].data.vocabulary), "/gone/vocab.tsv"))
    objective = load_objective(tmp_path / "carried")
    assert len(objective.targets.vocabulary) == objective.head.out_features


def test_where_no_average_was_kept_the_last_weights_come_back(glyphs, tmp_path):
    config = tiny.config("categorical", glyphs, steps=1, optim={"ema": None})
    (run,) = train({"categorical": config}, {"categorical": tmp_path}, "training")
    assert_same(dict(load_objective(tmp_path).state_dict()), run.trainer.weights()["last"])


def test_a_head_of_another_width_is_one_message(done, tmp_path):
    shutil.copytree(done[0], tmp_path / "run")
    file = tmp_path / "run" / "vocabulary.tsv"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(
        UserError, match=r"ema\.safetensors: head\.weight is \[\d+, 32\] there, and \[\d+, 32\] by the run"
    ):
        load_objective(tmp_path / "run")
    (weights,) = tmp_path.glob("run/checkpoints/*/last.safetensors")
    save_file({}, weights)
    with pytest.raises(UserError) as refusal:
        load_objective(tmp_path / "run", "last")
    assert "\n" not in str(refusal.value)


def test_no_run_lists_those_beside_and_inside(done, tmp_path):
    out, _ = done
    with pytest.raises(UserError, match=r"nothing is not a run folder: .*Runs beside it: tiny\."):
        load_objective(out.parent / "nothing")
    with pytest.raises(UserError, match=r"is not a run folder: .*Runs in it: tiny\."):
        load_objective(out.parent)
    with pytest.raises(UserError, match=r"is not a run folder: it has no config\.yaml\.$"):
        load_objective(tmp_path / "a" / "b")


@pytest.mark.parametrize("text", ["a: [1, 2", "- 1\n- 2\n", "seed: 3\n", ""])
def test_a_foreign_config_is_the_users_error(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=r"config\.yaml (cannot be read|is not the configuration of a run)"):
        load_objective(tmp_path)


@pytest.mark.parametrize(
    ("group", "change"), [("backbone", {"stem": 3}), ("run", {"seed": None}), ("optim", {"ema": None})]
)
def test_a_run_of_another_version_is_one_message(done, tmp_path, group, change):
    """A key that we do not know, or one that is not there."""
    shutil.copytree(done[0], tmp_path / "run")
    file = tmp_path / "run" / "config.yaml"
    config = yaml.safe_load(file.read_text())
    config[group] = config[group] | change
    config[group] = {key: value for key, value in config[group].items() if change.get(key, 1) is not None}
    file.write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=r"config\.yaml is of another version of catclip"):
        load_objective(tmp_path / "run")


def test_a_checkpoint_of_another_version_is_one_message(done, tmp_path):
    shutil.copytree(done[0], tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    file = tmp_path / "run" / "checkpoints" / "step-3" / "state.json"
    state = json.loads(file.read_text())
    for other in ({key: value for key, value in state.items() if key != "best"}, state | {"total": {"watts": 1}}):
        file.write_text(json.dumps(other))
        with pytest.raises(UserError, match=r"state\.json is of another version of catclip"):
            train({"categorical": done[1]}, {"categorical": tmp_path / "run"}, "training")


def test_a_run_without_a_checkpoint_says_so(glyphs, tmp_path):
    RunFolder(tmp_path, tiny.config("categorical", glyphs))
    with pytest.raises(UserError, match="has no checkpoint yet"):
        load_objective(tmp_path)


def test_unknown_weights_are_refused(done):
    with pytest.raises(UserError, match="weights=emma is not one of ema, last"):
        load_objective(done[0], "emma")


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "missing", "other"])
def test_damaged_weights_are_named(done, tmp_path, damage):
    shutil.copytree(done[0], tmp_path / "run")
    file = tmp_path / "run" / "checkpoints" / "step-3" / "ema.safetensors"
    if damage == "missing":
        file.unlink()
    elif damage == "other":
        from safetensors.torch import load_file, save_file

        weights = load_file(file)
        save_file({name: tensor for name, tensor in weights.items() if name != "head.bias"}, file)
    else:
        data = file.read_bytes()
        file.write_bytes({"truncated": data[: len(data) // 2], "garbage": b"\xff" * 500, "empty": b""}[damage])
    with pytest.raises(UserError, match=r"ema\.safetensors cannot be loaded"):
        load_objective(tmp_path / "run")

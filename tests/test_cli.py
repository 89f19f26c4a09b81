import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from catclip import __version__, cli
from tests import tiny

# What every pretraining here says first.
PRETRAIN = ["pretrain", "data.sources=x.tar", "run.steps=1"]


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_the_verbs_in_80_columns(catclip, arguments):
    code, out, err = catclip(*arguments)
    assert code == 0
    assert err == ""
    for verb, line in cli.VERBS.items():
        assert any(shown.split()[: len(verb.split())] == verb.split() and line in shown for shown in out.splitlines())
    assert max(map(len, out.splitlines())) <= 80


def test_help_of_verbs_that_begin_alike(catclip):
    code, out, err = catclip("data", "--help")
    assert (code, err) == (0, "")
    shown = [line.strip() for line in out.splitlines() if line.startswith("  ")]
    assert [line.split("  ")[0] for line in shown] == ["data glyphs", "data pack", "data check", "data preview"]


def test_version(catclip):
    assert catclip("--version") == (0, f"catclip {__version__}\n", "")


def test_every_verb_has_a_module_a_schema_and_a_configuration(catclip):
    from catclip.paths import CONF

    for verb in cli.VERBS:
        name = verb.replace(" ", "_")
        assert (CONF / f"{name}.yaml").is_file()
        code, out, err = catclip(*verb.split(), "--cfg", "job")
        assert (code, err) == (0, "")
        assert out.strip()
    import importlib

    assert all(callable(importlib.import_module(f"catclip.verbs.{v.replace(' ', '_')}").run) for v in cli.VERBS)


def test_importing_the_command_line_imports_nothing_heavy():
    code = (
        "import sys; import catclip.cli; "
        "heavy = {'torch', 'hydra', 'omegaconf', 'numpy', 'rich', 'matplotlib', 'timm', 'sklearn'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- wrong input: exit code 2, one line, no traceback


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pretrian"], "catclip has no verb 'pretrian'. Did you mean 'pretrain'? `catclip --help` lists them."),
        (["zzz"], "catclip has no verb 'zzz'. `catclip --help` lists them."),
        (["data"], "Give one of: catclip data glyphs"),
        (["data", "glpyhs"], "Give one of: catclip data glyphs"),
        ([*PRETRAIN, "optim.rl=1"], "There is no key 'optim.rl'. Did you mean 'optim.lr'?"),
        ([*PRETRAIN, "run.batchsize=1"], "There is no key 'run.batchsize'. Did you mean 'run.batch'?"),
        ([*PRETRAIN, "data.souces=x"], "There is no key 'data.souces'. Did you mean 'data.sources'?"),
        ([*PRETRAIN, "learning_rate=1"], "There is no key 'learning_rate'."),
        ([*PRETRAIN, "+optim.rl=1"], "There is no key 'optim.rl'. Did you mean 'optim.lr'?"),
        (
            [*PRETRAIN, "backbone.options.qk_norm=true"],
            "'backbone.options.qk_norm'. Add it as +backbone.options.qk_norm=…",
        ),
        (["probe", "model=x", "data.trian=x"], "There is no key 'data.trian'. Did you mean 'data.train'?"),
        (["data", "glyphs", "siz=3"], "There is no key 'siz'. Did you mean 'size'?"),
        ([*PRETRAIN, "objective=contrastive", "objective.text_widht=3"], "Did you mean 'objective.text_width'?"),
        ([*PRETRAIN, "objective=contrastiv"], "objective has no 'contrastiv'. Did you mean 'contrastive'? There are: "),
        ([*PRETRAIN, "backbone=vit_b16"], "backbone has no 'vit_b16'. Did you mean 'vit_b_16'?"),
        ([*PRETRAIN, "run.batch=many"], "run.batch=many: Value 'many' of type 'str' could not be converted to Integer"),
        ([*PRETRAIN, "run.samples='640 samples'"], "run.samples='640 samples': Value '640 samples' of type"),
        ([*PRETRAIN, "optim.lr=fast"], "optim.lr=fast: Value 'fast' of type 'str' could not be converted to Float"),
        ([*PRETRAIN, "data.flip=perhaps"], "data.flip=perhaps: Value 'perhaps' is not a valid bool"),
        (["pretrain", "run.steps=1"], "data.sources is required: give it as data.sources=…"),
        (["probe", "data=x"], "model is required: give it as model=…"),
        (["probe", "model=nowhere", "data=x"], "nowhere is not a run folder: it has no config.yaml."),
        (["vocab", "data.sources=nowhere/*.tar"], "nowhere"),
        ([*PRETRAIN, "run.out=a(b"], "run.out=a(b cannot be read: a value with special signs needs quotes of its own"),
        ([*PRETRAIN, "data.image_key=jpg;png"], "quotes of its own, as here: 'data.image_key=\"jpg;png\"'."),
        ([*PRETRAIN, "data.val=a,b"], "data.val has several values: a list is written data.val='[a,b]', a sweep over "),
        ([*PRETRAIN, "data.val=[a.tar"], "quotes of its own, and brackets must be closed."),
        ([*PRETRAIN, "data.sources=y.tar"], "data.sources is given 2 times. Give it once; braces need quotes"),
        ([*PRETRAIN, "optim.lr=1", "++optim.lr=2", "-m"], "optim.lr is given 2 times."),
    ],
)
def test_wrong_input_is_said_in_a_line(catclip, arguments, said):
    code, out, err = catclip(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("catclip: ")
    assert said in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_what_is_no_users_error_keeps_its_traceback(catclip, monkeypatch):
    def broken(_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("catclip.verbs.doctor.run", broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        catclip("doctor")


def test_ctrl_c_ends_without_a_traceback(catclip, monkeypatch):
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("catclip.verbs.doctor.run", interrupted)
    assert catclip("doctor") == (130, "", "\nInterrupted.\n")


# ---------------------------------------------------------------- what reaches a verb


@pytest.mark.parametrize(
    "pattern",
    [
        "shards/train-{00000..00331}.tar",
        "shards/train-[0-9]*.tar",
        "shards/train-0000[!9].tar",
        "s3://bucket/a-{0..3}/b-{00..11}.tar",
        "shards/*.tar",
        "shards/train-?.tar",
        "/with space/train-*.tar",
        "pipe:cat {0..3}.tar",
    ],
)
def test_shard_patterns_need_no_quotes_of_their_own(catclip, received, pattern):
    assert catclip("pretrain", f"data.sources={pattern}", "run.steps=1")[0] == 0
    assert received[0].data.sources == pattern


def test_shard_patterns_may_be_quoted_for_hydra_too(catclip, received):
    assert catclip("pretrain", "data.sources='a-{0..3}.tar'", "run.steps=1")[0] == 0
    assert received[0].data.sources == "a-{0..3}.tar"


def test_lists_and_mappings_stay_what_they_are(catclip, received):
    code, _, err = catclip("pretrain", "run.steps=1", "data.sources=[a-*.tar,b.tar]", "optim.betas=[0.8,0.9]",
                           "+backbone.options={depth: 3}", "optim.ema=null")  # fmt: skip
    assert (code, err) == (0, "")
    (config,) = received
    assert config.data.sources == ["a-*.tar", "b.tar"]
    assert config.optim.betas == [0.8, 0.9]
    assert config.backbone.options == {"depth": 3}
    assert config.optim.ema is None


def test_a_verb_receives_plain_dataclasses(catclip, received):
    from catclip.config import DataConfig, PretrainConfig

    assert catclip(*PRETRAIN, "data.vocabulary=v.tsv", "optim=adamw", "objective=categorical")[0] == 0
    (config,) = received
    assert type(config) is PretrainConfig
    assert type(config.data) is DataConfig
    assert type(config.objective) is dict
    assert config.objective["vocabulary"] == "v.tsv"


def test_the_default_run_folder_is_named_after_verb_time_and_run(catclip, received):
    assert catclip(*PRETRAIN, "objective=contrastive")[0] == 0
    assert catclip(*PRETRAIN, "run.name=first try")[0] == 0
    assert catclip(*PRETRAIN, "run.out=here")[0] == 0
    folders = [Path(config.run.out) for config in received]
    assert [folder.parent for folder in folders[:2]] == [Path("runs/pretrain")] * 2
    assert folders[0].name.endswith("-contrastive-vit_base_patch16_224")
    assert folders[1].name.endswith("-first try")
    assert folders[2] == Path("here")


def test_nothing_is_written_beside_what_the_verb_writes(catclip, received, tmp_path):
    catclip(*PRETRAIN)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- as users start it


def tiny_pretraining(glyphs: Path, *more: str) -> list[str]:
    return [
        "pretrain", "data=glyphs", f"data.sources={glyphs}/train-*.tar", "data.val=null", "data.probe=null",
        f"data.vocabulary={tiny.vocabulary_file(glyphs)}", "data.workers=0", *tiny.BACKBONE_ARGUMENTS,
        "run.batch=8", "run.precision=fp32", "run.device=cpu", "run.evaluate_every=null", "track.log_every=1", *more,
    ]  # fmt: skip


def shell(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "catclip.cli", *map(str, arguments)],
        cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_the_console_script_is_the_same_program(tmp_path):
    script = Path(sys.executable).parent / "catclip"
    if not script.exists():
        pytest.skip("catclip is not installed as a script")
    ended = subprocess.run([script, "pretrian"], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith("catclip: catclip has no verb 'pretrian'.")


def test_pretraining_from_a_shell(glyphs, tmp_path):
    script = Path(sys.executable).parent / "catclip"
    if not script.exists():
        pytest.skip("catclip is not installed as a script")
    command = [script, *tiny_pretraining(glyphs, "run.steps=2", "run.out=run", "optim.ema=null")]
    first = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    assert "Done: 16 pictures" in first.stdout
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["steps"] == 2
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["command"].startswith("catclip pretrain ")

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import average_precision_score
from timm.layers import resample_abs_pos_embed
from torchmetrics.classification import MultilabelAveragePrecision

from catclip.config import FinetuneConfig, FinetuneDataConfig, OptimConfig, RunsBackboneConfig, TrackConfig
from catclip.data.images import held_out_picture
from catclip.data.labelled import open_labelled
from catclip.errors import UserError
from catclip.evaluate.zeroshot import score
from catclip.train.folder import load_objective
from catclip.train.track import read_metrics
from catclip.verbs import finetune
from catclip.verbs.training import train
from tests import tiny
from tests.data.making import encode, picture
from tests.transfer.test_probe import paint

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(glyphs, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("finetune") / "run"
    train({"r": tiny.config("categorical", glyphs, steps=3)}, {"r": out}, "training")
    return out


def config(out: Path, model: Path | None, pictures: Path, **changes) -> FinetuneConfig:
    data_changes, backbone, run, optim = (changes.pop(key, {}) for key in ("data", "backbone", "run", "optim"))
    settings = {"folder": str(pictures), "workers": 0} | data_changes
    return FinetuneConfig(
        data=FinetuneDataConfig(**settings),
        backbone=RunsBackboneConfig(**backbone),
        objective={"_target_": "catclip.transfer.finetune.Classification", "smoothing": 0.1},
        optim=OptimConfig(**({"lr": 3e-3, "warmup": 0} | optim)),
        track=TrackConfig(log_every=1),
        run=tiny.run_config(**({"steps": 6, "batch": 16, "checkpoint_every": 2, "out": str(out)} | run)),
        model=None if model is None else str(model),
        **changes,
    )


def weights(out: Path) -> dict[str, torch.Tensor]:
    (last,) = sorted(out.glob("checkpoints/step-6"))
    return load_file(last / "last.safetensors")


@pytest.fixture(scope="module")
def done(trained, glyphs, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("finetuned") / "run"
    finetune.run(config(out, trained, glyphs / "probe", run={"evaluate_every": 3}))
    return out


def test_a_run_learns_classes(done, glyphs, trained):
    written = json.loads((done / "finetune.json").read_text())
    assert written["steps"] == 6
    assert written["init"] == "transfer"
    assert written["train_images"] == 2 * written["test_images"]
    rows = read_metrics(done / "metrics.jsonl")
    evaluated = [row["step"] for row in rows if "top_1" in row]
    assert evaluated == [0, 3, 6]
    assert written["zeroshot_top_1"] == rows[0]["top_1"]
    # What the run says of itself, its folder alone says too: weights, classes and all.
    images = open_labelled(glyphs / "probe" / "test")
    objective = load_objective(done)
    found = score(objective.predict, images, tiny.SIZE, CPU)
    assert (found.scores.argmax(1) == images.label_ids).mean() == pytest.approx(written["top_1"])
    assert objective.classes == images.classes
    report = (done / "classes.tsv").read_text()
    assert f"# model={trained}" in report


def test_it_learns(trained, tmp_path):
    paint(tmp_path / "colours" / "train", 8, 0)
    paint(tmp_path / "colours" / "test", 8, 1)
    options = {"run": {"steps": 25, "batch": 8}, "init": "random", "data": {"cutmix": 1.0}}
    assert finetune.run(config(tmp_path / "run", trained, tmp_path / "colours", **options)) == 1.0


def test_a_run_that_is_done_is_left_alone_and_another_configuration_refused(done, trained, glyphs, capsys):
    same = config(done, trained, glyphs / "probe", run={"evaluate_every": 3})
    before = (done / "finetune.json").stat().st_mtime_ns
    assert finetune.run(same) is not None
    assert "done already" in capsys.readouterr().out
    assert (done / "finetune.json").stat().st_mtime_ns == before
    with pytest.raises(UserError, match=r"data\.fraction was 1\.0, is now 0\.5"):
        finetune.run(config(done, trained, glyphs / "probe", run={"evaluate_every": 3}, data={"fraction": 0.5}))


def test_a_run_that_was_killed_before_its_figures_were_written_has_them_after_the_same_command(
    done, trained, glyphs, tmp_path
):
    shutil.copytree(done, tmp_path / "run")
    (tmp_path / "run" / "finetune.json").unlink()
    finetune.run(config(tmp_path / "run", trained, glyphs / "probe", run={"evaluate_every": 3}))
    assert (tmp_path / "run" / "finetune.json").read_text() == (done / "finetune.json").read_text()


def test_a_batch_that_is_more_than_all_pictures_is_said(trained, tmp_path, capsys):
    paint(tmp_path / "colours" / "train", 3, 0)
    paint(tmp_path / "colours" / "test", 1, 1)
    few = len(open_labelled(tmp_path / "colours" / "train"))
    finetune.run(config(tmp_path / "run", trained, tmp_path / "colours", init="random", run={"steps": 1, "batch": 64}))
    assert f"A batch of 64 is more than the {few} training pictures" in " ".join(capsys.readouterr().out.split())


def test_a_run_resumes_to_the_bit(done, trained, glyphs, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(done, out)
    for name in ("summary.json", "finetune.json"):
        (out / name).unlink()
    shutil.rmtree(out / "checkpoints" / "step-6")
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-4"]
    finetune.run(config(out, trained, glyphs / "probe", run={"evaluate_every": 3}))
    tiny.assert_same(weights(out), weights(done))
    first, again = (json.loads((path / "finetune.json").read_text()) for path in (done, out))
    assert again == first


def test_from_random_from_a_file_and_from_a_checkpoint(trained, glyphs, done, tmp_path):
    data = glyphs / "probe"
    (seed,) = trained.glob("checkpoints/step-3/ema.safetensors")

    def start(name: str, model: Path | None, **changes) -> dict[str, torch.Tensor]:
        frozen = {"optim": {"lr": 0.0, "min_lr": 0.0}, "run": {"steps": 1}}
        finetune.run(config(tmp_path / name, model, data, **frozen, **changes))
        return load_file(tmp_path / name / "checkpoints" / "step-1" / "last.safetensors")

    transfer, random = start("transfer", trained), start("random", trained, init="random")
    trunk = {key: value for key, value in load_file(seed).items() if key.startswith("backbone")}
    for each in (transfer, random):
        tiny.assert_same({key: each[key] for key in trunk}, trunk)
    assert not torch.allclose(transfer["head.weight"], random["head.weight"], atol=0.01)
    edited = tmp_path / "edited.tsv"
    shutil.copyfile(tmp_path / "transfer" / "classes.tsv", edited)
    tiny.assert_same(start("file", trained, init=str(edited)), transfer)
    alone = {"name": "vit_tiny_patch16_224", "image_size": tiny.SIZE, "options": tiny.OPTIONS}
    tiny.assert_same(start("weights", None, init="random", backbone=alone | {"weights": str(seed)}), random)
    assert not torch.equal(
        start("fresh", None, init="random", backbone=alone)["backbone.trunk.pos_embed"],
        trunk["backbone.trunk.pos_embed"],
    )


def test_another_resolution_resamples_the_positions(trained, glyphs, tmp_path):
    settings = {"optim": {"lr": 0.0, "min_lr": 0.0}, "run": {"steps": 1}, "backbone": {"image_size": 48}}
    finetune.run(config(tmp_path / "large", trained, glyphs / "probe", **settings))
    after = load_file(tmp_path / "large" / "checkpoints" / "step-1" / "last.safetensors")["backbone.trunk.pos_embed"]
    before = load_file(trained / "checkpoints" / "step-3" / "ema.safetensors")["backbone.trunk.pos_embed"]
    assert after.shape[1] == 36
    assert torch.allclose(after, resample_abs_pos_embed(before, [6, 6], [4, 4], num_prefix_tokens=0), atol=1e-5)
    assert load_objective(tmp_path / "large").backbone.image_size == 48


def test_pictures_of_any_number_of_classes(trained, shared, tmp_path):
    coco = shared / "data" / "coco-mini" / "annotations"
    splits = {
        split: str(coco / f"instances_{year}.json") for split, year in (("train", "train2017"), ("test", "val2017"))
    }
    data = {"folder": None, **splits, "mixup": 0.2, "fraction": 0.5}
    finetune.run(config(tmp_path / "coco", trained, tmp_path, data=data, run={"steps": 2}))
    written = json.loads((tmp_path / "coco" / "finetune.json").read_text())
    assert 40 <= written["train_images"] < 80
    images = open_labelled(splits["test"])
    found = score(load_objective(tmp_path / "coco").predict, images, tiny.SIZE, CPU)
    occurring = found.truth.any(axis=0)
    scores, truth = found.scores[:, occurring], found.truth[:, occurring]
    assert written["map"] == pytest.approx(np.mean(average_precision_score(truth, scores, average=None)))
    metric = MultilabelAveragePrecision(int(occurring.sum()), average="macro", thresholds=None)
    assert written["map"] == pytest.approx(
        metric(torch.from_numpy(scores).sigmoid().double(), torch.from_numpy(truth).long()).item(), abs=1e-5
    )


def write_tables(folder: Path) -> None:
    """Two pictures of any number of classes: `shown.jsonl` has some, `none.jsonl` no label."""
    for name, labels in (("shown", [["a"], ["b"]]), ("none", [[], []])):
        rows = [{"image": f"{number}.png", "labels": each} for number, each in enumerate(labels)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "classes.txt").write_text("a\nb\n")
    for number in range(2):
        (folder / f"{number}.png").write_bytes(encode(picture(number), "PNG"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"data": {"folder": None, "train": "shown.jsonl", "test": "none.jsonl"}},
            "the 2 pictures of none.jsonl shows",
        ),
        (
            {"data": {"folder": None, "train": "none.jsonl", "test": "shown.jsonl"}},
            "the 2 pictures of none.jsonl shows",
        ),
        ({"model": None}, "model=RUN_FOLDER, or a backbone of timm's"),
        ({"init": "transferr"}, "init=transferr: give transfer, random, or a .tsv"),
        ({"model": None, "backbone": {"name": "vit_tiny_patch16_224"}}, "give model=RUN_FOLDER, or init=random"),
        ({"backbone": {"name": "vit_base_patch16_224"}}, "leave that out"),
        ({"backbone": {"weights": "x.pt"}}, "not both"),
        ({"data": {"folder": None}}, "data.folder=FOLDER"),
        ({"data": {"folder": "nowhere"}}, "No folder nowhere/train"),
        ({"data": {"fraction": 0.0}}, "data.fraction=0.0"),
        ({"run": {"batch": 0}}, "run.batch=0"),
        ({"init": "missing.tsv"}, "missing.tsv"),
        ({"model": "done"}, "(Classification) has none that are synsets: give init=random"),
    ],
)
def test_wrong_input_is_said_before_a_folder_is_made(trained, done, glyphs, tmp_path, monkeypatch, changes, said):
    monkeypatch.chdir(tmp_path)
    write_tables(tmp_path)
    changes = {"model": trained} | changes
    changes["model"] = done if changes["model"] == "done" else changes["model"]
    with pytest.raises(UserError) as error:
        finetune.run(config(tmp_path / "out", changes.pop("model"), glyphs / "probe", **changes))
    assert said in str(error.value)
    assert not (tmp_path / "out").exists()


def test_the_best_checkpoint_is_kept_and_returned(trained, glyphs, tmp_path):
    settings = {"run": {"evaluate_every": 2, "best": "top_1", "keep": 1}}
    value = finetune.run(config(tmp_path / "run", trained, glyphs / "probe", **settings))
    written = json.loads((tmp_path / "run" / "finetune.json").read_text())
    assert value == written["best_value"] >= written["top_1"]


def test_predict_knows_the_classes_of_a_run(done, glyphs, catclip, tmp_path):
    picture = sorted((glyphs / "probe" / "test").rglob("*.*"))[0]
    arguments = [f"model={done}", "device=cpu", "workers=0"]
    code, said, _ = catclip("predict", *arguments, f"images={picture}", "out=out", "top=200")
    assert code == 0, said
    rows = [line.split("\t") for line in (tmp_path / "out" / "labels.tsv").read_text().splitlines()[1:]]
    objective = load_objective(done)
    with torch.no_grad():
        logits = objective.predict(held_out_picture(picture.read_bytes(), objective.backbone.image_size)[None])[0]
    expected = dict(zip(objective.classes, logits.softmax(dim=0).tolist(), strict=True))
    assert {row[3]: float(row[4]) for row in rows} == pytest.approx(expected, abs=1e-4)
    objective.multilabel = True
    with torch.no_grad():
        shown = objective.probabilities(torch.zeros(1, 3, tiny.SIZE, tiny.SIZE, dtype=torch.uint8))
        torch.testing.assert_close(shown.logit(), objective.predict(torch.zeros(1, 3, tiny.SIZE, tiny.SIZE)))
    code, _, error = catclip("zeroshot", *arguments, f"data={glyphs / 'probe'}")
    assert (code, "It knows the classes that it was fine-tuned on" in error) == (2, True)


def test_on_the_command_line(trained, glyphs, catclip):
    arguments = [f"model={trained}", f"data={glyphs / 'probe'}", "data.workers=0", "run.device=cpu"]
    arguments += ["run.steps=1", "run.batch=4", "run.precision=fp32"]  # in place of the published epochs
    code, said, error = catclip("finetune", *arguments, "run.out=one")
    assert (code, error) == (0, "")
    assert "zero-shot" in said
    assert Path("one/finetune.json").is_file()
    code, _, error = catclip("finetune", *arguments, "data.fractoin=.1")
    assert code == 2
    assert "data.fraction" in error

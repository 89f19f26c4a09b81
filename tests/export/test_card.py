"""The model card says what there is to know."""

import json
import shutil

import yaml

from catclip.export.card import card
from catclip.export.graphs import describe
from catclip.export.release import open_release


def test_data_objective_vocabulary_and_measurements_are_in_it(runs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs["hybrid"], run)
    (state,) = run.glob("checkpoints/*/state.json")
    content = json.loads(state.read_text())
    content["last"] |= {"val_map": 0.4321, "memory": 7654321.0}
    state.write_text(json.dumps(content))
    release = open_release(run)
    text = card(release, "timm-hub", [])
    front = yaml.safe_load(text.split("---")[1])
    assert front["library_name"] == "timm"
    assert "license" not in front, "that is for the user to choose"
    for said in (
        str(release.config["data"]["sources"]),
        "objective: hybrid",
        f"{len(release.labels):,} labels, {release.labels[0].name}",
        "tau=1",
        "| val_map | 0.4321 |",
        "2 steps of 8 pictures; these weights are averaged",
        "## Licence",
    ):
        assert said in text, said
    assert "7.65432e+06" not in text
    last = card(open_release(run, "last"), "timm", [])
    assert "these weights are the last" in last
    assert "val_map" not in last, "it was measured on the averaged weights"
    assert "## Measured\n\nNothing: the run measured its averaged weights" in last
    file = run / "config.yaml"
    file.write_text(file.read_text().replace("ema: 0.0005", "ema: null"))
    assert "| val_map | 0.4321 |" in card(open_release(run, "last"), "timm", []), "there were no others"


def test_of_a_fine_tuned_run_the_classes_are_the_labels(runs):
    release = open_release(runs["finetuned"])
    text = card(release, "torch", [describe(release)])
    for said in (
        "2 labels, cat, dog",
        "objective: classification (multilabel=false)",
        "their softmax is a probability",
    ):
        assert said in text, said

"""`catclip map`, `zeroshot`, `retrieve` and `predict`, through the command line."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from catclip.captions import Vocabulary
from catclip.config import LabelledConfig
from catclip.errors import UserError
from catclip.train.track import read_metrics
from catclip.verbs.classifying import choose_way, read_templates
from catclip.verbs.training import train
from catclip.verbs.zeroshot import open_pictures
from tests import tiny
from tests.data.making import encode, picture


@pytest.fixture(scope="module")
def runs(glyphs, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    folders = {name: folder / name for name in tiny.OBJECTIVES}
    for name, out in folders.items():
        train({name: tiny.config(name, glyphs, steps=2)}, {name: out}, "training")
    return folders


COMMON = ["device=cpu", "workers=0"]


# ---------------------------------------------------------------- map, zeroshot


def test_a_mapping_is_written_edited_and_fed_back(runs, glyphs, catclip, tmp_path):
    model, data = runs["categorical"], glyphs / "probe"
    code, said, _ = catclip("map", f"classes={data}", f"model={model}", "out=map.tsv")
    assert code == 0
    assert "131 classes: " in said
    vocabulary = Vocabulary.load(model / "vocabulary.tsv")
    lines = (tmp_path / "map.tsv").read_text().splitlines()
    header = next(line for line in lines if line.startswith("class\t")).split("\t")
    assert len(lines) - lines.index("\t".join(header)) - 1 == 131
    code, _, error = catclip("map", f"classes={data}", f"model={model}", "out=map.tsv")
    assert (code, "is there already, and may have been edited" in error) == (2, True)
    (tmp_path / "all.tsv").write_text(
        "class\trows\n"
        + "".join(
            f"{line.split(chr(9))[0]}\t{vocabulary.wnids[0]}\n" for line in lines[lines.index("\t".join(header)) + 1 :]
        )
    )
    found = {}
    for mapping in ("map.tsv", "all.tsv", "nearest"):
        arguments = [f"model={model}", f"data={data}", f"map={mapping}", f"out={mapping}.json", *COMMON]
        code, said, _ = catclip("zeroshot", *arguments)
        assert code == 0, said
        found[mapping] = json.loads((tmp_path / f"{mapping}.json").read_text())
    assert found["map.tsv"] | {"mapping": "nearest"} == found["nearest"]
    assert found["all.tsv"]["top_1"] == pytest.approx(1 / 131), "all classes on one row are as good as chance"
    assert found["all.tsv"]["share_given"] == 1
    assert (found["nearest"]["classes"], found["nearest"]["images"]) == (131, 131)
    assert sum(name.startswith("top_1.") for name in found["nearest"]) == 131
    assert "On one row, and so alike" in " ".join(said.split())


@pytest.mark.parametrize("name", tiny.OBJECTIVES)
def test_zero_shot_of_one_and_of_any_classes(runs, glyphs, catclip, tmp_path, name):
    shutil.copytree(runs[name], tmp_path / "run")
    way = {"categorical": "labels", "contrastive": "text"}[name]
    code, said, _ = catclip("zeroshot", "model=run", f"data={glyphs}/probe/test", "templates=simple", *COMMON)
    assert code == 0
    assert f"Zero-shot by {way}: " in said
    assert json.loads((tmp_path / "run" / "zeroshot.json").read_text())["by"] == way
    before = (tmp_path / "run" / "zeroshot.json").read_text()
    code, said, _ = catclip("zeroshot", "model=run", f"data={glyphs}/probe/test", "templates=simple", *COMMON)
    assert (code, (tmp_path / "run" / "zeroshot.json").read_text()) == (0, before), "the same again"
    code, _, error = catclip("zeroshot", "model=run", f"data={glyphs}/probe", "templates=simple", *COMMON)
    assert (code, "zeroshot.json has another measurement: data was" in " ".join(error.split())) == (2, True), error
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(encode(picture(number), "PNG"))
    rows = "".join(f"{number}.png,{'dog|cat' if number % 2 else 'dog'}\n" for number in range(6))
    (tmp_path / "table.csv").write_text(f"image,labels\n{rows}")
    arguments = ["model=run", "data.test=table.csv", "data.delimiter=|", "out=many.json", "templates=simple", *COMMON]
    code, said, _ = catclip("zeroshot", *arguments)
    assert code == 0, said
    written = json.loads((tmp_path / "many.json").read_text())
    assert written["average_precision.dog"] == 1
    assert 0 < written["map"] <= 1
    assert written["data.test"] == "table.csv"
    (tmp_path / "table.csv").write_text("image,labels\n0.png,\n")
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    code, _, error = catclip("zeroshot", *arguments)
    assert (code, "None of the 1 pictures of table.csv shows a class" in " ".join(error.split())) == (2, True), error


def test_what_zeroshot_cannot_do_is_said_and_nothing_written(runs, glyphs, catclip, tmp_path):
    labels, text = (f"model={runs[name]}" for name in tiny.OBJECTIVES)
    (tmp_path / "bad" / "xyzzy").mkdir(parents=True)
    (tmp_path / "bad" / "xyzzy" / "1.jpg").write_bytes(encode(picture()))
    (tmp_path / "none" / "dog").mkdir(parents=True)
    (tmp_path / "none" / "dog" / "1.jpg").write_bytes(b"no picture")
    (tmp_path / "templates.txt").write_text("a photo of a dog\n")
    data = f"data={glyphs}/probe"
    for arguments, message in [
        ([labels, "data=bad"], "None of the 1 classes matches a label"),
        ([labels, "data=none"], "1.jpg cannot be decoded"),
        ([labels, data, "by=text"], "Categorical) has no text tower"),
        ([text, data, "by=labels"], "Contrastive) has no label head"),
        ([text, data, "templates=templates.txt"], "'a photo of a dog' has not"),
        ([labels, data, "pool=mean"], "pool=mean is not one of"),
        ([labels, data, "out=none"], "out=none is a folder: give the name of a file"),
        ([labels, data, "map=nearst"], "map=nearst is not one of nearest, hypernym, exact. Did you mean 'nearest'?"),
        ([labels, data, "map=missing.tsv"], "missing.tsv, the mapping of classes, cannot be read"),
        ([labels], "Give labelled pictures as data=FOLDER"),
        ([labels, data, "workers=-1"], "workers=-1 must be at least 0"),
    ]:
        named = [] if "out=none" in arguments else ["out=z.json"]
        code, _, error = catclip("zeroshot", *named, "device=cpu", *arguments)
        assert (code, message in " ".join(error.split())) == (2, True), error
        assert not (tmp_path / "z.json").exists()
    for arguments, message in [
        (["vocabulary=v.tsv", labels], "Give the labels as vocabulary=FILE, or"),
        ([labels, "out=map.csv"], "ends in .tsv"),
        ([text], "(Contrastive) has no vocabulary.tsv, the labels it learned: give vocabulary=FILE"),
        (["model=missing"], "missing is not a run folder"),
    ]:
        code, _, error = catclip("map", "classes=imagenet-1k", *arguments)
        assert (code, message in " ".join(error.split())) == (2, True), error


def test_classes_of_one_name_have_a_figure_each(runs, catclip, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(encode(picture(number), "PNG"))
    (tmp_path / "table.csv").write_text("image,label\n0.png,0\n1.png,1\n2.png,2\n")
    (tmp_path / "classes.txt").write_text("dog\ncat\ndog\n")
    code, said, _ = catclip("zeroshot", f"model={runs['categorical']}", "data.test=table.csv", "out=z.json", *COMMON)
    assert code == 0, said
    written = json.loads((tmp_path / "z.json").read_text())
    assert {key for key in written if key.startswith("top_1.")} == {"top_1.dog (0)", "top_1.cat", "top_1.dog (2)"}


def test_pictures_are_opened(glyphs):
    whole = open_pictures(str(glyphs / "probe"))
    assert whole.source == open_pictures(LabelledConfig(test=str(glyphs / "probe" / "test"))).source
    assert len(open_pictures(str(glyphs / "probe" / "train"))) == 2 * len(whole)
    with pytest.raises(UserError, match="nothing to train"):
        open_pictures(LabelledConfig(train="a", test="b"))


def test_templates(tmp_path):
    assert len(read_templates("openai")) == 80
    assert len(read_templates("simple")) == 7
    (tmp_path / "t.txt").write_text("a {} {c}.\n\n the {}\n")
    assert [template("dog") for template in read_templates(str(tmp_path / "t.txt"))] == ["a dog {c}.", "the dog"]
    for content in ("", "nothing"):
        (tmp_path / "t.txt").write_text(content)
        with pytest.raises(UserError, match=r"a template has \{\}"):
            read_templates(str(tmp_path / "t.txt"))
    with pytest.raises(UserError, match="give openai, simple, or a file"):
        read_templates("imagenet")


def test_ways(glyphs):
    objective = tiny.build(tiny.config("categorical", glyphs))
    assert choose_way(objective, None) == choose_way(objective, "labels") == "labels"
    with pytest.raises(UserError, match="by=words is not one of"):
        choose_way(objective, "words")


# ---------------------------------------------------------------- lost weights


@pytest.mark.parametrize("name", tiny.OBJECTIVES)
def test_weights_that_are_lost_are_said_and_measured_by_nothing(runs, glyphs, catclip, tmp_path, name):
    shutil.copytree(runs[name], tmp_path / "run")
    (file,) = (tmp_path / "run").glob("checkpoints/*/ema.safetensors")
    save_file({key: torch.full_like(each, torch.nan) for key, each in load_file(file).items()}, file)
    (tmp_path / "one.png").write_bytes(encode(picture(), "PNG"))
    shards = [f"data.val={glyphs}/val-*.tar", "data.caption_key=json.captions", "data.workers=0", "device=cpu"]
    classes = ["classes=[dog,cat]"] if name == "contrastive" else []
    for verb, arguments in [
        ("zeroshot", [f"data={glyphs}/probe", "templates=simple", *COMMON]),
        ("retrieve", shards),
        ("predict", ["images=one.png", "templates=simple", *classes, *COMMON]),
        ("probe", [f"data={glyphs}/probe", "method=knn", *COMMON]),
    ]:
        code, _, error = catclip(verb, "model=run", "out=found", *arguments)
        assert (code, "outputs are not finite numbers: these weights are lost" in error) == (2, True), error
        assert not (tmp_path / "found").exists()


# ---------------------------------------------------------------- retrieve


def test_retrieve(runs, glyphs, catclip, tmp_path):
    data = [f"data.val={glyphs}/val-*.tar", "data.caption_key=json.captions", "data.workers=0", "device=cpu"]
    found = {}
    for name in tiny.OBJECTIVES:
        for captions in ("first", "all"):
            arguments = [f"model={runs[name]}", f"data.captions={captions}", f"out={name}-{captions}.json", *data]
            code, said, _ = catclip("retrieve", *arguments)
            assert code == 0, said
            found[name, captions] = json.loads((tmp_path / f"{name}-{captions}.json").read_text())
    assert found["contrastive", "first"]["captions"] == found["categorical", "first"]["captions"] == 16
    assert found["contrastive", "all"]["captions"] > 16
    assert "image_to_text_recall_at_10" in found["contrastive", "all"]
    assert "image_to_text_recall_at_10" not in found["categorical", "all"]
    assert catclip("retrieve", *arguments)[0] == 0, "the same again"
    code, _, error = catclip("retrieve", *arguments, "weights=last")
    assert (code, "weights was 'ema', is now 'last'. Give another out=" in " ".join(error.split())) == (2, True), error
    code, _, error = catclip("retrieve", f"model={runs['contrastive']}", "device=cpu")
    assert (code, "data.val" in error) == (2, True)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", tiny.OBJECTIVES)
def test_retrieval_while_training_is_as_the_verb_has_it(glyphs, catclip, tmp_path, name, precision):
    shards = f"{glyphs}/val-*.tar"
    target = "catclip.verbs.retrieval_evaluator.Retrieval"
    entry = {"_target_": target, "every": "100%", "data": shards}
    config = tiny.config(name, glyphs, steps=2, evaluators={"retrieval": entry}, precision=precision)
    train({name: config}, {name: tmp_path / "run"}, name)
    first, *_, last = (
        row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if "retrieval_recall_at_1" in row
    )
    assert (first["step"], last["step"]) == (0, 2)
    data = [f"data.val={shards}", "data.caption_key=json.captions", "data.captions=all", "data.workers=0"]
    code, said, _ = catclip("retrieve", f"model={tmp_path / 'run'}", "weights=ema", "out=r.json", "device=cpu", *data)
    assert code == 0, said
    found = json.loads((tmp_path / "r.json").read_text())
    for k in (1, 5, 10):
        assert last[f"retrieval_recall_at_{k}"] == found[f"text_to_image_recall_at_{k}"]
    assert 0 < last["retrieval_recall_at_10"] < 1


def test_retrieval_says_what_of_its_shards_was_left_out(glyphs, tmp_path, capsys):
    whole = next(iter(glyphs.glob("val-*.tar"))).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2].replace(b"\xff\xd8\xff", b"not", 1).ljust(512))
    entry = {"_target_": "catclip.verbs.retrieval_evaluator.Retrieval", "every": 1, "data": str(tmp_path / "cut.tar")}
    config = tiny.config("categorical", glyphs, steps=1, evaluators={"retrieval": entry}, data={"max_bad": 0.9})
    train({"one": config}, {"one": tmp_path / "run"}, "training")
    said = " ".join(capsys.readouterr().out.split())
    assert "cut.tar: " in said
    assert "evaluators.retrieval: Skipped 1 of " in said


def test_retrieval_of_damaged_shards_says_how_to_go_on_without(glyphs, tmp_path):
    whole = next(iter(glyphs.glob("val-*.tar"))).read_bytes()
    (tmp_path / "val.tar").write_bytes(whole.replace(b"\xff\xd8\xff", b"not"))
    entry = {"_target_": "catclip.verbs.retrieval_evaluator.Retrieval", "every": 1, "data": str(tmp_path / "val.tar")}
    config = tiny.config("categorical", glyphs, steps=1, evaluators={"retrieval": entry})
    with pytest.raises(UserError, match=r"evaluators\.retrieval: .*evaluators\.retrieval=null leaves it out"):
        train({"one": config}, {"one": tmp_path / "run"}, "training")


# ---------------------------------------------------------------- predict


def test_predict(runs, catclip, tmp_path):
    for name in ("a/one.jpg", "b/one.jpg", "b/broken.png", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encode(picture()) if name.endswith("jpg") else b"no picture")
    model = f"model={runs['categorical']}"
    code, said, _ = catclip("predict", model, "images=[a,b]", "annotate=true", "out=out", "top=3", *COMMON)
    assert code == 0, said
    assert "b/broken.png is left out: no picture" in " ".join(said.split())
    rows = [line.split("\t") for line in (tmp_path / "out" / "labels.tsv").read_text().splitlines()]
    assert rows[0] == ["image", "rank", "wnid", "name", "score"]
    assert [(row[0], row[1]) for row in rows[1:]] == [(f"{x}/one.jpg", str(k)) for x in "ab" for k in (1, 2, 3)]
    vocabulary = Vocabulary.load(runs["categorical"] / "vocabulary.tsv")
    assert all(vocabulary.names[vocabulary.index(row[2])] == row[3] and 0 < float(row[4]) < 1 for row in rows[1:])
    assert [float(row[4]) for row in rows[1:4]] == sorted((float(row[4]) for row in rows[1:4]), reverse=True)
    drawn = sorted((tmp_path / "out" / "annotated").iterdir())
    assert [path.name for path in drawn] == ["one-2.jpg", "one.jpg"]
    assert Image.open(drawn[0]).size == (400, 320)
    before = (tmp_path / "out" / "labels.tsv").read_text()
    for arguments, message in [
        ([model, "images=a", "out=out"], "out=out is there already"),
        ([model, "images=b/*.png", "out=new"], "None of the 1 files can be read; b/broken.png: no picture"),
        ([model, "images=missing.jpg", "out=new"], "images=missing.jpg does not exist"),
        ([model, "images=a/*.gif", "out=new"], "images=a/*.gif matches no file"),
        ([f"model={runs['contrastive']}", "images=a", "out=new"], "has no labels of its own: give classes=FILE"),
        ([model, "images=a", "classes=[dog,cat]", "out=new"], "(Categorical) has no text tower: leave classes out"),
    ]:
        code, _, error = catclip("predict", *COMMON, *arguments)
        assert (code, message in " ".join(error.split())) == (2, True), error
        assert not (tmp_path / "new").exists()
    assert (tmp_path / "out" / "labels.tsv").read_text() == before


def test_predict_by_text(runs, catclip, tmp_path):
    (tmp_path / "one.jpg").write_bytes(encode(picture()))
    arguments = [
        f"model={runs['contrastive']}",
        "images=one.jpg",
        "classes=[dog,big cat]",
        "templates=simple",
        "out=out",
    ]
    code, said, _ = catclip("predict", *arguments, *COMMON)
    assert code == 0, said
    rows = [line.split("\t") for line in (tmp_path / "out" / "labels.tsv").read_text().splitlines()[1:]]
    assert {row[3] for row in rows} == {"dog", "big cat"}
    assert not (tmp_path / "out" / "annotated").exists()

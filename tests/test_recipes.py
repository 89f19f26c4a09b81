"""Every recipe composes as the command line would, names its source, and its objective has its real size."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from catclip import cli
from catclip.captions import Vocabulary
from catclip.captions.lexicon import load_lexicon
from catclip.objectives.build import build_objective
from catclip.objectives.options import check_options
from catclip.paths import CONF
from catclip.train.flops import flops_per_image

FILES = sorted((CONF / "recipe").glob("*.yaml"))
NAMES = [file.stem for file in FILES]
LABELS = 24_320
BACKBONES = {"b16": (86e6, 3 * 35e9), "l16": (303e6, 3 * 123e9), "h16": (631e6, 3 * 256e9), "mini": (2.8e6, None),
             "fast": (2.7e6, None)}  # fmt: skip


def composed(*overrides: str) -> Any:
    cli._register_schemas()
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return OmegaConf.to_object(compose("pretrain", overrides=["data.sources=x.tar", *overrides]))


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory) -> Path:
    """As many labels as DataComp gives."""
    path = tmp_path_factory.mktemp("vocabulary") / "v.tsv"
    Vocabulary.from_counts(dict.fromkeys(load_lexicon().wnids()[:LABELS], 1), {"tau": "1"}).save(path)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_recipe_says_what_it_is(name):
    text = (CONF / "recipe" / f"{name}.yaml").read_text()
    for word in ("Command:", f"recipe={name}", "ost:", "Result"):
        assert word in text
    assert re.search(r"arXiv|docs/(results|faster)\.md", text)
    page = (CONF.parent / "docs" / "recipes.md").read_text()
    assert f"| `{name}` |" in page


@pytest.mark.parametrize("name", NAMES)
def test_objective_at_its_real_size(name, vocabulary):
    config = composed(f"recipe={name}", f"data.vocabulary={vocabulary}")
    with torch.device("meta"):
        objective = build_objective(config.objective, config.backbone, None, config.run.seed)
    parameters, flops = BACKBONES[name.rpartition("_")[2]]
    trunk = sum(each.numel() for each in objective.backbone.parameters())
    assert trunk == pytest.approx(parameters, rel=0.02)
    if "categorical" in config.objective["_target_"]:
        assert objective.head.weight.shape == (LABELS, objective.backbone.width)
    if "b16" in name and "catlip" in name:  # what docs/recipes.md reckons with
        batch = {"images": torch.zeros(2, 3, 224, 224, dtype=torch.uint8), "keys": ["a", "b"],
                 "label_ids": torch.zeros(3, dtype=torch.int64), "label_offsets": torch.tensor([0, 3, 3])}  # fmt: skip
        assert flops_per_image(objective, batch) == pytest.approx(flops, rel=0.03)


def test_the_published_settings():
    config = composed("recipe=catlip_datacomp_l16")
    assert (config.optim.lr, config.optim.min_lr, config.run.batch, config.run.steps) == (6e-4, 6e-6, 65536, 200_000)
    assert config.data.sizes == [128, 320]
    assert config.objective["bias"] == "zero"
    clip = composed("recipe=clip_cc3m_b16")
    assert clip.optim.betas == [0.9, 0.98]
    assert (clip.data.crop_scale, clip.data.flip) == ([0.9, 1.0], False)


@pytest.mark.parametrize("objective", ["categorical", "contrastive", "siglip"])
@pytest.mark.parametrize("name", NAMES)
def test_another_objective_takes_a_recipes_place(name, objective, vocabulary):
    """As the recipes' own comments and docs/recipes.md advise: none of the recipe's options is left to it."""
    config = composed(f"recipe={name}", f"objective={objective}", f"data.vocabulary={vocabulary}")
    alone = composed(f"objective={objective}", f"data.vocabulary={vocabulary}")
    assert config.objective == alone.objective
    module, _, kind = config.objective.pop("_target_").rpartition(".")
    check_options(getattr(import_module(module), kind), config.objective)


def test_what_is_said_beside_a_recipe_counts():
    config = composed("recipe=catlip_cc3m_b16", "backbone=vit_l_16", "objective=contrastive", "optim.lr=0.5")
    assert config.backbone.name == "vit_large_patch16_224"
    assert config.objective["_target_"].endswith("Contrastive")
    assert (config.optim.lr, config.run.epochs) == (0.5, 100)


def test_a_recipe_that_is_not_there(catclip):
    code, _, err = catclip("pretrain", "data.sources=x", "recipe=catlip_cc3m_b32")
    assert code == 2
    assert "Did you mean 'catlip_cc3m_b16'?" in err

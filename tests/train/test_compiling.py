"""What is compiled computes the same, and is compiled once for each kind of call."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from catclip.errors import UserError
from catclip.models.backbone import Backbone, build_backbone
from catclip.train.compiling import Compiler, compile_objective, wants_compile
from tests import tiny
from tests.tiny import OPTIONS, assert_same


def build(**settings) -> Backbone:
    return build_backbone("vit_tiny_patch16_224", 32, OPTIONS, 0, **settings).train()


def images(count: int, side: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


def gradients(model: nn.Module, batch: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    model(batch).square().mean().backward()
    return [parameter.grad for parameter in model.parameters()]


# ---- graphs ---------------------------------------------------------------------------------------------------------


def test_one_graph_a_side_whatever_else_comes():
    model, compiler = build(), Compiler("eager")
    average = AveragedModel(model)
    compiler.add(model)
    for count, side in ((8, 32), (7, 48), (3, 32), (2, 48), (8, 32), (5, 48)):
        gradients(model, images(count, side))
        average.update_parameters(model)
    assert (compiler.graphs, compiler.recompilations) == (2, 0)
    # An evaluation, of the averaged weights or the trained ones, with a smaller batch at its end.
    for each in (average.module, model):
        each.eval()
        with torch.no_grad():
            for count in (8, 8, 1):
                each(images(count))
    model.train()
    gradients(model, images(6))
    assert (compiler.graphs, compiler.recompilations) == (2, 0)
    # A batch of one, and the outputs without gradients that accumulation begins with: a graph each, once.
    for count in (8, 1, 5, 1):
        gradients(model, images(count))
        with torch.no_grad():
            model(images(count))
    assert (compiler.graphs, compiler.recompilations) == (5, 0)
    assert compiler.news() is None


def test_other_models_of_the_class_are_compiled_too():
    """torch has a limit of graphs for all of them, beyond which it silently compiles no more."""
    compilers = [Compiler("eager") for _ in range(5)]
    for compiler in compilers:
        model = build()
        compiler.add(model)
        for side in (32, 40):
            gradients(model, images(4, side))
    assert [compiler.graphs for compiler in compilers] == [2] * 5


class Counting(nn.Module):
    """Has a constant that changes, which no graph survives."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.calls = nn.Parameter(torch.ones(1)), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight * [1, 1, 2, 2, 3, 4][self.calls]


def test_a_recompilation_is_counted_and_told_once():
    model, compiler = Counting().train(), Compiler("eager")
    compiler.add(model)
    told = []
    for model.calls in range(6):
        model(torch.ones(2, 3))
        told.append(compiler.news())
    assert compiler.graphs > 1
    assert compiler.recompilations == compiler.graphs - 1
    (said,) = filter(None, told)
    assert "run.compile=false" in said


def test_what_cannot_be_compiled_is_said():
    def broken(graph, inputs):
        raise RuntimeError("no C++ compiler")

    model, compiler = build(), Compiler("eager")
    compiler._lower = broken
    compiler.add(model)
    with pytest.raises(UserError, match=r"no C\+\+ compiler.*run.compile=false"):
        model(images(2))


# ---- results --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"checkpoint_activations": True}, {"channels_last": True}], ids=str)
def test_graphs_compute_what_the_model_does(settings):
    plain, model, compiler = build(**settings), build(**settings), Compiler("eager")
    compiler.add(model)
    for batch in (images(4), images(3), images(3, 48)):
        assert_same(gradients(model, batch), gradients(plain, batch))
    assert compiler.graphs == 2


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"patch_dropout": 0.5, "checkpoint_activations": True}], ids=str)
def test_inductors_code_computes_what_the_model_does(options):
    plain, model, compiler = build(**options), build(**options), Compiler()
    compiler.add(model)
    for batch in (images(4), images(3)):
        made, expected = gradients(model, batch), gradients(plain, batch)
        if not options:
            for one, other in zip(made, expected, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
        # The two passes of accumulation: the same random numbers with gradients and without.
        torch.manual_seed(3)
        with_gradients = model(batch)
        with torch.no_grad():
            torch.manual_seed(3)
            torch.testing.assert_close(model(batch), with_gradients.detach(), rtol=1e-4, atol=1e-5)
    assert (compiler.graphs, compiler.recompilations) == (2, 0)


# ---- what is compiled -----------------------------------------------------------------------------------------------


def test_backbone_and_text_tower_are_compiled_and_single_layers_are_not():
    objective = nn.Module()
    objective.backbone, objective.text = build(), nn.Sequential(nn.Linear(3, 3))
    objective.head = nn.Linear(3, 3)
    compile_objective(objective, Compiler("eager"))
    assert ["forward" in vars(child) for child in objective.children()] == [True, True, False]


def test_both_towers_of_an_objective_of_objectives_are_compiled(glyphs):
    config = tiny.config("hybrid", glyphs)
    objective, compiler = tiny.build(config), Compiler("eager")
    (batch,) = tiny.batches(config, objective, 1)
    compile_objective(objective.train(), compiler)
    objective(batch)["loss"].backward()
    assert "forward" in vars(objective.contrastive.text)
    assert (compiler.graphs, compiler.recompilations) == (2, 0)


@pytest.mark.parametrize(("setting", "wanted"), [("auto", False), (True, True), ("true", True), (False, False)])
def test_auto_is_for_gpus(setting, wanted):
    assert wants_compile(setting, torch.device("cpu")) is wanted
    assert wants_compile(setting, torch.device("cuda")) is (wanted or setting == "auto")


def test_another_setting_is_named():
    with pytest.raises(UserError, match=r"run\.compile"):
        wants_compile("yes", torch.device("cpu"))

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.errors import UserError
from catclip.evaluate.retrieval import evaluate, recall_at
from tests import tiny

KS = (1, 5, 10)


def naive(similarity: list[list[float]], k: int) -> float:
    """A row is found when fewer than k of the others score as high as its own."""
    found = 0
    for index, row in enumerate(similarity):
        better = sum(1 for other, value in enumerate(row) if other != index and value >= row[index])
        found += better < k
    return found / len(similarity)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 14), st.integers(0, 10_000), st.booleans())
def test_recall_equals_a_naive_loop(size, seed, tied):
    generator = torch.Generator().manual_seed(seed)
    similarity = torch.randn(size, size, generator=generator)
    if tied:
        similarity = similarity.round()
    for k, recall in recall_at(similarity, KS).items():
        assert recall == pytest.approx(naive(similarity.tolist(), k))


def test_recall_by_hand():
    similarity = torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.5, 0.1], [0.3, 0.3, 0.1]])
    assert recall_at(similarity, (1, 2, 3)) == pytest.approx({1: 1 / 3, 2: 2 / 3, 3: 1.0})


def test_a_model_that_says_the_same_of_everything_finds_nothing():
    assert recall_at(torch.ones(20, 20), KS) == {1: 0.0, 5: 0.0, 10: 0.0}


class Directions(torch.nn.Module):
    """Pictures and texts that lie so close together that bfloat16 cannot tell them apart."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def embed_pictures(self, rows: torch.Tensor) -> torch.Tensor:
        angles = rows.float() * 1e-2
        return torch.stack([angles.cos(), angles.sin()], dim=1)

    embed_texts = embed_pictures


@pytest.mark.parametrize("precision", [torch.bfloat16, None])
def test_similarities_are_exact_under_autocast(precision):
    rows = torch.arange(40)
    batches = [{"images": part, "tokens": part} for part in rows.split(16)]
    with torch.autocast("cpu", precision, enabled=precision is not None):
        figures = dict(evaluate(Directions(), batches))
    assert figures.pop("pairs_evaluated") == 40
    assert set(figures.values()) == {1.0}
    assert set(figures) == {f"{way}_recall_at_{k}" for way in ("image_to_text", "text_to_image") for k in KS}


def test_embeddings_that_are_not_finite_are_said_and_not_found():
    with pytest.raises(UserError, match="not finite"):
        dict(evaluate(Directions(), [{"images": torch.tensor([0.0, torch.nan]), "tokens": torch.arange(2)}]))


def test_evaluate_ranks_all_pairs_both_ways(glyphs):
    config = tiny.config("contrastive", glyphs)
    objective = tiny.build(config).eval()
    batches = tiny.batches(config, objective, 3)
    with torch.no_grad():
        figures = dict(evaluate(objective, batches))
        pictures = torch.cat([objective.embed_pictures(batch["images"]) for batch in batches])
        texts = torch.cat([objective.embed_texts(batch["tokens"]) for batch in batches])
    assert figures["pairs_evaluated"] == 24
    similarity = pictures @ texts.T
    for k in KS:
        assert figures[f"image_to_text_recall_at_{k}"] == pytest.approx(naive(similarity.tolist(), k))
        assert figures[f"text_to_image_recall_at_{k}"] == pytest.approx(naive(similarity.T.tolist(), k))

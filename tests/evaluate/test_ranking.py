"""Retrieval with any number of captions a picture, against plain loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.data.loader import HeldOutBatches, Loader
from catclip.data.pairs import Pairs
from catclip.evaluate.ranking import (
    KS,
    CaptionTexts,
    image_ranks,
    label_log_probabilities,
    retrieve_by_labels,
    retrieve_by_text,
    text_ranks,
)
from tests import tiny


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.integers(0, 10_000), st.booleans())
def test_ranks_are_a_plain_loops(captions, seed, tied):
    owners = [picture for picture, count in enumerate(captions) for _ in range(count)]
    similarity = torch.randn(len(owners), len(captions), generator=torch.Generator().manual_seed(seed))
    table = (similarity.round() if tied else similarity).tolist()
    for text, own in enumerate(owners):
        others = [value for picture, value in enumerate(table[text]) if picture != own]
        expected = sum(value >= table[text][own] for value in others)
        assert text_ranks(torch.tensor(table), torch.tensor(owners))[text] == expected
    for picture in range(len(captions)):
        best = max(table[text][picture] for text, own in enumerate(owners) if own == picture)
        expected = sum(table[text][picture] >= best for text, own in enumerate(owners) if own != picture)
        assert image_ranks(torch.tensor(table), torch.tensor(owners))[picture] == expected


def held_out(objective, glyphs) -> list:
    config = tiny.data_config(glyphs, sources=str(glyphs / "val-*.tar"))
    batches = HeldOutBatches(Pairs(config.sources, config), [CaptionTexts()], tiny.SIZE, 6)
    return list(Loader(batches, 0, len(batches), workers=0, max_bad=0))


def pairs_of(batches) -> tuple[torch.Tensor, list[tuple[int, str]]]:
    """All pictures, and each caption with the number of its picture."""
    lists = [captions for batch in batches for captions in batch["captions"]]
    return torch.cat([batch["images"] for batch in batches]), [
        (i, text) for i, some in enumerate(lists) for text in some
    ]


@torch.no_grad()
def test_by_text_all_captions_are_searched(glyphs):
    objective = tiny.build(tiny.config("contrastive", glyphs)).eval()
    batches = held_out(objective, glyphs)
    found = dict(retrieve_by_text(objective, batches))
    images, captions = pairs_of(batches)
    assert len(captions) > len(images), "several captions a picture"
    assert (found["images"], found["captions"]) == (len(images), len(captions))
    pictures = objective.embed_pictures(images)
    texts = objective.embed_texts(torch.stack([objective.targets.tokenizer(text)[0] for _, text in captions]))
    for k in KS:
        near = (texts @ pictures.T).topk(k).indices
        expected = sum(own in near[row] for row, (own, _) in enumerate(captions)) / len(captions)
        assert found[f"text_to_image_recall_at_{k}"] == pytest.approx(expected)
        near = (pictures @ texts.T).topk(k).indices
        expected = sum(any(captions[row][0] == i for row in near[i].tolist()) for i in range(len(images)))
        assert found[f"image_to_text_recall_at_{k}"] == pytest.approx(expected / len(images))


@torch.no_grad()
def test_by_labels_captions_are_their_labels(glyphs):
    objective = tiny.build(tiny.config("categorical", glyphs)).eval()
    batches = held_out(objective, glyphs)
    batches[0]["captions"][0] = ["nothing of the kind", *batches[0]["captions"][0]]
    found = dict(retrieve_by_labels(objective, batches))
    images, captions = pairs_of(batches)
    logits = objective.predict(images)
    hits = dict.fromkeys(KS, 0)
    without = 0
    for own, text in captions:
        labels = objective.vocabulary.labels(text)
        without += not labels
        scores = [sum(-math.log1p(math.exp(-row[label])) for label in labels) for row in logits.double().tolist()]
        rank = sum(score > scores[own] for score in scores)
        for k in KS:
            hits[k] += bool(labels) and rank < k
    assert found["captions_without_labels"] == without >= 1
    alone = dict(retrieve_by_labels(objective, [{"images": images[:1], "captions": [["nothing of the kind"]]}]))
    assert alone["text_to_image_recall_at_10"] == 0, "not even among fewer pictures than are looked at"
    for k in KS:
        assert found[f"text_to_image_recall_at_{k}"] == pytest.approx(hits[k] / len(captions), abs=1.5 / len(captions))
    assert not any(name.startswith("image_to_text") for name in found)


@torch.no_grad()
def test_probabilities_are_the_losss(glyphs):
    config = tiny.config("categorical", glyphs)
    images = torch.randint(0, 256, (2, 3, tiny.SIZE, tiny.SIZE), dtype=torch.uint8)
    for loss, expected in (("bce", torch.sigmoid), ("softmax", lambda logits: logits.softmax(1))):
        config.objective["loss"] = loss
        objective = tiny.build(config).eval()
        found = label_log_probabilities(objective, images).exp()
        assert torch.allclose(found, expected(objective.predict(images)), atol=1e-6)

"""Parts of a batch, laid end to end, are the batch; some of its pictures keep what is theirs."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from catclip.data.micro import split_batch, take


def batch_of(labels: list[list[int]]) -> dict:
    ids = [label for each in labels for label in each]
    return {
        "keys": [str(row) for row in range(len(labels))],
        "images": torch.arange(len(labels)).view(-1, 1, 1, 1),
        "label_ids": torch.tensor(ids, dtype=torch.int64),
        "label_weights": torch.tensor(ids, dtype=torch.float32) / 2,
        "label_offsets": torch.tensor([0, *map(len, labels)]).cumsum(0),
    }


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=12), st.integers(1, 12))
def test_each_picture_keeps_what_is_its_own(labels, count):
    batch = batch_of(labels)
    parts = split_batch(batch, min(count, len(labels)))
    sizes = [len(part["keys"]) for part in parts]
    assert len(parts) == min(count, len(labels))
    assert max(sizes) - min(sizes) <= 1 <= min(sizes)
    row = 0
    for part in parts:
        assert part["keys"] == batch["keys"][row : row + len(part["keys"])]
        offsets = part["label_offsets"].tolist()
        for place in range(len(part["keys"])):
            assert part["images"][place].item() == row
            own = part["label_ids"][offsets[place] : offsets[place + 1]].tolist()
            assert own == labels[row]
            assert part["label_weights"][offsets[place] : offsets[place + 1]].tolist() == [each / 2 for each in own]
            row += 1
    assert row == len(labels)


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=12), st.data())
def test_some_of_the_pictures(labels, draw):
    rows = draw.draw(st.lists(st.sampled_from(range(len(labels))))) if labels else []
    taken, expected = take(batch_of(labels), rows), batch_of([labels[row] for row in rows])
    assert taken["keys"] == [str(row) for row in rows]
    assert taken["images"].flatten().tolist() == rows
    assert taken["images"].shape[1:] == (1, 1, 1)
    for name in ("label_ids", "label_weights", "label_offsets"):
        assert torch.equal(taken[name], expected[name])
        assert taken[name].dtype == expected[name].dtype

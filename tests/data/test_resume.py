"""Batches after a resumption are bit for bit those of the uninterrupted run, crops, captions and all."""

import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.config import DataConfig
from catclip.data.loader import Loader
from catclip.data.pairs import Pairs
from catclip.data.targets import TokenTargets
from tests.data.making import sample, training_batches, write_shard
from tests.tiny import assert_same

CONFIG = DataConfig(caption_key="json.captions", captions="sample", shuffle=5)


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> dict[int, Pairs]:
    """The same 24 samples in one, two, three or six shards."""
    every = [
        sample(f"{i:02}", seed=i, json=json.dumps({"captions": [f"a dog {i}", f"a cat {i}"]}).encode())
        for i in range(24)
    ]
    found = {}
    for number in (1, 2, 3, 6):
        folder: Path = tmp_path_factory.mktemp("shards")
        for shard in range(number):
            write_shard(folder / f"{shard}.tar", *every[shard::number])
        found[number] = Pairs(str(folder / "*.tar"), CONFIG)
    return found


@settings(max_examples=25, deadline=None)
@given(
    number=st.sampled_from([1, 2, 3, 6]),
    workers=st.tuples(st.sampled_from([0, 0, 1, 2]), st.sampled_from([0, 0, 1, 2])),
    ranks=st.integers(1, 4),
    batch=st.integers(1, 7),
    killed=st.integers(0, 9),
)
def test_any_shards_workers_ranks_and_batches(shards, number, workers, ranks, batch, killed):
    pairs, stop = shards[number], killed + 3
    for rank in range(ranks):

        def made(first: int, processes: int, state: dict | None, rank: int = rank) -> list:
            batches = training_batches(
                pickle.loads(pickle.dumps(pairs)), [TokenTargets(12)], CONFIG, 16, batch, 1,
                rank=rank, ranks=ranks, state=state, step=first,
            )  # fmt: skip
            return list(Loader(batches, first, stop, workers=processes, max_bad=0))

        whole = made(0, workers[0], None)
        stream = training_batches(pairs, [], CONFIG, 16, batch, 1, rank=rank, ranks=ranks).stream
        state = json.loads(json.dumps(stream.state(killed)))
        assert_same(made(killed, workers[1], state), whole[killed:])


def test_ranks_read_an_epoch_between_them(shards):
    for number, pairs in shards.items():
        for ranks in (1, 2, 3, 4):
            keys = []
            for rank in range(ranks):
                batches = training_batches(pairs, [], CONFIG, 16, 24 // ranks, 1, rank=rank, ranks=ranks)
                keys += next(iter(Loader(batches, 0, 1, workers=0, max_bad=0)))["keys"]
            assert sorted(keys) == sorted(f"{i:02}" for i in range(24)), (number, ranks)

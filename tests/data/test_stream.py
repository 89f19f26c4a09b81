"""A resumed stream goes on where the checkpoint was written: exactly, or without repeating and losing anything."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.data.batch_sizes import BatchSizes
from catclip.data.order import Order
from catclip.data.stream import Stream
from catclip.errors import UserError

COUNTS = st.lists(st.integers(1, 30), min_size=1, max_size=6)
RANKS = st.integers(1, 5)


def order(counts: list[int], ranks: int, window: int = 9) -> Order:
    return Order(np.array(counts), 3, window, ranks=ranks)


def multi_scale(batch: int, ranks: int, rising: bool) -> BatchSizes:
    return BatchSizes([32, 48, 64], 48, batch * ranks, ranks=ranks, rising=rising, seed=5, steps=12)


def samples(stream: Stream, t: int) -> list[tuple[int, int, int]]:
    return [tuple(stream.order.locate(position)) for position in stream.positions(t)]


def saved(stream: Stream, step: int) -> dict:
    return json.loads(json.dumps(stream.state(step)))


@settings(max_examples=100, deadline=None)
@given(COUNTS, RANKS, st.integers(1, 9), st.lists(st.integers(0, 30), min_size=1, max_size=3))
def test_batches_after_a_resumption_are_those_of_an_uninterrupted_run(counts, ranks, batch, kills):
    for rank in range(ranks):
        whole = Stream(order(counts, ranks), batch, rank)
        stream, step = whole, 0
        for more in kills:
            step += more
            stream = Stream.resume(order(counts, ranks), batch, rank, step, saved(stream, step))
            assert stream.note is None
            for t in range(step, step + 4):
                assert samples(stream, t) == samples(whole, t)


@settings(max_examples=100, deadline=None)
@given(COUNTS, st.lists(st.tuples(RANKS, st.integers(1, 6), st.integers(0, 8)), min_size=1, max_size=4))
def test_with_other_ranks_and_batches_no_epoch_repeats_or_loses_a_sample(counts, parts):
    seen: list[tuple[int, int, int]] = []
    state, step = None, 0
    for ranks, batch, steps in parts:
        streams = [
            Stream(order(counts, ranks), batch, rank)
            if state is None
            else Stream.resume(order(counts, ranks), batch, rank, step, state)
            for rank in range(ranks)
        ]
        seen += [place for t in range(step, step + steps) for stream in streams for place in samples(stream, t)]
        step += steps
        states = [saved(stream, step) for stream in streams]
        assert all(each == states[0] for each in states)
        state = states[0]
    last = max((place[0] for place in seen), default=0)
    every = {(shard, row) for shard, count in enumerate(counts) for row in range(count)}
    for epoch in range(last + 1):
        in_epoch = Counter(place[1:] for place in seen if place[0] == epoch)
        assert max(in_epoch.values(), default=1) == 1
        if epoch < last:
            assert set(in_epoch) == every


@settings(max_examples=60, deadline=None)
@given(COUNTS, RANKS, st.integers(1, 9), st.booleans(), st.lists(st.integers(0, 20), min_size=1, max_size=3))
def test_multi_scale_batches_go_on_as_they_would_have(counts, ranks, batch, rising, kills):
    sizes = multi_scale(batch, ranks, rising)
    read = []
    for rank in range(ranks):
        whole = Stream(order(counts, ranks), batch, rank, sizes=sizes)
        stream, step = whole, 0
        for more in kills:
            step += more
            state = saved(stream, step)
            stream = Stream.resume(order(counts, ranks), batch, rank, step, state, multi_scale(batch, ranks, rising))
            assert stream.note is None
            for t in range(step, step + 3):
                assert samples(stream, t) == samples(whole, t)
        batches = [list(whole.positions(t)) for t in range(15)]
        assert [ranks * len(each) for each in batches] == [sizes.before(t + 1) - sizes.before(t) for t in range(15)]
        read += [position for each in batches for position in each]
    assert sorted(read) == list(range(len(read)))  # every place of the order once


@settings(max_examples=60, deadline=None)
@given(COUNTS, st.booleans(), st.lists(st.tuples(RANKS, st.integers(1, 6), st.integers(0, 8)), min_size=1, max_size=4))
def test_multi_scale_batches_of_other_ranks_repeat_and_lose_nothing(counts, rising, parts):
    seen: list[tuple[int, int, int]] = []
    state, step = None, 0
    for ranks, batch, steps in parts:
        sizes = multi_scale(batch, ranks, rising)
        streams = [
            Stream(order(counts, ranks), batch, rank, sizes=sizes)
            if state is None
            else Stream.resume(order(counts, ranks), batch, rank, step, state, sizes)
            for rank in range(ranks)
        ]
        seen += [place for t in range(step, step + steps) for stream in streams for place in samples(stream, t)]
        step += steps
        states = [saved(stream, step) for stream in streams]
        assert all(each == states[0] for each in states)
        state = states[0]
    last = max((place[0] for place in seen), default=0)
    every = {(shard, row) for shard, count in enumerate(counts) for row in range(count)}
    for epoch in range(last + 1):
        in_epoch = Counter(place[1:] for place in seen if place[0] == epoch)
        assert max(in_epoch.values(), default=1) == 1
        if epoch < last:
            assert set(in_epoch) == every


def test_what_could_not_be_kept_exact_is_said():
    first = Stream(order([40, 40], 2), 8)
    assert Stream.resume(order([40, 40], 2), 8, 1, 3, saved(first, 3)).note is None
    assert "3 rank(s) instead of 2" in str(Stream.resume(order([40, 40], 3), 8, 0, 3, saved(first, 3)).note)
    assert "batches of 4 instead of 8" in str(Stream.resume(order([40, 40], 2), 4, 0, 3, saved(first, 3)).note)


def test_another_data_set_is_refused():
    with pytest.raises(UserError, match=r"80 samples an epoch .* gives 79 now"):
        Stream.resume(order([40, 39], 1), 8, 0, 3, saved(Stream(order([40, 40], 1), 8), 3))

"""The order is arithmetic: each sample once an epoch, whoever reads, wherever a run was stopped."""

import pickle
from collections import Counter
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from catclip.data.order import Order

COUNTS = st.lists(st.integers(0, 30), min_size=1, max_size=8).filter(any)
RANKS = st.integers(1, 7)


def stretch(order: Order, start: int, stop: int) -> list[tuple[int, int, int]]:
    return [tuple(order.locate(position)) for position in range(start, stop)]


def every(counts: list[int]) -> Counter:
    return Counter((shard, row) for shard, count in enumerate(counts) for row in range(count))


@settings(max_examples=200, deadline=None)
@given(COUNTS, st.integers(0, 2**40), st.integers(-1, 80), st.integers(0, 3), RANKS)
def test_an_epoch_holds_every_sample_once(counts, seed, window, epoch, ranks):
    order = Order(np.array(counts), seed, window, ranks=ranks)
    length = sum(counts)
    places = stretch(order, epoch * length, (epoch + 1) * length)
    assert {place[0] for place in places} == {epoch}
    assert Counter(place[1:] for place in places) == every(counts)


@settings(max_examples=100, deadline=None)
@given(COUNTS, st.integers(0, 2**31), st.integers(1, 80), st.lists(st.integers(0, 500), min_size=1), RANKS)
def test_a_place_depends_on_nothing_but_the_arguments(counts, seed, window, positions, ranks):
    def make() -> Order:
        return Order(np.array(counts), seed, window, ranks=ranks)

    fresh = [make().locate(position) for position in positions]
    used = make()
    for position in reversed(range(500)):
        used.locate(position)
    assert [used.locate(position) for position in positions] == fresh
    copy = pickle.loads(pickle.dumps(used))
    assert [copy.locate(position) for position in positions] == fresh


@settings(max_examples=200, deadline=None)
@given(COUNTS, st.integers(1, 40), RANKS, st.lists(st.tuples(st.integers(0, 60), RANKS), min_size=1, max_size=3))
def test_other_ranks_read_the_rest_of_the_epoch_once(counts, window, ranks, resumptions):
    length = sum(counts)
    order = Order(np.array(counts), 5, window, ranks=ranks)
    read, position = [], 0
    for more, new in resumptions:
        stop = min(position + more, length - 1)
        read += stretch(order, position, stop)
        order, position = pickle.loads(pickle.dumps(order.resumed_at(stop, new))), stop
    read += stretch(order, position, length)
    assert Counter(place[1:] for place in read) == every(counts)
    # And the next epoch is that of a run which always had so many.
    assert stretch(order, length, 2 * length) == stretch(
        Order(np.array(counts), 5, window, ranks=order.ranks), length, 2 * length
    )


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["1", "2", "1/2", "1/3", "5/2", "0.25"])), min_size=1)
    .filter(lambda shards: sum(round(Fraction(weight) * count) for count, weight in shards)),
    RANKS,
)  # fmt: skip
def test_a_weight_says_how_often_a_sample_comes(shards, ranks):
    counts = np.array([count for count, _ in shards])
    weights = [Fraction(weight) for _, weight in shards]
    order = Order(counts, 1, 16, weights=weights, ranks=ranks)
    if not order.epoch_length:
        return
    epochs = 12  # in which each of the weights comes to a whole number
    seen = Counter(place[1:] for place in stretch(order, 0, epochs * order.epoch_length))
    by_weight = {weight: sum(counts[i] for i in range(len(counts)) if weights[i] == weight) for weight in weights}
    for (shard, _), times in seen.items():
        whole = by_weight[weights[shard]]
        expected = Fraction(round(weights[shard] * whole) * epochs, int(whole))
        assert expected - 1 < times < expected + 1
    assert set(seen) <= set(every(counts.tolist()))


def test_epochs_and_seeds_differ():
    def epoch(seed: int, number: int) -> list:
        return [place[1:] for place in stretch(Order(np.array([20, 20, 20]), seed, 16), number * 60, number * 60 + 60)]

    orders = [epoch(seed, number) for seed in (0, 1) for number in (0, 1, 2)]
    assert all(first != second for i, first in enumerate(orders) for second in orders[:i])


def test_a_large_window_mixes_all_shards_and_a_small_one_reads_shard_after_shard():
    counts = np.array([100] * 8)
    assert len({place[1] for place in stretch(Order(counts, 0, 10_000), 0, 100)}) == 8
    local = stretch(Order(counts, 0, 1), 0, 800)
    assert [shard for _, shard, _ in local][::100] == [shard for _, shard, _ in local][99::100]
    assert [row for _, _, row in local] == list(range(100)) * 8
    assert [shard for _, shard, _ in local][::100] != list(range(8))  # the shards' own order is mixed


def test_the_shards_order_is_mixed_anew_in_every_epoch():
    order = Order(np.array([1] * 20), 0, 1)
    epochs = [[place[1] for place in stretch(order, epoch * 20, epoch * 20 + 20)] for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_a_rank_touches_its_share_of_the_shards_only():
    counts = np.array([50] * 16)
    order = Order(counts, 0, 100, ranks=4)
    shards = [{order.locate(position).shard for position in range(rank, 800, 4)} for rank in range(4)]
    assert [len(each) for each in shards] == [4, 4, 4, 4]
    assert len(set.union(*shards)) == 16


@settings(max_examples=100, deadline=None)
@given(COUNTS, st.integers(1, 40), RANKS, st.integers(0, 300))
def test_shards_ahead_are_those_of_this_window_and_the_next(counts, window, ranks, position):
    order = Order(np.array(counts), 3, window, ranks=ranks)
    epoch, place = divmod(position, order.epoch_length)
    start = epoch * order.epoch_length + place % ranks + place // ranks // window * window * ranks
    stop = min(start + 2 * window * ranks, (epoch + 1) * order.epoch_length)
    read = {order.locate(p).shard for p in range(start, stop, ranks)}
    ahead = order.shards_ahead(position)
    assert read <= set(ahead)
    assert set(ahead) - read <= {shard for shard, count in enumerate(counts) if not count}
    assert len(ahead) == len(set(ahead))

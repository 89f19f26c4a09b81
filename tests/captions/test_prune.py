"""Pruning, against a slow reference: the same definition, read from the top of the hierarchy down."""

from collections import Counter
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catclip.captions.hierarchy import depth, find_synset, path
from catclip.captions.lexicon import load_lexicon
from catclip.captions.prune import Pruned, Pruner, check_options
from catclip.errors import UserError

WNIDS = load_lexicon().wnids()
DOG, DALMATIAN, CORGI = map(find_synset, ["dog.n.01", "dalmatian.n.02", "corgi.n.01"])
CAT, CANINE, ANIMAL, ENTITY = map(find_synset, ["cat.n.01", "canine.n.02", "animal.n.01", "entity.n.01"])
# Synsets that are neighbours in WordNet's file are neighbours in the hierarchy, too.
NEIGHBOURS = st.integers(0, len(WNIDS) - 60).flatmap(lambda start: st.sampled_from(WNIDS[start : start + 60]))
COUNTS = st.dictionaries(st.one_of(NEIGHBOURS, st.sampled_from(WNIDS)), st.integers(1, 30), max_size=40)
DEPTHS = st.sampled_from([0, 0, 3, 6])
TAUS = st.integers(1, 80)


def reference(counts: dict[str, int], tau: int, general) -> tuple[dict[str, int], dict[str, str]]:
    """Kept synset → total, and rare synset → where it ends; by recursion instead of passes over levels."""
    below: dict[str, set[str]] = {}
    for wnid in counts:
        for up, down in zip(path(wnid), path(wnid)[1:], strict=False):
            below.setdefault(up, set()).add(down)

    @cache
    def total(wnid: str) -> int:
        if general(wnid):
            return 0
        own = counts.get(wnid, 0)
        return own + sum(total(each) for each in below.get(wnid, ()) if total(each) < tau)

    def end(wnid: str) -> str | None:
        for each in reversed(path(wnid)):
            if general(each):
                return None
            if total(each) >= tau:
                return each
        return None

    seen = {wnid for each in counts for wnid in path(each)}
    kept = {wnid: total(wnid) for wnid in seen if total(wnid) >= tau}
    return kept, {wnid: end(wnid) for wnid in counts if end(wnid) not in (None, wnid)}


@given(COUNTS, TAUS, DEPTHS, st.data())
def test_rollup_is_as_defined(counts, tau, min_depth, data):
    exclude = data.draw(
        st.lists(st.sampled_from([wnid for each in counts for wnid in path(each)] or [DOG]), max_size=2)
    )
    pruned = Pruner(counts, min_depth, exclude).rollup(tau)
    kept, ends = reference(counts, tau, lambda wnid: wnid in exclude or depth(wnid) < min_depth)
    assert pruned.counts == kept
    assert {wnid: rolled.into for wnid, rolled in pruned.rollup.items()} == ends
    assert list(pruned.counts) == sorted(kept, key=lambda wnid: (-kept[wnid], wnid))


@given(COUNTS, TAUS, DEPTHS)
def test_rollup_conserves_counts_and_goes_upwards(counts, tau, min_depth):
    pruned = Pruner(counts, min_depth).rollup(tau)
    lexicon = load_lexicon()
    totals = Counter({wnid: counts.get(wnid, 0) for wnid in pruned.counts})
    for wnid, (into, own) in pruned.rollup.items():
        assert own == counts[wnid] < tau
        assert into in lexicon.ancestors(wnid)
        totals[into] += own
    assert totals == pruned.counts
    assert all(total >= tau for total in totals.values())
    if min_depth == 0:
        # All that is left without a label is what did not reach tau even at entity.n.01.
        lost = sum(counts.values()) - sum(totals.values())
        assert lost == sum(n for wnid, n in counts.items() if wnid not in pruned.counts and wnid not in pruned.rollup)
        assert lost < tau


@given(COUNTS, TAUS)
def test_rollup_covers_what_drop_covers(counts, tau):
    pruner = Pruner(counts)
    dropped, rolled = pruner.drop(tau), pruner.rollup(tau)
    assert dropped.counts.keys() <= rolled.counts.keys()
    assert dropped == Pruned({w: n for w, n in counts.items() if n >= tau}, {})
    assert list(dropped.counts.values()) == sorted(dropped.counts.values(), reverse=True)


@given(COUNTS, TAUS, DEPTHS, st.integers(1, 20))
def test_top_k_is_the_least_tau_that_leaves_no_more(counts, tau, min_depth, top_k):
    pruner = Pruner(counts, min_depth)
    sizes = [len(pruner.rollup(each).counts) for each in range(tau, tau + 200)]
    assert sizes == sorted(sizes, reverse=True)
    least = next((each for each, size in enumerate(sizes, tau) if size <= top_k), None)
    found = pruner.rollup(tau, top_k)
    assert len(found.counts) <= top_k
    if least is not None:
        assert found == pruner.rollup(least)
    assert list(pruner.drop(tau, top_k).counts.items()) == list(pruner.drop(tau).counts.items())[:top_k]


def test_a_rare_breed_is_a_dog_and_rare_animals_are_animals():
    counts = {DOG: 10, DALMATIAN: 3, CORGI: 2, CAT: 4}
    assert Pruner(counts).drop(5) == Pruned({DOG: 10}, {})
    rolled = Pruner(counts, min_depth=3).rollup(5)
    assert rolled == Pruned({DOG: 15}, {DALMATIAN: (DOG, 3), CORGI: (DOG, 2)})
    # Together with another the cat is frequent enough, as what both are; what no caption names may be a label.
    carnivore = find_synset("carnivore.n.01")
    assert Pruner(counts | {CANINE: 1}, min_depth=3).rollup(5).counts == {DOG: 15, carnivore: 5}
    assert Pruner({DALMATIAN: 3, CORGI: 2}).rollup(5).counts == {DOG: 5}


def test_what_is_too_general_takes_and_passes_nothing():
    counts = {DOG: 10, DALMATIAN: 3, ANIMAL: 50}
    assert Pruner(counts, exclude=["animal.n.01"]).rollup(20) == Pruned({}, {})
    assert Pruner(counts, exclude=["animal.n.01"]).drop(5) == Pruned({DOG: 10}, {})
    assert Pruner(counts, exclude=[DOG]).rollup(2) == Pruned({ANIMAL: 50, DALMATIAN: 3}, {})
    assert Pruner(counts, exclude=[DOG]).rollup(5) == Pruned({ANIMAL: 50}, {})
    assert Pruner(counts).rollup(20) == Pruned({ANIMAL: 63}, {DOG: (ANIMAL, 10), DALMATIAN: (ANIMAL, 3)})
    assert Pruner({DALMATIAN: 3}).rollup(3).counts == {DALMATIAN: 3}
    assert depth(ANIMAL) == 6
    assert Pruner(counts, min_depth=7).drop(1).counts == {DOG: 10, DALMATIAN: 3}


def test_largest_tau_that_leaves_a_label():
    for counts in ({DOG: 10, DALMATIAN: 3, CAT: 4}, {ENTITY: 2, DOG: 1}):
        for min_depth in (0, 3):
            pruner = Pruner(counts, min_depth)
            most = pruner.most_rolled_up()
            assert pruner.rollup(most).counts
            assert not pruner.rollup(most + 1).counts
    assert Pruner({}).most_rolled_up() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"how": "roll"}, "prune=roll is not one of drop, rollup"),
        ({"tau": 0}, "tau=0"),
        ({"top_k": 0}, "top_k=0"),
        ({"min_depth": -1}, "min_depth=-1"),
        ({"exclude": ["entity"]}, "'entity' is neither"),
    ],
)
def test_options_that_make_no_sense(options, message):
    right = {"how": "drop", "tau": 1, "top_k": None, "min_depth": None, "exclude": ()}
    check_options(**right)
    with pytest.raises(UserError, match=message):
        check_options(**right | options)
    with pytest.raises(UserError, match="n99999999"):
        Pruner({"n99999999": 1})

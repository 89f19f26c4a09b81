"""The hint to change how data are loaded comes when it should, once, and says what."""

from catclip.train.waiting import WaitingHint

SPENT = {"reading": 1.0, "pictures": 8.0, "captions": 1.0}


def test_it_comes_after_a_minute_of_waiting_and_once():
    hint = WaitingHint(workers=2, cores=8)
    assert [hint.watch(20.0, 5.0, SPENT) for _ in range(2)] == [None, None]
    said = hint.watch(20.0, 5.0, SPENT)
    assert said is not None
    assert "25% of the time" in said
    assert "data.workers=8 (now 2)" in said
    assert "Decoding pictures" in said
    assert "80% of the workers' time" in said
    assert hint.watch(600.0, 300.0, SPENT) is None


def test_a_short_wait_is_no_reason():
    hint = WaitingHint(workers=2, cores=8)
    for _ in range(20):
        assert hint.watch(50.0, 20.0, SPENT) is None
        assert hint.watch(50.0, 5.0, SPENT) is None


def test_with_all_cores_at_work_it_says_what_takes_the_time():
    said = WaitingHint(workers=8, cores=8).watch(61.0, 30.0, {"reading": 9.0, "pictures": 1.0})
    assert said is not None
    assert "data.workers" not in said
    assert "local disk" in said

import pytest

from catclip.compare.words import sentences

BASE = {
    "objectives": ["a", "b"], "seeds": [0, 1, 2], "a.step_milliseconds": 10.0, "b.step_milliseconds": 16.0,
    "a.probe_accuracy": 0.5, "b.probe_accuracy": 0.4, "a.probe_accuracy.spread": 0.01, "b.probe_accuracy.spread": 0.02,
    "a.curve_probe_accuracy": [0.1, 0.5], "reached.probe_accuracy": 1.0,
}  # fmt: skip


def said(**more) -> str:
    return " ".join(sentences(BASE | {key.replace("__", "."): value for key, value in more.items()}))


def test_a_slower_step_is_divided_into_operations_and_the_rest():
    text = said(ratio__step_milliseconds=1.6, ratio__flops_per_image=1.28)
    assert "A step of b takes 1.60× as long as one of a." in text
    assert "1.28×, which leaves 1.25×" in text


def test_a_faster_step_is_not_explained_by_operations():
    text = said(ratio__step_milliseconds=0.8, ratio__flops_per_image=1.28)
    assert "differ by 1.28×." in text
    assert "leaves" not in text


def test_without_a_supported_ratio_none_is_told():
    assert "varies too much to give a ratio" in said()


@pytest.mark.parametrize(
    ("low", "high", "verdict", "expected"),
    [(0.98, 1.02, "equal", "A step of b takes as long as one of a."),
     (1.2, 2.9, "unclear", "A step of b takes 1.20 to 2.90 times as long as one of a."),
     (0.8, 2.9, "unclear", "varies too much to give a ratio")],
)  # fmt: skip
def test_what_is_known_of_a_step_without_a_ratio(low, high, verdict, expected):
    name = "step.ratio.b_to_a.milliseconds"
    assert expected in said(**{f"{name}.low": low, f"{name}.high": high, f"{name}.verdict": verdict})


def test_the_steps_section_overrules_what_training_had():
    text = said(ratio__step_milliseconds=1.6, **{"step.ratio.b_to_a.milliseconds.verdict": "too few rounds"})
    assert "1.60×" not in text


@pytest.mark.parametrize(
    ("ratio", "low", "high", "expected"),
    [(2.0, 1.5, 2.5, "b needs 2.00× (1.50 to 2.50 over the seeds) the time that a needs"),
     (0.5, 0.4, 0.8, "a needs 2.00× (1.25 to 2.50 over the seeds) the time that b needs")],
)  # fmt: skip
def test_who_is_faster_to_the_baselines_best(ratio, low, high, expected):
    key = "ratio__seconds_to_probe_accuracy"
    assert expected in said(**{key: ratio, f"{key}__low": low, f"{key}__high": high})


@pytest.mark.parametrize(("low", "high", "why"), [(0.5, 3.0, "on both sides of 1"), (1.1, 3.0, "more than 2-fold")])
def test_an_interval_too_wide_is_told_in_place_of_a_ratio(low, high, why):
    key = "ratio__seconds_to_probe_accuracy"
    text = said(**{f"{key}__low": low, f"{key}__high": high})
    assert f"{low:.2f}× to {high:.2f}×, which is {why}" in text


def test_seeds_that_never_get_there_are_counted():
    assert "reached the best of b in 2 of 3 seeds: there is no time-to-accuracy ratio" in said(
        reached__probe_accuracy=2 / 3
    )


def test_a_baseline_that_training_made_no_better_is_no_goal():
    assert "B was best before it was trained: there is nothing to reach" in said(untrained__probe_accuracy=1.0)
    several = said(untrained__probe_accuracy=1 / 3, seeds=[0, 1, 2])
    assert "B was in 1 of 3 seeds best before it was trained" in several
    assert "best before" not in said()


@pytest.mark.parametrize("coarse", [True, False])
def test_a_crossing_before_the_first_evaluation_has_no_ratio(coarse):
    text = said(too_coarse__probe_accuracy=coarse)
    assert ("Evaluate more often (run.evaluate_every)" in text) == coarse
    text = said(too_coarse__probe_accuracy=coarse, at_least__seconds_to_probe_accuracy=3.0)
    assert ("in every seed b needs at least 3.00× the time of a." in text) == coarse


@pytest.mark.parametrize(
    ("figures", "expected"),
    [({"": 0.8, ".verdict": "supported"}, "there a sees 1.25× as many pictures a second."),
     ({"": 1.5, ".verdict": "supported"}, "there b sees 1.50× as many pictures a second."),
     ({".verdict": "equal"}, "there no difference in speed was found."),
     ({".verdict": "unclear", ".low": 0.5, ".high": 0.9}, "there b sees 0.50 to 0.90 times as many pictures a second"),
     ({".verdict": "unclear", ".low": 0.5, ".high": 1.9}, "how fast each is there is not clear.")],
)  # fmt: skip
def test_the_largest_batches(figures, expected):
    more = {f"batch.ratio.b_to_a.images_per_second{key}": value for key, value in figures.items()}
    text = said(**more, **{"batch.memory_bytes": 2**31, "batch.a.largest": 2000, "batch.b.largest": 1000})
    assert f"In 2.00 GiB the largest batch of a has 2,000 pictures, that of b 1,000 pictures; {expected}" in text


def test_a_largest_batch_that_memory_did_not_limit():
    more = {"batch.memory_bytes": 2**31, "batch.a.largest": 2000, "batch.b.largest": 1000}
    text = said(**more, **{"batch.a.limited_by": "seconds", "batch.b.limited_by": "memory"})
    assert "of a has 2,000 pictures (larger ones take too long), that of b 1,000 pictures;" in text


def test_steps_alone_say_why_too():
    """Of nothing but the section on steps, as on a GPU."""
    figures = {"objectives": ["a", "b"], "step.ratio.b_to_a.milliseconds": 2.0, "step.ratio.b_to_a.flops": 1.5}
    text = " ".join(sentences(figures | {"step.ratio.b_to_a.milliseconds.verdict": "supported"}))
    assert "A step of b takes 2.00× as long as one of a." in text
    assert "in operations the two differ by 1.50×, which leaves 1.33×" in text


def test_others_steps_and_what_changes_ours():
    key = "sensitivity.a.{}.milliseconds.ratio"
    changes = {"resolution=32": 0.5, "vocabulary=50000": 2.5, "workers=0": 1.1}
    told = {key.format(change): ratio for change, ratio in changes.items()}
    told |= {f"{key.format(change)}.verdict": "supported" for change in changes}
    unclear = {"vocabulary=250000": (2.0, 4.5), "compile=true": (0.1, 5.0)}
    told |= {f"{key.format(change)}{end}": value for change, (low, high) in unclear.items()
             for end, value in [(".verdict", "unclear"), (".low", low), (".high", high)]}  # fmt: skip
    text = said(**{"step.ratio.timm_to_a.milliseconds": 1.25}, **told)
    assert "timm, dense targets, takes 1.25× as long as ours of a." in text
    assert "What changes a step of a most: resolution=32 (0.50×) and vocabulary=250000 (2.00–4.50×)." in text
    assert "What changes a step of b" not in text


def test_one_seed_is_owned_up_to():
    assert "This is one seed" in said(seeds=[0])


def test_one_seed_is_owned_up_to_without_a_probe():
    figures = {"objectives": ["a", "b"], "seeds": [0], "a.zeroshot_top_1": 0.5, "b.zeroshot_top_1": 0.4}
    assert "This is one seed" in " ".join(sentences(figures))


def test_both_starts_are_told_where_they_are_not_the_same():
    assert "from 0.100 untrained" in said(**{"b.curve_probe_accuracy": [0.1, 0.4]})
    assert "from 0.100 and 0.200 untrained" in said(**{"b.curve_probe_accuracy": [0.2, 0.4]})


def test_predictions_are_called_so():
    more = {f"scaling.{name}.{key}": value for name, value in (("a", 3.0), ("b", 2.0))
            for key in ("bytes_per_step", "predicted_images_per_second_at_64")}  # fmt: skip
    text = said(**more, **{"scaling.gpus": [64], "scaling.measured_ranks": [1, 2]})
    assert "Prediction, not measured: at 64 ranks a would see 3 images a second and b 2; their times" in text
    text = said(
        **more, **{"scaling.gpus": [64], "scaling.measured_ranks": [1, 2], "scaling.ratio.b_to_a.seconds_at_1": 1}
    )
    assert "a would see 3 images a second and b 2, 1.50× as many for a." in text


def test_one_objective_has_nothing_beside_it():
    assert sentences({"objectives": ["a"]}) == ["Only a was measured: there is nothing to compare it with."]

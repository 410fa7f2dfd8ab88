from __future__ import annotations

import math

import pytest

from danlu.evaluate.ranking import Pair, accuracy, calibration, pairs_of, summarise_pairs


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def test_margin_is_the_score_of_the_better_less_that_of_the_worse():
    pairs = list(pairs_of("p", scores=[0.5, 2.0, 1.0], ranks=[2, 1, 3]))
    # completion 1 beats 0 by 1.5, 0 beats 2 by -0.5, 1 beats 2 by 1.0
    assert [pair.margin for pair in pairs] == [1.5, -0.5, 1.0]


def test_tied_ranks_are_left_out_of_the_accuracy_but_counted():
    summary = summarise_pairs(list(pairs_of("p", scores=[3.0, 1.0, 2.0], ranks=[1, 2, 2])))
    assert summary["n_ties"] == 1
    assert summary["n_pairs"] == 2
    assert summary["accuracy"]["mean"] == 1.0


def test_equal_scores_count_half():
    assert accuracy(pairs_of("p", scores=[1.0, 1.0], ranks=[1, 2])).mean == 0.5


def test_a_model_that_scores_everything_alike_is_at_chance():
    assert accuracy(pairs_of("p", scores=[0.0] * 6, ranks=[1, 2, 3, 4, 5, 6])).mean == 0.5


def test_accuracy_is_reported_by_kind_and_language():
    pairs = [
        Pair(prompt="a", margin=1.0, kind="fact", language="en"),
        Pair(prompt="a", margin=-1.0, kind="fact", language="en"),
        Pair(prompt="b", margin=1.0, kind="honesty", language="zh"),
    ]
    summary = summarise_pairs(pairs)
    assert summary["kinds"]["fact"]["accuracy"]["mean"] == 0.5
    sure = {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert summary["kinds"]["honesty"] == {"n_pairs": 1, "n_prompts": 1, "accuracy": sure}
    assert summary["languages"]["en"]["n_pairs"] == 2
    assert summary["n_prompts"] == 2


def test_kind_is_asked_of_the_two_completions():
    pairs = list(pairs_of("p", [0.0, 1.0], [2, 1], kind=lambda i, j: f"{i}-{j}", language="zh"))
    assert [(pair.kind, pair.language) for pair in pairs] == [("0-1", "zh")]


def test_calibration_of_a_worked_example():
    pairs = [
        Pair(prompt="a", margin=logit(0.8)),  # 0.8 sure and right
        Pair(prompt="a", margin=-logit(0.8)),  # 0.8 sure and wrong
        Pair(prompt="b", margin=logit(0.99)),  # 0.99 sure and right
        Pair(prompt="b", margin=logit(0.99), tie=True),  # 0.99 sure, people saw no difference
    ]
    result = calibration(pairs, n_bins=5)
    assert [point["n"] for point in result["points"]] == [2, 2]
    assert result["points"][0]["predicted"] == pytest.approx(0.8)
    assert result["points"][0]["observed"] == pytest.approx(0.5)
    assert result["points"][1]["observed"] == pytest.approx(0.75)
    assert result["expected_error"] == pytest.approx((2 * 0.3 + 2 * 0.24) / 4)


def test_perfect_calibration_has_no_error():
    pairs = [Pair(prompt="a", margin=logit(0.75) * sign) for sign in (1, 1, 1, -1)]
    assert calibration(pairs)["expected_error"] == pytest.approx(0.0)


def test_huge_margins_stay_finite():
    assert calibration([Pair(prompt="a", margin=-5000.0)])["expected_error"] == 1.0


def test_only_ties_give_no_accuracy_rather_than_a_number():
    summary = summarise_pairs([Pair(prompt="a", margin=0.3, tie=True)])
    assert summary["accuracy"] is None


def test_accuracy_is_reported_by_rater_where_raters_are_named():
    pairs = [*pairs_of("p", [1.0, 0.0], [1, 2], rater="a"), *pairs_of("q", [1.0, 0.0], [2, 1], rater="b")]
    summary = summarise_pairs([*pairs, *pairs_of("r", [1.0, 0.0], [1, 2])])
    assert {name: each["accuracy"]["mean"] for name, each in summary["raters"].items()} == {"a": 1, "b": 0}
    assert "raters" not in summarise_pairs([Pair(prompt="a", margin=1.0)])


def test_level_pairs_should_have_the_smaller_gaps():
    pairs = [Pair(prompt=p, margin=m) for p, m in (("a", 1.0), ("b", -2.0), ("c", 0.2))]
    level = [Pair(prompt="d", margin=-0.2, tie=True), Pair(prompt="e", margin=1.5, tie=True)]
    found = summarise_pairs([*pairs, *level])["ties"]
    assert found["n_pairs"] == 2
    assert found["mean_gap"] == pytest.approx({"level": 0.85, "apart": 3.2 / 3})
    # 0.2 is below 1 and 2 and equal to 0.2; 1.5 is below 2 alone.
    assert found["smaller_gap"] == pytest.approx((2.5 + 1) / 6)


def test_a_model_of_ties_is_judged_by_what_it_foretells():
    def outcomes(margin: float) -> tuple[float, float, float]:
        return (0.7, 0.2, 0.1) if margin > 1 else (0.1, 0.2, 0.7) if margin < -1 else (0.25, 0.5, 0.25)

    pairs = [
        *pairs_of("a", [2.0, 0.0], [1, 2], outcomes=outcomes),  # foretold
        *pairs_of("b", [2.0, 0.0], [2, 1], outcomes=outcomes),  # the wrong way round
        *pairs_of("c", [0.5, 0.0], [1, 2], outcomes=outcomes),  # thought level
        *pairs_of("d", [0.5, 0.0], [1, 1], outcomes=outcomes),  # level indeed
        *pairs_of("e", [2.0, 0.0], [1, 1], outcomes=outcomes),  # not thought so
    ]
    summary = summarise_pairs(pairs)
    assert summary["ties"]["accuracy"]["apart"]["mean"] == pytest.approx(1 / 3)
    assert summary["ties"]["accuracy"]["level"]["mean"] == 0.5
    points = summary["ties"]["calibration"]["points"]
    assert [(p["n"], p["predicted"], p["observed"]) for p in points] == [
        (3, pytest.approx(0.2), pytest.approx(1 / 3)),
        (2, pytest.approx(0.5), pytest.approx(0.5)),
    ]
    # The preferred order's probability, a tie half: 0.7 + 0.1, and 0.25 + 0.25.
    assert [p["predicted"] for p in summary["calibration"]["points"]] == pytest.approx([0.5, 0.8])

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
    assert summary["kinds"]["honesty"] == {"n_pairs": 1, "accuracy": {"mean": 1.0, "low": 1.0, "high": 1.0}}
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

"""Strengths of models from verdicts, against numbers worked out by hand and by brute force."""

from __future__ import annotations

import math
from random import Random

import pytest

from danlu.feedback.leaderboard import ELO, inverse, leaderboard, pairs

A_BEATS_B = (("a", "b"), (1, 2))


def test_two_models_have_the_strengths_that_set_the_slope_to_zero():
    """With s = -t: (n - 1) wins of n against the imagined ties, 1/2 - p(s) + w - n p(2s) = 0."""
    found = leaderboard([A_BEATS_B] * 3 + [(("a", "b"), (2, 1))])
    s = found[0].strength / ELO
    p = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    assert found[1].strength == pytest.approx(-found[0].strength)
    assert 0.5 - p(s) + 3 - 4 * p(2 * s) == pytest.approx(0, abs=1e-9)
    curvature = p(s) * (1 - p(s)), 4 * p(2 * s) * (1 - p(2 * s))
    variance = (curvature[0] + curvature[1]) / ((curvature[0] + curvature[1]) ** 2 - curvature[1] ** 2)
    assert (found[0].high - found[0].low) / 2 / ELO == pytest.approx(1.959964 * math.sqrt(variance))


def test_ties_leave_models_equal_and_one_that_only_wins_stays_within_bounds():
    tied = leaderboard([(("a", "b"), (1, 1))] * 5)
    assert [each.strength for each in tied] == pytest.approx([0, 0], abs=1e-9)
    winner, loser = leaderboard([A_BEATS_B] * 50)
    assert (winner.name, loser.name) == ("a", "b")
    assert 0 < winner.strength < 2000


def test_a_ranking_counts_for_all_its_pairs_and_never_a_model_against_itself():
    wins, counts = pairs([(("a", "b", "c", "a"), (1, 2, 2, 3))])
    assert wins == {
        **{("a", "b"): 1.0, ("b", "a"): 1.0, ("a", "c"): 1.0, ("c", "a"): 1.0},
        **{("b", "c"): 0.5, ("c", "b"): 0.5},
    }
    assert counts == {"a": 4, "b": 3, "c": 3}
    assert leaderboard([]) == []


def test_known_strengths_are_found_again_and_lie_in_their_intervals():
    true, random = {"a": 0.0, "b": 0.7, "c": -0.9, "d": 0.2}, Random(5)
    names = sorted(true)
    verdicts = []
    for _ in range(6000):
        x, y = random.sample(names, 2)
        won = random.random() < 1 / (1 + math.exp(true[y] - true[x]))
        verdicts.append(((x, y), (1, 2) if won else (2, 1)))
    found = {each.name: each for each in leaderboard(verdicts)}
    for x in names:
        assert found[x].n == sum(x in pair for pair, _ in verdicts)
        for y in names:
            between = (found[x].strength - found[y].strength) / ELO
            assert between == pytest.approx(true[x] - true[y], abs=0.2)


def test_the_inverse_is_one():
    matrix = [[4.0, 1.0, 0.0], [1.0, 3.0, 1.0], [0.0, 1.0, 2.0]]
    back = inverse(matrix)
    for i in range(3):
        for j in range(3):
            assert sum(matrix[i][k] * back[k][j] for k in range(3)) == pytest.approx(float(i == j))

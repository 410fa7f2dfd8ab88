from __future__ import annotations

import math

import numpy as np
import pytest

from danlu.evaluate.statistics import Interval, cluster_bootstrap, macro_bootstrap, wilson


def test_wilson_matches_the_textbook_example():
    # 5 of 10, z = 1.96: centre 0.5, half-width 1.96 * sqrt(0.025 + 0.009604) / 1.38416
    interval = wilson(5, 10)
    assert interval.mean == 0.5
    assert interval.low == pytest.approx(0.236593, abs=1e-6)
    assert interval.high == pytest.approx(0.763407, abs=1e-6)


def test_wilson_at_zero_reaches_up_and_never_below():
    interval = wilson(0, 10)
    # z^2 / (n + z^2) = 3.841459 / 13.841459
    assert interval == Interval(0.0, 0.0, pytest.approx(0.277533, abs=1e-6))


def test_wilson_at_one_mirrors_zero():
    at_one, at_zero = wilson(10, 10), wilson(0, 10)
    assert at_one.high == 1.0
    assert at_one.low == pytest.approx(1 - at_zero.high)


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(successes, n):
    with pytest.raises(ValueError, match="0 <= successes <= trials"):
        wilson(successes, n)


def test_macro_weighs_cells_and_not_values():
    assert macro_bootstrap([[1.0], [0.0, 0.0, 0.0]]).mean == 0.5


def test_macro_interval_has_the_analytic_width():
    # Two cells, each half ones: sample variance 0.5 * 0.5 * n / (n - 1), of the mean 0.25 / (n - 1);
    # of the average of two such means, half of that.
    cells = [[0.0, 1.0] * 50, [0.0, 1.0] * 50]
    interval = macro_bootstrap(cells, n_resamples=20000)
    half = 1.96 * math.sqrt(0.25 / 99 / 2)
    assert interval.high - interval.mean == pytest.approx(half, rel=0.05)
    assert interval.mean - interval.low == pytest.approx(half, rel=0.05)


def test_small_cells_are_not_too_sure_of_themselves():
    # A plain bootstrap of two values can reach -0.5 and 0.5 around their mean; scaled, sqrt(2) times that.
    interval = macro_bootstrap([[0.0, 1.0]])
    assert interval.low == pytest.approx(0.5 - 0.5 * math.sqrt(2))
    assert interval.high == pytest.approx(0.5 + 0.5 * math.sqrt(2))


def test_macro_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        interval = macro_bootstrap(
            [rng.random(12) < 0.3, rng.random(20) < 0.8, rng.random(15) < 0.55], seed=trial, n_resamples=500
        )
        covered += interval.low <= 0.55 <= interval.high
    assert 0.90 <= covered / 200 <= 0.99


def test_same_seed_same_interval_and_another_seed_another():
    cells = [[0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.5]]
    assert macro_bootstrap(cells, seed=1) == macro_bootstrap(cells, seed=1)
    assert macro_bootstrap(cells, seed=1, n_resamples=50) != macro_bootstrap(cells, seed=2, n_resamples=50)


def test_chunks_do_not_change_the_draws(monkeypatch):
    cells = [[0.0, 1.0, 1.0, 0.25], [0.0, 0.0, 1.0]]
    whole = macro_bootstrap(cells, n_resamples=101)
    monkeypatch.setattr("danlu.evaluate.statistics.CHUNK", 40)
    assert macro_bootstrap(cells, n_resamples=101) == whole


def test_an_empty_cell_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        macro_bootstrap([[1.0], []])


def test_cluster_mean_weighs_values_and_the_interval_follows_clusters():
    clusters = [[1.0] * 10, [0.0] * 10]
    interval = cluster_bootstrap(clusters)
    # Two clusters that agree within themselves are two observations, not twenty.
    assert interval == Interval(0.5, 0.0, 1.0)
    assert cluster_bootstrap([[1.0, 1.0, 1.0], [0.0], []]).mean == 0.75

"""When a policy has surely passed its peak, on made-up courses; best-of-n against every subset."""

from itertools import combinations
from math import comb, log
from statistics import mean

import numpy as np
import pytest

from danlu.rl.frontier import best_of_n, best_of_n_kl, falling, smoothed

SURENESS = 4.0


def course(means, *, n_prompts=128, noise=0.4, shared=0.5, seed=0):
    """Measurements of prompts that differ among themselves and, in part, from look to look."""
    rng = np.random.default_rng(seed)
    prompts = rng.normal(0, noise * shared**0.5, n_prompts)
    return np.array([m + prompts + rng.normal(0, noise * (1 - shared) ** 0.5, n_prompts) for m in means])


def stopped_at(values):
    """The number of looks after which a run would have ended, or None."""
    looks = range(1, len(values) + 1)
    return next((n for n in looks if falling(values[:n], sureness=SURENESS)), None)


HUMP = [*np.linspace(0, 0.2, 10), *np.linspace(0.2, -0.2, 20)]


def test_without_noise_two_lower_looks_are_a_fall_and_one_is_not():
    def exact(*means):
        return np.repeat(np.array(means)[:, None], 4, axis=1)

    assert not falling(exact(0.0, 1.0, 0.5), sureness=SURENESS)
    assert falling(exact(0.0, 1.0, 0.5, 0.5), sureness=SURENESS)
    assert not falling(exact(0.0, 1.0, 1.0, 1.0), sureness=SURENESS)
    assert not falling(exact(0.0, 0.1, 0.2, 0.3), sureness=SURENESS)


def test_the_limit_is_that_many_standard_errors_of_the_paired_difference():
    # Two prompts' drops are 1 - e and 1 + e: mean 1, standard error e. With 2 values, one degree of freedom,
    # sureness s asks for s (1 + (s^2 + 1) / 4) standard errors; s = 1 for 1.5.
    def with_error(e):
        return np.array([[1 - e, 1 + e], [0.0, 0.0], [0.0, 0.0]])

    assert falling(with_error(0.66), sureness=1.0)
    assert not falling(with_error(0.67), sureness=1.0)


def test_a_rise_or_a_plateau_is_hardly_ever_taken_for_a_fall():
    flat = [stopped_at(course(np.zeros(16), seed=seed)) for seed in range(50)]
    rising = [stopped_at(course(np.linspace(0, 0.2, 16), seed=seed)) for seed in range(20)]
    assert sum(n is not None for n in flat) <= 5  # about one expected of 50
    assert rising == [None] * 20


def test_a_fall_is_seen_soon_after_the_peak_under_noise():
    # Each look's mean has a standard error of 0.035; the fall is 0.02 a look, from look 10 on.
    ends = [stopped_at(course(HUMP, seed=seed)) for seed in range(40)]
    assert None not in ends
    assert 12 <= np.median(ends) <= 19
    assert sum(n > 10 for n in ends) >= 39
    lost = [HUMP[9] - HUMP[int(np.argmax(smoothed(course(HUMP, seed=s)[:n])))] for s, n in enumerate(ends)]
    assert mean(lost) < 0.03  # what is published is nearly the peak


def test_smoothing_takes_each_look_with_its_neighbours():
    values = np.array([[0.0, 2.0], [3.0, 3.0], [4.0, 6.0], [0.0, 0.0]])  # means 1, 3, 5, 0
    assert smoothed(values) == pytest.approx([2.0, 3.0, 8 / 3])


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
def test_best_of_n_is_the_mean_over_all_subsets(n):
    scores = [0.3, -1.0, 2.0, 0.9, 0.1, 1.5, -0.2]
    worth = [5.0, 1.0, 0.0, 2.0, 7.0, 3.0, 4.0]
    subsets = list(combinations(range(7), n))
    assert len(subsets) == comb(7, n)
    expected = mean(worth[max(chosen, key=scores.__getitem__)] for chosen in subsets)
    assert best_of_n(scores, worth, n) == pytest.approx(expected)
    assert best_of_n(scores, scores, n) == pytest.approx(mean(max(scores[i] for i in s) for s in subsets))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_completions_that_score_the_same_share_the_chance(n):
    scores, worth = [1.0, 2.0, 2.0, 0.0], [3.0, 8.0, 0.0, 1.0]

    def share(chosen):
        best = max(scores[i] for i in chosen)
        return mean(worth[i] for i in chosen if scores[i] == best)

    expected = mean(share(chosen) for chosen in combinations(range(4), n))
    assert best_of_n(scores, worth, n) == pytest.approx(expected)


def test_a_larger_pool_estimates_the_same_with_less_spread():
    rng = np.random.default_rng(0)
    truth = np.sort(rng.normal(size=(40_000, 4)), axis=1)[:, -1].mean()  # 1.03 for four normals
    pools = [rng.normal(size=16) for _ in range(400)]
    pooled = [best_of_n(pool, pool, 4) for pool in pools]
    single = [max(pool[:4]) for pool in pools]
    assert mean(pooled) == pytest.approx(truth, abs=0.06)
    assert np.var(pooled) < 0.6 * np.var(single)


def test_kl_of_best_of_n_is_that_of_the_distribution_it_makes():
    assert best_of_n_kl(1) == 0
    # Of k equally likely answers in order of score, the i-th is the best of n with chance
    # (i/k)^n - ((i-1)/k)^n; for many answers KL tends to the formula from below.
    k, n = 4000, 8
    steps = np.arange(k + 1) / k
    chances = np.diff(steps**n)
    kl = float((chances * np.log(np.maximum(chances, 1e-300) * k)).sum())
    assert kl < best_of_n_kl(n) == pytest.approx(log(8) - 7 / 8)
    assert kl == pytest.approx(best_of_n_kl(n), abs=2e-3)


@pytest.mark.parametrize(("n", "worth"), [(0, [1.0, 2.0]), (3, [1.0, 2.0]), (1, [1.0])])
def test_an_impossible_pool_is_refused(n, worth):
    with pytest.raises(ValueError, match="from 2 scores"):
        best_of_n([1.0, 2.0], worth, n)

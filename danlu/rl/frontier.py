"""Over-optimisation: whether a policy has passed its peak, and what best-of-n buys for its KL."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_FALL = 2  # measurements after the peak: one alone may be a bad moment that the next update mends


def falling(values: Floats, *, sureness: float) -> bool:
    """Whether the latest measurements lie surely below earlier ones.

    Every run of measurements so far is held against all that followed it, two at least, prompt by prompt: the
    same prompts are answered each time, so the difference of the two means has the standard error of paired
    values. A slow fall is seen through long stretches, a steep one through short ones.

    Args:
        values: what the answers are worth, (measurements, prompts), the oldest first.
        sureness: standard errors by which the later stretch must lie lower, as of a normal distribution. Many
            stretches are compared and each may err, so this is more than the 2 of a single comparison.
    """
    n, n_prompts = values.shape
    # Few prompts have heavier tails: Student's quantile to second order (Fisher and Cornish 1960).
    limit = sureness * (1 + (sureness**2 + 1) / (4 * (n_prompts - 1)))
    sums = np.vstack([np.zeros(n_prompts), values.cumsum(axis=0)])
    for end in range(1, n - LEAST_FALL + 1):
        later = (sums[n] - sums[end]) / (n - end)
        lengths = end - np.arange(end)
        earlier = (sums[end] - sums[:end]) / lengths[:, None]
        drop = earlier - later
        error = drop.std(axis=1, ddof=1) / math.sqrt(n_prompts)
        if np.any(drop.mean(axis=1) > np.maximum(limit * error, 1e-9)):
            return True
    return False


def smoothed(values: Floats) -> Floats:
    """Mean worth of each measurement and its neighbours, (measurements - 1,); the last lacks one."""
    means = values.mean(axis=1)
    around = [means[max(0, i - 1) : i + 2].mean() for i in range(len(means) - 1)]
    return np.array(around)


def best_of_n(scores: Sequence[float], worth: Sequence[float], n: int) -> float:
    """Expected worth of the completion that scores best among `n`, from a pool of more.

    Unbiased and with less variance than drawing groups: the mean over all subsets of `n`, in closed form
    (Nakano et al. 2021, WebGPT, appendix I). Of completions that score the same each is as likely the best.

    Args:
        scores: what the choice goes by, one for each completion of the pool.
        worth: what is averaged, in the same order; the scores themselves, or what they stand for.
        n: at most the size of the pool.
    """
    size = len(scores)
    if len(worth) != size or not 1 <= n <= size:
        raise ValueError(
            f"best of {n} from {size} scores and {len(worth)} values; n must be from 1 to the size of the "
            "pool, and both must have one number for each completion"
        )
    order = np.argsort(scores, kind="stable")
    ranked, values = np.asarray(scores, dtype=np.float64)[order], np.asarray(worth, dtype=np.float64)[order]
    # Subsets whose best is the i-th from below: it and n - 1 of the i before it.
    chances = np.array([math.comb(i, n - 1) / math.comb(size, n) for i in range(size)])
    expected = 0.0
    for score in np.unique(ranked):
        level = ranked == score
        expected += float(chances[level].sum() * values[level].mean())
    return expected


def best_of_n_kl(n: int) -> float:
    """KL of best-of-n from what it draws from, in nats: log n - (n - 1) / n (Stiennon et al. 2020, app. G.3).

    Exact where no two completions score the same, otherwise a bound from above (Beirami et al. 2024).
    """
    return math.log(n) - (n - 1) / n

"""How sure a measured share or difference is: Wilson intervals and seeded bootstraps, in numpy alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959963984540054  # the 97.5th percentile of the standard normal
N_RESAMPLES = 4000
CHUNK = 2_000_000  # random indices drawn at a time, so that a large exam needs little memory

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its 95 % interval."""

    mean: float
    low: float
    high: float

    def to_tree(self) -> dict[str, float]:
        return {"mean": self.mean, "low": self.low, "high": self.high}

    @classmethod
    def from_tree(cls, tree: Mapping[str, float]) -> Interval:
        return cls(tree["mean"], tree["low"], tree["high"])


def wilson(successes: float, n: int) -> Interval:
    """Score interval of a share (Wilson 1927); never empty, also at 0 and at 1.

    `successes` may be a sum of grades between 0 and 1: such a sum varies less than a count does, so the
    interval is then too wide rather than too narrow.
    """
    if n < 1 or not -1e-9 <= successes <= n + 1e-9:
        raise ValueError(
            f"{successes} successes of {n}: needs at least one trial and 0 <= successes <= trials"
        )
    share = min(max(successes / n, 0.0), 1.0)
    shrink = 1 + Z_95**2 / n
    centre = (share + Z_95**2 / (2 * n)) / shrink
    half = Z_95 / shrink * math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2))
    # Rounding must not put the estimate itself outside its interval.
    return Interval(share, min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share))


def macro_bootstrap(
    cells: Sequence[Sequence[float]], *, seed: int = 0, n_resamples: int = N_RESAMPLES
) -> Interval:
    """Mean of the cells' means, each cell resampled by itself.

    For two models pass their differences on the same questions: the interval is then a paired one. Deviations
    are scaled by sqrt(n / (n - 1)), without which a bootstrap of small strata is too sure of itself
    (Rao and Wu 1988); a cell of one question has no spread to resample and adds none.
    """
    if not cells or any(len(cell) == 0 for cell in cells):
        raise ValueError(f"cells hold {[len(cell) for cell in cells]} values; each must hold at least one")
    arrays = [np.asarray(cell, dtype=np.float64) for cell in cells]
    estimate = float(np.mean([array.mean() for array in arrays]))
    deviations = np.zeros(n_resamples)
    for index, array in enumerate(arrays):
        rng = np.random.default_rng((seed, index))
        deviations += cell_deviations(array, rng, n_resamples) / len(arrays)
    low, high = np.quantile(deviations, (0.025, 0.975))
    return Interval(estimate, estimate + float(low), estimate + float(high))


def cell_deviations(values: Floats, rng: np.random.Generator, n_resamples: int) -> Floats:
    """Resampled means less the mean, (n_resamples,)."""
    n = len(values)
    scale = math.sqrt(n / (n - 1)) if n > 1 else 1.0
    means = [values[index].mean(axis=1) for index in resamples(n, rng, n_resamples)]
    return scale * (np.concatenate(means) - values.mean())


def cluster_bootstrap(
    clusters: Sequence[Sequence[float]], *, seed: int = 0, n_resamples: int = N_RESAMPLES
) -> Interval:
    """Mean over all values, whole clusters resampled: for values that are not independent within one.

    The comparisons of one prompt's completions share their answers, so the prompt is the unit that varies.
    """
    filled = [cluster for cluster in clusters if len(cluster)]
    if not filled:
        raise ValueError("no cluster holds a value; at least one must")
    sums = np.array([math.fsum(cluster) for cluster in filled])
    sizes = np.array([len(cluster) for cluster in filled], dtype=np.float64)
    rng = np.random.default_rng(seed)
    parts = [sums[i].sum(axis=1) / sizes[i].sum(axis=1) for i in resamples(len(filled), rng, n_resamples)]
    low, high = np.quantile(np.concatenate(parts), (0.025, 0.975))
    return Interval(float(sums.sum() / sizes.sum()), float(low), float(high))


def resamples(n: int, rng: np.random.Generator, n_resamples: int) -> list[NDArray[np.int64]]:
    """Index draws with replacement, as arrays of (some of the resamples, n)."""
    rows = max(1, CHUNK // n)
    counts = [min(rows, n_resamples - start) for start in range(0, n_resamples, rows)]
    return [rng.integers(0, n, size=(count, n)) for count in counts]

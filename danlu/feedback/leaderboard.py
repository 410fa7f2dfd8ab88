"""Who wins: strengths of models from pairwise comparisons, with how sure they are.

Bradley and Terry 1952: i beats j with probability 1 / (1 + exp(s_j - s_i)); a tie is half a win for each.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

ELO = 400 / math.log(10)  # points of a chess rating in one unit of strength
Z95 = 1.959964  # quantile of the normal distribution that leaves 2.5 % above it
N_STEPS, CLOSE = 100, 1e-10

Wins = dict[tuple[str, str], float]  # (winner, loser) → how often


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One model among those it was compared with."""

    name: str
    strength: float  # in Elo points; 0 is an average model
    low: float  # of the interval that holds it with a probability of 95 %
    high: float
    n: int  # comparisons with one other


def leaderboard(rankings: Iterable[tuple[Sequence[str], Sequence[int]]]) -> list[Standing]:
    """The models of some rankings, the strongest first.

    Each ranking counts for all its pairs. One imagined tie of each model with an average one keeps a model
    that has only won within bounds.

    Args:
        rankings: names and their ranks, 1 being best; a name that stands twice is not compared with itself.
    """
    wins, counts = pairs(rankings)
    names = sorted(counts)
    strengths = [0.0] * len(names)
    for _ in range(N_STEPS):
        slope, curvature = _derivatives(names, wins, strengths)
        step = [sum(a * b for a, b in zip(row, slope, strict=True)) for row in inverse(curvature)]
        strengths = [s + d for s, d in zip(strengths, step, strict=True)]
        if max(map(abs, step), default=0.0) < CLOSE:
            break
    spread = inverse(_derivatives(names, wins, strengths)[1])
    found = [
        _standing(name, strengths[i], math.sqrt(spread[i][i]), counts[name]) for i, name in enumerate(names)
    ]
    return sorted(found, key=lambda each: -each.strength)


def pairs(rankings: Iterable[tuple[Sequence[str], Sequence[int]]]) -> tuple[Wins, Mapping[str, int]]:
    """How often each model beat each other, and how many comparisons it was in."""
    wins: Wins = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for names, ranks in rankings:
        for (a, rank_a), (b, rank_b) in combinations(zip(names, ranks, strict=True), 2):
            if a == b:
                continue
            share = 0.5 if rank_a == rank_b else float(rank_a < rank_b)
            wins[a, b] += share
            wins[b, a] += 1 - share
            counts[a] += 1
            counts[b] += 1
    return wins, counts


def inverse(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """The inverse of a positive definite matrix, (n, n), by Gauss and Jordan."""
    n = len(matrix)
    rows = [[*row, *(float(i == j) for j in range(n))] for i, row in enumerate(matrix)]
    for i in range(n):
        rows[i] = [each / rows[i][i] for each in rows[i]]
        for j in range(n):
            if j != i:
                rows[j] = [a - rows[j][i] * b for a, b in zip(rows[j], rows[i], strict=True)]
    return [row[n:] for row in rows]


def _derivatives(
    names: Sequence[str], wins: Wins, strengths: Sequence[float]
) -> tuple[list[float], list[list[float]]]:
    """Slope of the log-likelihood, and minus its second derivative, (n,) and (n, n)."""
    n = len(names)
    chances = [_chance(each) for each in strengths]
    slope = [0.5 - p for p in chances]  # of the imagined ties
    curvature = [[p * (1 - p) if i == j else 0.0 for j in range(n)] for i, p in enumerate(chances)]
    for i, j in combinations(range(n), 2):
        won, lost = wins.get((names[i], names[j]), 0.0), wins.get((names[j], names[i]), 0.0)
        p = _chance(strengths[i] - strengths[j])
        surplus, weight = won - (won + lost) * p, (won + lost) * p * (1 - p)
        slope[i] += surplus
        slope[j] -= surplus
        curvature[i][i] += weight
        curvature[j][j] += weight
        curvature[i][j] -= weight
        curvature[j][i] -= weight
    return slope, curvature


def _chance(difference: float) -> float:
    return 1 / (1 + math.exp(-difference))


def _standing(name: str, strength: float, error: float, n: int) -> Standing:
    return Standing(
        name=name,
        strength=ELO * strength,
        low=ELO * (strength - Z95 * error),
        high=ELO * (strength + Z95 * error),
        n=n,
    )

"""How far people agree: Krippendorff's alpha, pairs of answers put in the same order, each person's noise."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Literal

Metric = Literal["nominal", "ordinal", "interval"]
Value = int | float | Fraction
Difference = Callable[[Value, Value], float]

N_SWEEPS = 200  # of fitting reliabilities; each comes nearer by a constant factor
PRIOR = 1.0  # imagined pairs, half of them agreed: a single common pair proves little


@dataclass(frozen=True, slots=True)
class Judged:
    """What one person made of some answers."""

    person: str
    ranks: Mapping[str, int]  # answer → rank; 1 is best, equal = tie


def krippendorff_alpha(units: Iterable[Sequence[Value]], metric: Metric = "ordinal") -> float | None:
    """1 is perfect agreement, 0 what chance gives.

    Krippendorff 2011, Computing Krippendorff's Alpha-Reliability.

    Args:
        units: the values that observers gave to each unit; whoever gave none is left out.

    Returns:
        None where no unit has two values, or all values are equal: there is then nothing to agree on.
    """
    coincidences: dict[tuple[Value, Value], float] = defaultdict(float)
    totals: Counter[Value] = Counter()
    for values in units:
        counts, n = Counter(values), len(values)
        if n < 2:
            continue
        totals.update(counts)
        for c, n_c in counts.items():
            for k, n_k in counts.items():
                coincidences[c, k] += n_c * (n_k - (c == k)) / (n - 1)
    difference = DIFFERENCES[metric](totals)
    expected = sum(2 * totals[c] * totals[k] * difference(c, k) for c, k in combinations(sorted(totals), 2))
    if not expected:
        return None
    observed = sum(pairs * difference(c, k) for (c, k), pairs in coincidences.items() if c != k)
    return 1 - (totals.total() - 1) * observed / expected


def nominal(totals: Mapping[Value, int]) -> Difference:
    """Squared difference of names: they are the same or not."""
    return lambda c, k: float(c != k)


def interval(totals: Mapping[Value, int]) -> Difference:
    """Squared difference of numbers."""
    return lambda c, k: float(c - k) ** 2


def ordinal(totals: Mapping[Value, int]) -> Difference:
    """Squared number of values given between two, of those themselves half."""
    order = sorted(totals)
    places: dict[Value, float] = {}
    below = 0
    for value in order:
        places[value] = below + totals[value] / 2
        below += totals[value]
    return lambda c, k: (places[c] - places[k]) ** 2


def standing(ranks: Mapping[str, int]) -> dict[str, Fraction]:
    """Where each answer stands from 0, better than all, to 1: ties share the middle of their places.

    Places among two and among nine answers, and 1, 1, 2 and 1, 2, 3, thus mean the same to alpha.
    """
    n, counts = len(ranks), Counter(ranks.values())
    better = {rank: sum(counts[each] for each in counts if each < rank) for rank in counts}
    return {answer: Fraction(2 * better[rank] + counts[rank], 2 * n) for answer, rank in ranks.items()}


def ranking_alpha(sets: Iterable[Sequence[Judged]]) -> float | None:
    """Ordinal alpha; a unit is one answer among those it was ranked with.

    Args:
        sets: for each set of answers, what each person made of it.
    """
    units: list[list[Value]] = []
    for people in sets:
        placed = [standing(each.ranks) for each in people]
        for answer in placed[0]:
            units.append([place[answer] for place in placed])
    return krippendorff_alpha(units)


def agreement(a: Judged, b: Judged, same: Callable[[str, str], bool] | None = None) -> tuple[float, int]:
    """Of how many pairs of answers two people say the same, and how many there are.

    The same order, or a tie for both, is agreement; a tie for one of them counts half.

    Args:
        same: whether two answers read the same; such pairs are left out.
    """
    agreed, n = 0.0, 0
    for first, second in combinations(a.ranks, 2):
        if same is not None and same(first, second):
            continue
        orders = [_sign(each.ranks[second] - each.ranks[first]) for each in (a, b)]
        n += 1
        agreed += 0.5 if (orders[0] == 0) != (orders[1] == 0) else float(orders[0] == orders[1])
    return agreed, n


def noise(met: Mapping[tuple[str, str], tuple[float, int]]) -> dict[str, float]:
    """How often each person orders a pair against the truth, as their agreement with the others shows it.

    If person i errs with probability e_i, independently of the others, i and j agree with probability
    (1 + c_i c_j) / 2, where c_i = 1 - 2 e_i (Dawid and Skene 1979, for two classes and one error rate a
    person). All c_i move together towards their least-squares values given the others. Two people alone
    cannot be told apart: both get the same.

    Args:
        met: for each two people, the agreed pairs and how many they both judged.
    """
    others: dict[str, list[tuple[str, float, float]]] = defaultdict(list)
    for (a, b), (agreed, n) in met.items():
        if n:
            excess = (2 * agreed - n) / (n + PRIOR)
            others[a].append((b, excess, n))
            others[b].append((a, excess, n))
    reliability = dict.fromkeys(others, 0.7)
    for _ in range(N_SWEEPS):
        # Half of the way each time, or two people who met only each other would swing for ever.
        reliability = {
            person: (reliability[person] + _fitting(meetings, reliability)) / 2
            for person, meetings in others.items()
        }
    return {person: (1 - reliability[person]) / 2 for person in sorted(reliability)}


def _fitting(meetings: Sequence[tuple[str, float, float]], reliability: Mapping[str, float]) -> float:
    """The reliability from 0 to 1 that fits somebody's excess agreements best, given the others'."""
    above = sum(n * excess * reliability[other] for other, excess, n in meetings)
    below = sum(n * reliability[other] ** 2 for other, _, n in meetings)
    return min(1.0, max(0.0, above / below)) if below else 0.0


def by_pairs_of_people(
    sets: Iterable[Sequence[Judged]], same: Callable[[str, str], bool] | None = None
) -> dict[tuple[str, str], tuple[float, int]]:
    """For each two people, on how many pairs of answers they agree, and how many they both judged."""
    met: dict[tuple[str, str], tuple[float, int]] = {}
    for people in sets:
        for a, b in combinations(sorted(people, key=lambda each: each.person), 2):
            agreed, n = agreement(a, b, same)
            before = met.get((a.person, b.person), (0.0, 0))
            met[a.person, b.person] = (before[0] + agreed, before[1] + n)
    return met


def share(parts: Iterable[tuple[float, int]]) -> float | None:
    """Sums of agreed and judged pairs as one share; None where there are none."""
    both = list(parts)
    n = sum(each for _, each in both)
    return math.fsum(agreed for agreed, _ in both) / n if n else None


def grouped(judged: Iterable[tuple[Hashable, Judged]]) -> list[list[Judged]]:
    """Judgements by what they are about, of each person the last, where there are at least two people."""
    sets: dict[Hashable, dict[str, Judged]] = defaultdict(dict)
    for about, each in judged:
        sets[about][each.person] = each
    return [list(people.values()) for people in sets.values() if len(people) > 1]


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


DIFFERENCES: Mapping[Metric, Callable[[Mapping[Value, int]], Difference]] = {
    "nominal": nominal,
    "ordinal": ordinal,
    "interval": interval,
}

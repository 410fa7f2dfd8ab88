"""How well a reward model's scores agree with rankings: accuracy with its interval, and calibration."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from danlu.evaluate.statistics import Interval, cluster_bootstrap

N_BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two completions of one prompt, as their ranking orders them and as the model scores them."""

    prompt: str  # pairs of one prompt share completions and are resampled together
    margin: float  # score of the better less score of the worse; for a tie, of the one less the other
    tie: bool = False  # the ranking puts them level
    kind: str = "any"  # what sets the two apart: a fact, honesty, language, …
    language: str = "any"

    @property
    def credit(self) -> float:
        """1 if the model orders the pair as the ranking does, one half if it cannot tell them apart."""
        return 0.5 if self.margin == 0 else float(self.margin > 0)


def pairs_of(
    prompt: str,
    scores: Sequence[float],
    ranks: Sequence[int],
    *,
    language: str = "any",
    kind: Callable[[int, int], str] | None = None,
) -> Iterator[Pair]:
    """All pairs of one prompt's completions.

    Args:
        prompt: identifies the prompt.
        scores: the model's score of each completion.
        ranks: 1 is best, equal numbers are a tie.
        language: of the prompt.
        kind: names what sets completions i and j apart.
    """
    for i, j in combinations(range(len(scores)), 2):
        better, worse = (i, j) if ranks[i] <= ranks[j] else (j, i)
        yield Pair(
            prompt=prompt,
            margin=scores[better] - scores[worse],
            tie=ranks[i] == ranks[j],
            kind=kind(i, j) if kind else "any",
            language=language,
        )


def accuracy(pairs: Iterable[Pair]) -> Interval:
    """Share of pairs ordered as ranked, ties in the ranking left out; whole prompts are resampled."""
    clusters: dict[str, list[float]] = defaultdict(list)
    for pair in pairs:
        if not pair.tie:
            clusters[pair.prompt].append(pair.credit)
    return cluster_bootstrap(list(clusters.values()))


def summarise_pairs(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Accuracy over all, by kind of difference and by language, with the calibration, as plain values."""
    strict = [pair for pair in pairs if not pair.tie]
    return {
        **counted_accuracy(strict),
        "n_ties": len(pairs) - len(strict),
        "n_prompts": len({pair.prompt for pair in pairs}),
        "kinds": by(strict, lambda pair: pair.kind),
        "languages": by(strict, lambda pair: pair.language),
        "calibration": calibration(pairs),
    }


def by(pairs: Iterable[Pair], key: Callable[[Pair], str]) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[key(pair)].append(pair)
    return {name: counted_accuracy(group) for name, group in sorted(groups.items())}


def counted_accuracy(strict: Sequence[Pair]) -> dict[str, Any]:
    return {"n_pairs": len(strict), "accuracy": accuracy(strict).to_tree() if strict else None}


def calibration(pairs: Iterable[Pair], n_bins: int = N_BINS) -> dict[str, Any]:
    """How often people agree, for each level of the model's own confidence.

    The model's probability for the order that it prefers is sigmoid(|difference of scores|), from one half to
    one; people agreed (1), disagreed (0) or saw no difference (one half). Where the model itself sees no
    difference there is no preferred order, and the pair counts one half. The expected calibration error is
    the mean distance between the two, weighted by the pairs in each bin (Guo et al. 2017, eq. 3).
    """
    bins: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for pair in pairs:
        confidence = 1 / (1 + math.exp(-abs(pair.margin)))
        index = min(int((confidence - 0.5) * 2 * n_bins), n_bins - 1)
        bins[index].append((confidence, 0.5 if pair.tie else pair.credit))
    points = [calibration_point(bins[index]) for index in sorted(bins)]
    total = sum(point["n"] for point in points)
    error = sum(point["n"] * abs(point["predicted"] - point["observed"]) for point in points)
    return {"points": points, "expected_error": error / total if total else None}


def calibration_point(entries: Sequence[tuple[float, float]]) -> dict[str, float]:
    n = len(entries)
    return {
        "n": n,
        "predicted": sum(confidence for confidence, _ in entries) / n,
        "observed": sum(agreed for _, agreed in entries) / n,
    }

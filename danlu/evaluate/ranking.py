"""How well a reward model's scores agree with rankings: accuracy with its interval, and calibration."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from danlu.evaluate.statistics import Interval, cluster_bootstrap

N_BINS = 10

Outcomes = tuple[float, float, float]  # how likely: the better wins, they are called level, the worse wins


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two completions of one prompt, as their ranking orders them and as the model scores them."""

    prompt: str  # pairs of one prompt share completions and are resampled together
    margin: float  # score of the better less score of the worse; for a tie, of the one less the other
    tie: bool = False  # the ranking puts them level
    kind: str = "any"  # what sets the two apart: a fact, honesty, language, …
    language: str = "any"
    rater: str = ""  # who ranked them, where that is known
    outcomes: Outcomes | None = None  # how likely each is by a model of ties; None = scores are all there is

    @property
    def credit(self) -> float:
        """1 if the model orders the pair as the ranking does, one half if it cannot tell them apart."""
        return 0.5 if self.margin == 0 else float(self.margin > 0)

    @property
    def confidence(self) -> float:
        """The model's probability for the order that it prefers, a tie being half of either."""
        if self.outcomes is None:
            return 1 / (1 + math.exp(-abs(self.margin)))
        wins, ties, loses = self.outcomes
        return max(wins, loses) + ties / 2

    @property
    def foretold(self) -> float:
        """1 if what the raters said is what a model of ties thinks most likely."""
        wins, ties, loses = self.outcomes or (0.0, 0.0, 0.0)
        return float(ties > max(wins, loses) if self.tie else wins >= ties and wins > loses)


def pairs_of(
    prompt: str,
    scores: Sequence[float],
    ranks: Sequence[int],
    *,
    language: str = "any",
    kind: Callable[[int, int], str] | None = None,
    rater: str = "",
    outcomes: Callable[[float], Outcomes] | None = None,
) -> Iterator[Pair]:
    """All pairs of one prompt's completions.

    Args:
        prompt: identifies the prompt.
        scores: the model's score of each completion.
        ranks: 1 is best, equal numbers are a tie.
        language: of the prompt.
        kind: names what sets completions i and j apart.
        rater: who ranked them.
        outcomes: how likely a win, a tie and a loss are at a difference of scores, by a model of ties.
    """
    for i, j in combinations(range(len(scores)), 2):
        better, worse = (i, j) if ranks[i] <= ranks[j] else (j, i)
        margin = scores[better] - scores[worse]
        yield Pair(
            prompt=prompt,
            margin=margin,
            tie=ranks[i] == ranks[j],
            kind=kind(i, j) if kind else "any",
            language=language,
            rater=rater,
            outcomes=outcomes(margin) if outcomes else None,
        )


def accuracy(pairs: Iterable[Pair]) -> Interval:
    """Share of pairs ordered as ranked, ties in the ranking left out; whole prompts are resampled."""
    return cluster_bootstrap(clustered((p for p in pairs if not p.tie), lambda pair: pair.credit))


def summarise_pairs(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Accuracy over all, by kind of difference, language and rater, ties and calibration, as plain values."""
    strict = [pair for pair in pairs if not pair.tie]
    named = [pair for pair in strict if pair.rater]
    return {
        **counted_accuracy(strict),
        "n_ties": len(pairs) - len(strict),
        "n_prompts": len({pair.prompt for pair in pairs}),
        "kinds": by(strict, lambda pair: pair.kind),
        "languages": by(strict, lambda pair: pair.language),
        **({"raters": by(named, lambda pair: pair.rater)} if named else {}),
        **({"ties": ties(pairs)} if len(strict) < len(pairs) else {}),
        "calibration": calibration(pairs),
    }


def ties(pairs: Sequence[Pair]) -> dict[str, Any]:
    """What the model makes of pairs that people call level, beside those that they do not.

    `smaller_gap` is how often a level pair's scores lie closer together than another pair's (the area under
    the curve of telling them apart by it). With a model of ties there are also how often what people said was
    foretold, of either kind and of all pairs, and observed against predicted shares of ties.
    """
    level, apart = [p for p in pairs if p.tie], [p for p in pairs if not p.tie]
    found: dict[str, Any] = {
        "n_pairs": len(level),
        "mean_gap": {name: mean_gap(group) for name, group in (("level", level), ("apart", apart)) if group},
        "smaller_gap": smaller_gap(level, apart) if apart else None,
    }
    if all(pair.outcomes is not None for pair in pairs):
        found["accuracy"] = {
            name: cluster_bootstrap(clustered(group, lambda pair: pair.foretold)).to_tree()
            for name, group in (("all", pairs), ("level", level), ("apart", apart))
            if group
        }
        found["calibration"] = reliability(
            [(pair.outcomes[1], float(pair.tie)) for pair in pairs if pair.outcomes], lambda share: share
        )
    return found


def mean_gap(pairs: Sequence[Pair]) -> float:
    return math.fsum(abs(pair.margin) for pair in pairs) / len(pairs)


def smaller_gap(level: Sequence[Pair], apart: Sequence[Pair]) -> float:
    """How often, of a level pair and another, the level one's gap is smaller; equal gaps count half."""
    gaps = sorted(abs(pair.margin) for pair in apart)
    above = sum(
        len(gaps) - (bisect_left(gaps, gap) + bisect_right(gaps, gap)) / 2
        for gap in (abs(pair.margin) for pair in level)
    )
    return above / (len(level) * len(gaps))


def clustered(pairs: Iterable[Pair], value: Callable[[Pair], float]) -> list[list[float]]:
    """A value of each pair, those of one prompt together."""
    clusters: dict[str, list[float]] = defaultdict(list)
    for pair in pairs:
        clusters[pair.prompt].append(value(pair))
    return list(clusters.values())


def by(pairs: Iterable[Pair], key: Callable[[Pair], str]) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[key(pair)].append(pair)
    return {name: counted_accuracy(group) for name, group in sorted(groups.items())}


def counted_accuracy(strict: Sequence[Pair]) -> dict[str, Any]:
    return {
        "n_pairs": len(strict),
        "n_prompts": len({pair.prompt for pair in strict}),
        "accuracy": accuracy(strict).to_tree() if strict else None,
    }


def calibration(pairs: Iterable[Pair], n_bins: int = N_BINS) -> dict[str, Any]:
    """How often people agree, for each level of the model's own confidence.

    The model's probability for the order that it prefers is sigmoid(|difference of scores|), or what a model
    of ties says, from one half to one; people agreed (1), disagreed (0) or saw no difference (one half).
    Where the model itself sees no difference there is no preferred order, and the pair counts one half. The
    expected calibration error is the mean distance between the two, weighted by the pairs in each bin
    (Guo et al. 2017, eq. 3).
    """
    entries = [(pair.confidence, 0.5 if pair.tie else pair.credit) for pair in pairs]
    return reliability(entries, lambda confidence: (confidence - 0.5) * 2, n_bins)


def reliability(
    entries: Iterable[tuple[float, float]], position: Callable[[float], float], n_bins: int = N_BINS
) -> dict[str, Any]:
    """Predicted against observed, by bins of what was predicted, and the expected distance of the two.

    Args:
        entries: what was predicted and what was seen.
        position: where a prediction lies between the first bin's beginning, 0, and the last one's end, 1.
        n_bins: bins of equal width.
    """
    bins: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for predicted, seen in entries:
        bins[min(int(position(predicted) * n_bins), n_bins - 1)].append((predicted, seen))
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

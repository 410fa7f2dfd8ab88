"""What `danlu reward` is told of the people who ranked, and what it is to learn of them."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from danlu.config import ConfigError
from danlu.data.chats import Comparison
from danlu.model.raters import RaterModel, tie_start
from danlu.objectives.ranking import WITH_TIES, Ranking


@dataclass(frozen=True, slots=True, kw_only=True)
class RatersConfig:
    weights: Mapping[str, float] = field(default_factory=dict)  # what a rater's rankings count; others, one
    folds: int = 0  # groups of raters, each left out of a further model that is measured on them; 0 = none
    left_out: int | None = None  # train the model of this fold and no other

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if not 0 < weight < float("inf"):
                raise ConfigError(f"weights.{name} is {weight}; it must be above 0, or leave the records out")
        if self.folds < 0 or self.folds == 1:
            raise ConfigError(f"folds is {self.folds}; it must be 0 or at least 2")
        if self.left_out is not None and not 0 <= self.left_out < self.folds:
            raise ConfigError(f"left_out is {self.left_out}; it must be below folds, {self.folds}")


def weighted(comparisons: Sequence[Comparison], weights: Mapping[str, float]) -> list[Comparison]:
    """The comparisons, each with its rater's weight."""
    names = {comparison.annotator for comparison in comparisons}
    unknown = sorted(weights.keys() - names)
    if unknown:
        raise ConfigError(f"raters.weights names {unknown}; those who ranked are {sorted(names - {''})}")
    return [replace(each, weight=weights.get(each.annotator, 1.0)) for each in comparisons]


def rater_model(objective: Ranking, comparisons: Sequence[Comparison]) -> RaterModel | None:
    """The tie parameter and the raters' scales at their start, where the objective learns any."""
    log_tie, n_rankings = None, None
    if objective.kind in WITH_TIES:
        tied = share_tied(comparisons)
        if not tied:
            raise ConfigError(
                f"objective.kind is {objective.kind!r}, but no ranking has a tie to learn from; "
                "use 'bradley_terry' or 'plackett_luce'"
            )
        log_tie = tie_start(objective.kind, tied)
    if objective.rater_noise:
        n_rankings = Counter(each.annotator for each in comparisons if each.annotator)
        if len(n_rankings) < 2:
            raise ConfigError(
                f"objective.rater_noise is on, but the rankings name {len(n_rankings)} raters (field "
                "'annotator'); it needs two or more to compare"
            )
    if log_tie is None and n_rankings is None:
        return None
    return RaterModel(objective.kind, log_tie=log_tie, n_rankings=n_rankings)


def share_tied(comparisons: Sequence[Comparison]) -> float:
    """How often two completions of one ranking are called level, every ranking weighing one."""
    shares: list[float] = []
    for comparison in comparisons:
        n = len(comparison.ranks)
        level = sum(count * (count - 1) for count in Counter(comparison.ranks).values())
        shares.append(level / (n * (n - 1)))
    return statistics.fmean(shares)

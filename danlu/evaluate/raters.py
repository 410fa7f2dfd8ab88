"""Who ranked: how far raters agree, who contradicts the others, and who is left out to be foretold."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any
from zlib import crc32

from danlu.config import ConfigError
from danlu.data.chats import Comparison
from danlu.evaluate.statistics import cluster_bootstrap

FEWEST = 10  # prompts shared with others before anybody is called contrary
# Of two texts: who said something of them, and whether the first is the better.
Verdicts = dict[tuple[str, str], list[tuple[str, bool]]]


def prompt_key(comparison: Comparison) -> str:
    """The same for all rankings of one prompt's completions."""
    return json.dumps(list(comparison.prompt), ensure_ascii=False)


def agreement(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """How often two raters order the same two completions alike: the ceiling of what a model can foretell.

    Pairs that either calls level are left out, as they are from accuracy; whole prompts are resampled.

    Returns:
        Over all raters and of each with all others: pairs of verdicts and the share that agrees. Those whose
        interval lies below one half are `contrary`. Empty where nobody ranked what another did.
    """
    clusters: dict[str, list[float]] = {}
    own: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for prompt, verdicts in verdicts_by_prompt(comparisons).items():
        values: list[float] = []
        for said in verdicts.values():
            for (one, first), (other, second) in combinations(said, 2):
                if one == other:
                    continue
                values.append(float(first == second))
                for rater in (one, other):
                    own[rater][prompt].append(float(first == second))
        if values:
            clusters[prompt] = values
    if not clusters:
        return {}
    raters = {name: counted(list(found.values())) for name, found in sorted(own.items())}
    return {
        **counted(list(clusters.values())),
        "raters": raters,
        "contrary": [
            name
            for name, found in raters.items()
            if found["agreement"]["high"] < 0.5 and len(own[name]) >= FEWEST
        ],
    }


def verdicts_by_prompt(comparisons: Sequence[Comparison]) -> dict[str, Verdicts]:
    """Of each prompt and each two of its completions, what named raters said who did not call them level."""
    found: dict[str, Verdicts] = defaultdict(lambda: defaultdict(list))
    for comparison in comparisons:
        if not comparison.annotator:
            continue
        ranked = sorted(zip(comparison.completions, comparison.ranks, strict=True))
        for (one, first), (other, second) in combinations(ranked, 2):
            if one != other and first != second:
                found[prompt_key(comparison)][one, other].append((comparison.annotator, first < second))
    return found


def counted(clusters: Sequence[Sequence[float]]) -> dict[str, Any]:
    return {"n_pairs": sum(map(len, clusters)), "agreement": cluster_bootstrap(clusters).to_tree()}


def equal_but_ranked_apart(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Rankings that put one of two equal completions before the other: no score can do that."""
    return [
        comparison
        for comparison in comparisons
        if len(set(zip(comparison.completions, comparison.ranks, strict=True)))
        > len(set(comparison.completions))
    ]


@dataclass(frozen=True, slots=True)
class Fold:
    """Rankings to learn from, and two sets to measure on, of prompts that are not among them."""

    train: list[Comparison]
    known_raters: list[Comparison]  # by those who made the rankings to learn from
    new_raters: list[Comparison]  # by those whose rankings were all left out


def fold_of(comparisons: Sequence[Comparison], n: int, k: int) -> Fold:
    """Fold k of n: a group of raters and a share of the prompts are left out.

    Raters are dealt to the groups by how much they ranked, prompts by a hash, so that no prompt that is
    measured on was learnt from through another rater.

    Raises:
        ConfigError: there are fewer named raters than folds, or a part is empty.
    """
    counts = Counter(comparison.annotator for comparison in comparisons if comparison.annotator)
    if len(counts) < n:
        raise ConfigError(
            f"raters.folds is {n}, but the rankings name {len(counts)} raters (field 'annotator'); "
            "each fold needs at least one"
        )
    by_size = sorted(counts, key=lambda name: (-counts[name], name))
    left_out = set(by_size[k::n])
    fold = Fold([], [], [])
    for comparison in comparisons:
        new, measured = comparison.annotator in left_out, crc32(prompt_key(comparison).encode()) % n == k
        if measured:
            (fold.new_raters if new else fold.known_raters).append(comparison)
        elif not new:
            fold.train.append(comparison)
    for name in ("train", "known_raters", "new_raters"):
        if not getattr(fold, name):
            raise ConfigError(f"raters.folds is {n}, and in fold {k} {name} is empty; use fewer folds")
    return fold

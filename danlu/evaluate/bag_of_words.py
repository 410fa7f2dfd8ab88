"""What a reward model has to beat: preferences told from counts of words and from length alone."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations, pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from danlu.data.quality import UNIT

N_HASHED = 1 << 16
N_FEATURES = N_HASHED + 3  # and three of length
MAX_CHARACTERS = 4000  # of a completion that are looked at
PENALTIES = (3e-5, 1e-4, 3e-4, 1e-3)  # of which the one that does best on prompts left out is taken
LEFT_OUT = 5  # every fifth prompt
N_STEPS = 120
BLANK = re.compile(r"\s+")

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Sparse feature vectors one after the other: row i is columns[starts[i] : starts[i + 1]]."""

    columns: NDArray[np.int64]
    values: Floats
    starts: NDArray[np.int64]

    def times(self, weights: Floats) -> Floats:
        """A score for each row."""
        return np.add.reduceat(self.values * weights[self.columns], self.starts[:-1])

    def transposed_times(self, rows: Floats) -> Floats:
        """The sum of all rows, each times its factor, (n_features,)."""
        factors = np.repeat(rows, np.diff(self.starts))
        return weighted_counts(self.columns, self.values * factors, N_FEATURES)


@dataclass(frozen=True, slots=True)
class Preferences:
    """Pairs of rows, the better first; the pairs of one prompt weigh one together."""

    better: NDArray[np.int64]
    worse: NDArray[np.int64]
    weights: Floats
    prompts: NDArray[np.int64]

    def of(self, chosen: NDArray[np.bool_]) -> Preferences:
        return Preferences(
            self.better[chosen], self.worse[chosen], self.weights[chosen], self.prompts[chosen]
        )


class BagOfWords:
    """Bradley-Terry model (1952) whose strengths are linear in counts of words, phrases and letters."""

    def __init__(self, weights: Floats, penalty: float) -> None:
        self.weights, self.penalty = weights, penalty

    @classmethod
    def fit(cls, completions: Sequence[Sequence[str]], ranks: Sequence[Sequence[int]]) -> BagOfWords:
        """Learn from rankings; the penalty is chosen on every fifth prompt, then all are learnt from.

        Args:
            completions: of each prompt.
            ranks: of each prompt's completions; 1 is best, equal is a tie, which teaches nothing.
        """
        rows = rows_of(list(chain.from_iterable(completions)))
        pairs = preferences(ranks)
        if not len(pairs.better):
            raise ValueError("every ranking is a tie; at least one pair must have a better and a worse")
        left_out = pairs.prompts % LEFT_OUT == 0
        penalty = PENALTIES[-1]
        if left_out.any() and not left_out.all():
            fits = {each: descend(rows, pairs.of(~left_out), each) for each in PENALTIES}
            penalty = min(fits, key=lambda each: loss(rows, pairs.of(left_out), fits[each]))
        return cls(descend(rows, pairs, penalty), penalty)

    def scores(self, completions: Sequence[str]) -> list[float]:
        """A score for each completion; differences are log-odds of being preferred."""
        return rows_of(completions).times(self.weights).tolist()


def preferences(ranks: Sequence[Sequence[int]]) -> Preferences:
    """Every pair that a ranking orders; completions are numbered through all prompts."""
    found: list[tuple[int, int, float, int]] = []
    first = 0
    for prompt, own in enumerate(ranks):
        pairs = [(i, j) if own[i] < own[j] else (j, i) for i, j in combinations(range(len(own)), 2)]
        strict = [(i, j) for i, j in pairs if own[i] != own[j]]
        found += [(first + i, first + j, 1 / len(strict), prompt) for i, j in strict]
        first += len(own)
    table = np.array(found, dtype=np.float64).reshape(-1, 4)
    better, worse, prompts = (table[:, i].astype(np.int64) for i in (0, 1, 3))
    return Preferences(better, worse, table[:, 2], prompts)


def margins(rows: Rows, pairs: Preferences, weights: Floats) -> Floats:
    scores = rows.times(weights)
    return scores[pairs.better] - scores[pairs.worse]


def loss(rows: Rows, pairs: Preferences, weights: Floats) -> float:
    """Mean negative log-likelihood of the order of a prompt's pairs."""
    each = np.logaddexp(0, -margins(rows, pairs, weights))
    return float((pairs.weights * each).sum() / pairs.weights.sum())


def descend(rows: Rows, pairs: Preferences, penalty: float) -> Floats:
    """Weights that minimise the loss and penalty / 2 * |weights|², by Adam on all pairs at once."""
    weights = np.zeros(N_FEATURES)
    mean, square = np.zeros(N_FEATURES), np.zeros(N_FEATURES)
    share = pairs.weights / pairs.weights.sum()
    n_rows = len(rows.starts) - 1
    for step in range(1, N_STEPS + 1):
        pull = share / (1 + np.exp(margins(rows, pairs, weights)))
        by_row = weighted_counts(pairs.worse, pull, n_rows) - weighted_counts(pairs.better, pull, n_rows)
        gradient = rows.transposed_times(by_row) + penalty * weights
        mean += 0.1 * (gradient - mean)
        square += 0.01 * (gradient**2 - square)
        rate = 0.1 * (1 - step / (N_STEPS + 1))
        weights -= rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
    return weights


def weighted_counts(numbers: NDArray[np.int64], weights: Floats, n: int) -> Floats:
    """The sum of the weights of each number from 0 to n - 1."""
    return np.bincount(numbers, weights=weights, minlength=n).astype(np.float64)


def rows_of(completions: Sequence[str]) -> Rows:
    found = [features(completion) for completion in completions]
    columns = np.concatenate([columns for columns, _ in found])
    values = np.concatenate([values for _, values in found])
    return Rows(columns, values, np.cumsum([0, *(len(columns) for columns, _ in found)]))


def features(completion: str) -> tuple[NDArray[np.int64], Floats]:
    """Columns and values: a unit vector of log counts of each kind of n-gram, and how long the text is."""
    text = BLANK.sub(" ", completion[:MAX_CHARACTERS].lower())
    words = UNIT.findall(text)
    letters = [text[i : i + 3] for i in range(len(text) - 2)]
    kinds = (words, [f"{a} {b}" for a, b in pairwise(words)], [f"#{each}" for each in letters])
    columns = [np.arange(N_HASHED, N_FEATURES)]
    sizes = (len(completion) + 1, len(words) + 1, completion.count("\n") + 1)
    values = [np.array([math.log(size) for size in sizes])]
    for grams in kinds:
        counts = Counter(crc32(gram.encode("utf-8", "surrogatepass")) % N_HASHED for gram in grams)
        logs = np.log1p(np.array(list(counts.values()), dtype=np.float64))
        columns.append(np.array(list(counts), dtype=np.int64))
        values.append(logs / max(1e-9, float(np.linalg.norm(logs))))
    return np.concatenate(columns), np.concatenate(values)

"""How well labels, numbers, passages and entities are told: the usual scores, with their intervals."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.evaluate.statistics import macro_bootstrap, wilson

N_RESAMPLES = 1000
# A Han character, or a run of anything else that is not blank.
PIECE = re.compile(r"[㐀-䶿一-鿿豈-﫿]|[^\s㐀-䶿一-鿿豈-﫿]+")
ARTICLES = {"a", "an", "the"}

Entity = tuple[str, int, int]  # its name, first word, last word
Floats = NDArray[np.float64]


def class_scores(wanted: Sequence[str], said: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy, F1 of every class and their mean, Matthews correlation, and who was taken for whom.

    `confusion[i][j]` counts examples of class i that were told to be of class j.
    """
    table = np.zeros((len(labels), len(labels)))
    number = {label: i for i, label in enumerate(labels)}
    for a, b in zip(wanted, said, strict=True):
        table[number[a], number[b]] += 1
    per_class = {
        label: precision_recall(table[i, i], table[:, i].sum(), table[i].sum())
        for i, label in enumerate(labels)
    }
    present = [per_class[label]["f1"] for i, label in enumerate(labels) if table[i].sum()]
    return {
        "n": len(wanted),
        "accuracy": wilson(float(np.trace(table)), len(wanted)).to_tree(),
        "macro_f1": float(np.mean(present)),
        "matthews": matthews(table),
        "classes": per_class,
        "confusion": table.astype(int).tolist(),
    }


def precision_recall(right: float, said: float, wanted: float) -> dict[str, float]:
    """Precision, recall and F1 from counts; what was never said, or never wanted, has 0."""
    precision = right / said if said else 0.0
    recall = right / wanted if wanted else 0.0
    f1 = 2 * right / (said + wanted) if said + wanted else 0.0
    return {
        "n": int(wanted),
        "said": int(said),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
    }


def matthews(table: Floats) -> float:
    """Correlation of what was wanted and what was said (Gorodkin 2004, eq. 8); 0 where either is constant."""
    n, wanted, said = table.sum(), table.sum(1), table.sum(0)
    spread = (n**2 - (wanted**2).sum()) * (n**2 - (said**2).sum())
    return float((np.trace(table) * n - wanted @ said) / math.sqrt(spread)) if spread > 0 else 0.0


def number_scores(wanted: Sequence[float], said: Sequence[float]) -> dict[str, Any]:
    """Pearson's and Spearman's correlation with bootstrap intervals, and the root mean square error."""
    a, b = np.asarray(wanted, dtype=np.float64), np.asarray(said, dtype=np.float64)
    return {
        "n": len(a),
        "pearson": correlation_interval(a, b),
        "spearman": correlation_interval(average_ranks(a), average_ranks(b)),
        "rmse": float(np.sqrt(np.mean((a - b) ** 2))),
    }


def correlation_interval(a: Floats, b: Floats, *, seed: int = 0) -> dict[str, float]:
    """Pearson correlation of pairs, with its 95 % interval over resampled pairs."""
    rng = np.random.default_rng(seed)
    draws = (rng.integers(0, len(a), len(a)) for _ in range(N_RESAMPLES))
    found = [correlation(a[draw], b[draw]) for draw in draws]
    low, high = np.quantile(found, (0.025, 0.975))
    return {"mean": correlation(a, b), "low": float(low), "high": float(high)}


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's; 0 where either is constant."""
    a, b = a - a.mean(), b - b.mean()
    spread = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / spread if spread > 0 else 0.0


def average_ranks(values: Floats) -> Floats:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse].astype(np.float64)


def span_scores(answers: Sequence[Sequence[str]], said: Sequence[str]) -> dict[str, Any]:
    """Exact match and F1 of answers taken from a passage, each against the nearest of those accepted."""
    exact = [
        max(normal(each) == normal(text) for each in some) for some, text in zip(answers, said, strict=True)
    ]
    f1 = [max(overlap_f1(each, text) for each in some) for some, text in zip(answers, said, strict=True)]
    return {
        "n": len(said),
        "exact_match": wilson(sum(exact), len(exact)).to_tree(),
        "f1": macro_bootstrap([f1]).to_tree(),
    }


def normal(text: str) -> list[str]:
    """Words in lower case without punctuation and English articles, as SQuAD's script; Han one by one."""
    plain = "".join(" " if unicodedata.category(c).startswith("P") else c for c in text.lower())
    return [piece for piece in PIECE.findall(plain) if piece not in ARTICLES]


def overlap_f1(wanted: str, said: str) -> float:
    """F1 of the pieces that two answers share, each counted as often as it comes in both."""
    a, b = normal(wanted), normal(said)
    shared = sum((Counter(a) & Counter(b)).values())
    return precision_recall(shared, len(b), len(a))["f1"] if a and b else float(a == b)


def entities(tags: Sequence[str]) -> Iterator[Entity]:
    """Names in BIO tags; an I- that goes on from nothing of its name begins one, as conlleval reads it."""
    name, first = "", 0
    for at, tag in enumerate([*tags, "O"]):
        kind, _, own = tag.partition("-")
        if name and (kind != "I" or own != name):
            yield name, first, at - 1
            name = ""
        if kind != "O" and not name:
            name, first = own, at


def tag_scores(wanted: Sequence[Sequence[str]], said: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Precision, recall and F1 of whole entities, of all and by name, and the share of words tagged right.

    An entity counts as found if its name, its first and its last word are right (Tjong Kim Sang 2003).
    The interval is over resampled sentences.
    """
    pairs = [(set(entities(a)), set(entities(b))) for a, b in zip(wanted, said, strict=True)]
    counts = np.array([(len(a & b), len(b), len(a)) for a, b in pairs], dtype=np.float64)
    names = sorted({name for a, b in pairs for name, *_ in a | b})
    by_name = {
        name: precision_recall(
            *(sum(each[0] == name for pair in pairs for each in pick(pair)) for pick in PICKS)
        )
        for name in names
    }
    words = [
        a == b for some, others in zip(wanted, said, strict=True) for a, b in zip(some, others, strict=True)
    ]
    rng = np.random.default_rng(0)
    draws = (counts[rng.integers(0, len(counts), len(counts))].sum(0) for _ in range(N_RESAMPLES))
    low, high = np.quantile([precision_recall(*draw)["f1"] for draw in draws], (0.025, 0.975))
    whole = precision_recall(*counts.sum(0))
    return {
        "n": len(pairs),
        "entity_f1": {"mean": whole["f1"], "low": float(low), "high": float(high)},
        "entities": whole,
        "classes": by_name,
        "word_accuracy": wilson(sum(words), len(words)).to_tree(),
    }


PICKS = (lambda pair: pair[0] & pair[1], lambda pair: pair[1], lambda pair: pair[0])

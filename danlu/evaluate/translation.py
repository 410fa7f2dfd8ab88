"""How good translations are, by SacreBLEU and chrF, with the signatures that make the numbers comparable."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

N_RESAMPLES = 1000
# How the reference is cut into words: Chinese has no spaces, so its characters count.
TOKENIZERS = {"zh": "zh", "ja": "char", "ko": "char"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A corpus score with its 95 % interval, and how it was computed."""

    name: str
    value: float
    low: float
    high: float
    signature: str

    def __str__(self) -> str:
        return f"{self.name} {self.value:.1f} [{self.low:.1f}, {self.high:.1f}]  {self.signature}"

    def to_tree(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "signature": self.signature,
        }


def score(
    translations: Sequence[str], references: Sequence[str], language: str, *, n_resamples: int = N_RESAMPLES
) -> list[Score]:
    """BLEU (Papineni et al. 2002; Post 2018) and chrF2 (Popović 2015) of a whole test set.

    The intervals are sacrebleu's: sentences are drawn with replacement `n_resamples` times (Koehn 2004).

    Args:
        translations: of the test set, in its order.
        references: one for each.
        language: that was translated into, by two letters; it decides what a word is.
        n_resamples: 1 leaves the interval out.
    """
    if len(translations) != len(references) or not references:
        raise ValueError(f"{len(translations)} translations for {len(references)} references; each needs one")
    found: list[Score] = []
    for metric in (BLEU(tokenize=TOKENIZERS.get(language, "13a")), CHRF()):
        result = metric.corpus_score(list(translations), [list(references)], n_bootstrap=n_resamples)
        signature = str(metric.get_signature())
        tree: dict[str, Any] = json.loads(result.format(width=4, signature=signature, is_json=True))
        # Where nothing is right there is no interval.
        middle, half = tree.get("confidence_mean", result.score), float(tree.get("confidence_var", 0.0))
        low, high = max(middle - half, 0.0), min(middle + half, 100.0)
        found.append(Score(name=result.name, value=result.score, low=low, high=high, signature=signature))
    return found

"""TAMER: a reward head that learns from a person's grades while they come (Knox & Stone 2009).

The head predicts the grade that a person would give for a token in its place, linearly in the frozen
model's hidden vector there. A grade comes after a whole reply; credit weights share it out among the
reply's tokens, and each token becomes a weighted example of a regression (Warnell et al. 2018). The
regression is solved exactly, one example at a time, by recursive least squares: no rate to choose, and
after any number of grades the head is the ridge regression on all of them, whatever their order. The action
that the person judges is the whole reply, so the agent acts by drawing several and giving the one for which
the head expects the best grade; as in TAMER, it looks no further ahead than that grade.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from danlu.config import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadConfig:
    """How grades become a reward head."""

    half_life: float = 32.0  # tokens: one this much further from the reply's end has half the credit
    window: int = 128  # tokens from the reply's end that are credited at all
    ridge: float = 0.1  # weight of the prior that rewards are 0, in grades

    def __post_init__(self) -> None:
        if not self.half_life > 0:
            raise ConfigError(
                f"head.half_life is {self.half_life}; it must be above 0 (inf credits all alike)"
            )
        if self.window < 1:
            raise ConfigError(f"head.window is {self.window}; it must be at least 1")
        if not 0 < self.ridge < float("inf"):
            raise ConfigError(f"head.ridge is {self.ridge}; it must be above 0 and finite")


def credit_weights(n: int, config: HeadConfig) -> Tensor:
    """How much of a grade each of a reply's `n` tokens gets, (n,) float64, in sum 1.

    The last `window` tokens share it in proportion to 2^(-distance from the end / half_life).
    """
    distance = torch.arange(n - 1, -1, -1, dtype=torch.float64)
    weights = torch.exp2(-distance / config.half_life) * (distance < config.window)
    return weights / weights.sum()


class RewardHead:
    """Predicted reward of a token: the product of `weight` and the direction of its hidden vector."""

    def __init__(self, d_model: int, config: HeadConfig) -> None:
        self.config = config
        self.weight = torch.zeros(d_model, dtype=torch.float64)
        self.covariance = torch.eye(d_model, dtype=torch.float64) / config.ridge  # (d_model, d_model)

    def score(self, hidden: Tensor) -> Tensor:
        """Predicted rewards, (n,) float64, of tokens with these hidden vectors, (n, d_model)."""
        return features(hidden) @ self.weight

    def grade(self, hidden: Tensor) -> float:
        """The grade expected for a reply: its tokens' rewards, (n, d_model) → 1, in the shares of credit."""
        return float(credit_weights(len(hidden), self.config) @ self.score(hidden))

    def learn(self, hidden: Tensor, grade: float) -> None:
        """Take in one grade for a reply whose tokens have these hidden vectors, (n, d_model)."""
        shares = credit_weights(len(hidden), self.config)
        for feature, share in zip(features(hidden), shares.tolist(), strict=True):
            if share:
                self._take_in(feature, grade, share)

    def _take_in(self, feature: Tensor, target: float, share: float) -> None:
        """One step of recursive least squares with an example of weight `share`."""
        spread = self.covariance @ feature
        gain = spread * (share / (1 + share * float(feature @ spread)))
        self.weight += gain * (target - float(feature @ self.weight))
        self.covariance -= torch.outer(gain, spread)


def features(hidden: Tensor) -> Tensor:
    """Hidden vectors, (n, d_model), at length 1 and in float64, so that one prior suits every model."""
    return torch.nn.functional.normalize(hidden.detach().double().cpu(), dim=-1)

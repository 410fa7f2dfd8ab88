"""From one score a completion to a reward a token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

ScoreScaling = Literal["none", "reference", "running"]


class Moments:
    """Number, mean and standard deviation of all values seen so far (Chan, Golub and LeVeque 1983)."""

    def __init__(self) -> None:
        self.n, self.mean, self.squares = 0, 0.0, 0.0  # the last: squared distances from the mean, summed

    @property
    def std(self) -> float:
        """Of the population."""
        return (self.squares / self.n) ** 0.5

    def add(self, values: Tensor) -> None:
        """Count more values."""
        n, mean = values.numel(), float(values.mean())
        total, distance = self.n + n, mean - self.mean
        self.squares += float((values - mean).square().sum()) + distance**2 * self.n * n / total
        self.mean += distance * n / total
        self.n = total

    def state_dict(self) -> dict[str, Any]:
        return {"n": self.n, "mean": self.mean, "squares": self.squares}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.n, self.mean, self.squares = state["n"], state["mean"], state["squares"]


def scale_scores(scores: Tensor, seen: Moments, scaling: ScoreScaling) -> Tensor:
    """Bring scores to mean zero and deviation one.

    Args:
        scores: one a completion, (batch,).
        seen: scores of earlier rollouts, to which these are added if they count.
        scaling: `reference` goes by the first rollout, which the reference wrote (Ziegler et al. 2019 take
            samples of it); `running` by all scores so far (Zheng et al. 2023).
    """
    if scaling == "none":
        return scores
    if scaling == "running" or not seen.n:
        seen.add(scores)
    return (scores - seen.mean) / max(seen.std, 1e-6)


def length_cost(lengths: Tensor, coef: float, free: int) -> Tensor:
    """What a completion's tokens beyond the first `free` cost, `coef` each, (batch,)."""
    return coef * (lengths - free).clamp(min=0)


def token_rewards(
    scores: Tensor, logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor, *, kl_coef: float
) -> Tensor:
    """KL penalty where it arises, score at the last token the policy chose (Ouyang et al. 2022, eq. 2).

    The penalty is the k1 estimate, log p - log p_ref, whose expected gradient is that of the reverse KL.

    Args:
        scores: one a completion, (batch,).
        logprobs: under the policy that sampled, (batch, seq).
        ref_logprobs: under the reference, (batch, seq).
        mask: True where the policy chose the token, (batch, seq).
        kl_coef: weight of the penalty.

    Returns:
        Rewards, (batch, seq), zero outside the mask.
    """
    rewards = -kl_coef * (logprobs - ref_logprobs) * mask
    positions = torch.arange(mask.shape[1])
    last = (mask * (positions + 1)).argmax(dim=1)
    rewards[torch.arange(len(scores)), last] += scores
    return rewards


def penalise_missing_end(scores: Tensor, ended: Tensor, penalty: float) -> Tensor:
    """A completion that never ended scores at most -penalty: being cut off is never a bonus."""
    return torch.where(ended, scores, scores.clamp(max=0.0) - penalty)


def sequence_kl(logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor) -> Tensor:
    """KL from the reference of each completion, summed over its tokens, in nats, (batch,)."""
    return ((logprobs - ref_logprobs) * mask).sum(dim=1)

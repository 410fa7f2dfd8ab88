"""From per-token rewards and values to what PPO pushes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from danlu.config import ConfigError

SPREAD_FLOOR = 1e-4  # added to a group's deviation: rounding among equal rewards must not become a signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewarded:
    """A rollout as an advantage estimator sees it; completions of one prompt stand side by side."""

    rewards: Tensor  # after each token, KL penalty included where it is a reward, (batch, seq)
    values: Tensor  # V(s_t) under the critic that saw the rollout, or zeros, (batch, seq)
    mask: Tensor  # True where the policy chose the token, (batch, seq)
    n_completions: int  # of each prompt
    past_reward: float | None  # mean reward of a completion in earlier rollouts, if there were any

    @property
    def totals(self) -> Tensor:
        """Reward of each completion, (batch,)."""
        return (self.rewards * self.mask).sum(dim=1)


# To advantages and returns, both (batch, seq) and zero outside the mask.
Estimator = Callable[[Rewarded], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gae:
    """What PPO pushes on: generalised advantage estimates by a value model, whitened over the rollout."""

    gamma: float = 1.0
    gae_lambda: float = 0.95
    whiten_rewards: bool = False  # scale rewards to unit variance, keeping their mean

    def __call__(self, rewarded: Rewarded) -> tuple[Tensor, Tensor]:
        mask, rewards = rewarded.mask, rewarded.rewards
        if self.whiten_rewards:
            rewards = whiten(rewards, mask, shift_mean=False)
        advantages, returns = gae(
            rewards, rewarded.values, mask, gamma=self.gamma, gae_lambda=self.gae_lambda
        )
        return whiten(advantages, mask), returns


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Reward of a whole completion less what was to be expected, the same for each of its tokens.

    `group` is the mean over the completions of the prompt (GRPO: Shao et al. 2024, section 4.1.2),
    `leave_one_out` that over the others of the prompt (RLOO: Ahmadian et al. 2024), `batch` that over the
    others of the rollout, `running` that over all earlier rollouts (REINFORCE with a baseline).
    """

    kind: Literal["group", "leave_one_out", "batch", "running"] = "group"
    divide_by_std: bool = True  # by the group's standard deviation; without it, Dr. GRPO (Liu et al. 2025)

    def __post_init__(self) -> None:
        if self.divide_by_std and self.kind != "group":
            raise ConfigError(
                f"advantage.divide_by_std is true and advantage.kind is {self.kind!r}; only 'group' is "
                "divided: next to others almost equal, a reward would become huge. Use divide_by_std=false"
            )

    def check(self, n_completions: int) -> None:
        """Refuse a baseline that so few completions of a prompt do not have."""
        if self.kind in ("group", "leave_one_out") and n_completions < 2:
            raise ConfigError(
                f"rollout.n_completions is {n_completions} and advantage.kind is {self.kind!r}; a prompt's "
                "completions are compared with each other: at least 2, or advantage.kind='batch'"
            )

    def __call__(self, rewarded: Rewarded) -> tuple[Tensor, Tensor]:
        totals = rewarded.totals
        advantages = BASELINES[self.kind](totals, rewarded)
        if self.divide_by_std:
            groups = totals.view(-1, rewarded.n_completions)
            deviation = groups.std(dim=1, correction=0) + SPREAD_FLOOR
            advantages = advantages / deviation.repeat_interleave(rewarded.n_completions)
        mask = rewarded.mask
        return advantages.unsqueeze(1) * mask, totals.unsqueeze(1) * mask


def less_group_mean(totals: Tensor, rewarded: Rewarded) -> Tensor:
    """Less the mean of the prompt's completions, itself among them."""
    groups = totals.view(-1, rewarded.n_completions)
    return (groups - groups.mean(dim=1, keepdim=True)).flatten()


def less_others(totals: Tensor, rewarded: Rewarded) -> Tensor:
    """Less the mean of the prompt's others: n / (n - 1) times the distance from the mean of all."""
    n = rewarded.n_completions
    return less_group_mean(totals, rewarded) * (n / (n - 1))


def less_rollout_mean(totals: Tensor, rewarded: Rewarded) -> Tensor:
    """Less the mean of the rollout's other completions."""
    n = len(totals)
    return (totals - totals.mean()) * (n / (n - 1))


def less_past_mean(totals: Tensor, rewarded: Rewarded) -> Tensor:
    """Less the mean of earlier rollouts; the first has none and takes its own."""
    if rewarded.past_reward is None:
        return less_rollout_mean(totals, rewarded)
    return totals - rewarded.past_reward


BASELINES = {
    "group": less_group_mean,
    "leave_one_out": less_others,
    "batch": less_rollout_mean,
    "running": less_past_mean,
}


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al. 2016, eq. 16), with V = 0 after the end.

    Args:
        rewards: reward after each token, KL penalty included, (batch, seq).
        values: V(s_t) under the critic that saw the rollout, (batch, seq).
        mask: True where the policy chose the token, (batch, seq); other positions are skipped.
        gamma: discount.
        gae_lambda: trade of bias (0) against variance (1).

    Returns:
        Advantages and returns, both (batch, seq) and zero outside the mask.
    """
    advantages = torch.zeros_like(rewards)
    running = torch.zeros_like(rewards[:, 0])
    next_value = torch.zeros_like(running)
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        running = torch.where(mask[:, t], delta + gamma * gae_lambda * running, running)
        next_value = torch.where(mask[:, t], values[:, t], next_value)
        advantages[:, t] = running * mask[:, t]
    return advantages, (advantages + values) * mask


def whiten(x: Tensor, mask: Tensor, *, shift_mean: bool = True) -> Tensor:
    """Scale to unit variance over the masked positions of the whole batch, zero elsewhere.

    Args:
        x: (batch, seq).
        mask: True where a value counts, (batch, seq).
        shift_mean: also bring the mean to zero; rewards keep theirs, advantages do not.
    """
    counted = x[mask]
    mean = counted.mean()
    scaled = (x - mean) * torch.rsqrt(counted.var(unbiased=False) + 1e-8)
    return (scaled if shift_mean else scaled + mean) * mask


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns) over the masked positions; 1 is a perfect critic."""
    variance = returns[mask].var(unbiased=False)
    return float(1 - (returns - values)[mask].var(unbiased=False) / (variance + 1e-8))

"""From per-token rewards and values to what PPO pushes on."""

from __future__ import annotations

import torch
from torch import Tensor


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

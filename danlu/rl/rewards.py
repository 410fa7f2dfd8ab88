"""From one score a completion to a reward a token."""

from __future__ import annotations

import torch
from torch import Tensor


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

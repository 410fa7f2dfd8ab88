"""Whether sampler, policy and reference speak of the same distribution; where not, which of them does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from danlu.rl.rollout import Rollout

BEYOND_NOISE = 4.0  # standard errors
NEAR_ZERO = 1e-3  # nats a completion: rounding
ENOUGH = 16  # completions; of fewer, a mean says too little


def sampler_gap(rollouts: Sequence[Rollout], logprobs: Tensor, mask: Tensor, tolerance: float) -> float:
    """Mean distance between the sampler's log-probabilities and the model's; too much of it is an error."""
    sampled = torch.tensor([x for rollout in rollouts for x in rollout.sampled_logprobs])
    gap = float((sampled - logprobs[mask]).abs().mean())
    if not gap <= tolerance:
        raise FloatingPointError(
            f"the sampler's log-probabilities differ from the model's by {gap:.2g} on average; "
            f"at most {tolerance:.2g} is rounding (rollout.logprob_tolerance)"
        )
    return gap


def negative_kl(kl: Tensor, excess_surprise: Callable[[], Tensor]) -> str | None:
    """What is wrong if the measured KL is below zero by more than chance explains.

    Args:
        kl: sum of log p - log p_ref over the tokens of each completion, (batch,).
        excess_surprise: for each completion, the sum of -log p less the policy's entropy at each token: zero
            on average where the policy was sampled from as it is, (batch,).
    """
    if not below_zero(kl):
        return None
    found = f"KL from the reference is {float(kl.mean()):.3g} nats a completion, and a KL is never negative: "
    if below_zero(excess_surprise()):
        return found + (
            "the tokens drawn are likelier than the policy makes them. Sampling is truncated (top-k, top-p, "
            "forbidden tokens) or colder than rollout.temperature, and the log-probabilities do not know it"
        )
    return found + (
        "the tokens drawn do follow the policy, so the reference's numbers are no log-probabilities of the "
        "next token: it sees what it is to predict, or its logits are not normalised"
    )


def below_zero(values: Tensor) -> bool:
    """Whether the mean is negative beyond noise."""
    if len(values) < ENOUGH:
        return False
    noise = float(values.std()) / len(values) ** 0.5
    return float(values.mean()) < -BEYOND_NOISE * noise - NEAR_ZERO

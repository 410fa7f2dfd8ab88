"""KL from the reference, estimated from samples: the estimators, and where the gradient of each is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from danlu.config import ConfigError

KlEstimator = Literal["k1", "k2", "k3", "k3_unweighted"]
KlPlace = Literal["reward", "loss"]


def k1(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """log p - log p_ref: its mean over samples of p is KL(p, p_ref); often negative by itself."""
    return logprobs - ref_logprobs


def k2(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """(log p - log p_ref)^2 / 2: never negative; its mean is the KL only to second order."""
    return 0.5 * (logprobs - ref_logprobs).square()


def k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """p_ref / p - 1 - log(p_ref / p): never negative, and its mean is the KL (Schulman 2020)."""
    log_ratio = ref_logprobs - logprobs
    return torch.expm1(log_ratio) - log_ratio


@dataclass(frozen=True, slots=True)
class KlPenalty:
    """KL from the reference as a term of the loss, with the coefficient that holds for this rollout.

    Samples come from the policy before the update, so each token is weighted by its ratio p / p_old. Then
    k2 (weight held fixed) and k3 (weight differentiated) both have the gradient of the reverse KL of the
    next token, on the first update and on later ones; k3 has its value too. `k3_unweighted` is the term of
    Shao et al. 2024, eq. 4: its gradient is that of the forward KL(p_ref, p).

    The gradient is that of each token's KL where the sampled text came to; how an early token changes the
    KL of later ones is only seen by k1 in the reward.
    """

    estimator: KlEstimator
    coef: float

    def __call__(self, logprobs: Tensor, old_logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
        """What to add up over the counted tokens, (batch, seq); all arguments are (batch, seq)."""
        return LOSSES[self.estimator](logprobs, (logprobs - old_logprobs).exp(), ref_logprobs)


def check_place(estimator: KlEstimator, place: KlPlace) -> None:
    """Refuse an estimator where its gradient is not that of the KL."""
    if place == "loss" and estimator == "k1":
        raise ConfigError(
            "estimator is 'k1' and place is 'loss'; the gradient of log p - log p_ref is zero on average, so "
            "that it would hold nothing back. Use place='reward', or estimator='k3'"
        )
    if place == "reward" and estimator != "k1":
        raise ConfigError(
            f"estimator is {estimator!r} and place is 'reward'; a reward is not differentiated, and then "
            "only k1 pushes along the gradient of the KL. Use estimator='k1', or place='loss'"
        )


LOSSES: dict[KlEstimator, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "k2": lambda logprobs, ratio, ref: ratio.detach() * k2(logprobs, ref),
    "k3": lambda logprobs, ratio, ref: ratio * k3(logprobs, ref),
    "k3_unweighted": lambda logprobs, ratio, ref: k3(logprobs, ref),
}

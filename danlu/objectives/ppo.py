"""PPO's objective: clipped surrogate, clipped value error, and text and demonstrations against forgetting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from danlu.config import ConfigError
from danlu.data.records import Batch, RolloutBatch
from danlu.objectives.loss import Loss, Term
from danlu.objectives.token_loss import token_logprobs


@dataclass(frozen=True, slots=True)
class PpoBatch:
    """A minibatch of rollouts and what is modelled beside it: ordinary text (PPO-ptx), demonstrations."""

    rollout: RolloutBatch
    pretrain: Batch | None = None
    demonstrations: Batch | None = None

    @property
    def beside(self) -> dict[str, Batch]:
        """What is there of the two, by the name of its term."""
        found = {"ptx": self.pretrain, "sft": self.demonstrations}
        return {name: batch for name, batch in found.items() if batch is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ppo:
    """Schulman et al. 2017, eq. 7 and 9, with Ouyang et al. 2022's pretraining term (eq. 2, PPO-ptx).

    Each term is a mean over the tokens it counts in the whole update, whatever the micro-batches.
    """

    clip_range: float = 0.2  # of the probability ratio
    value_clip_range: float = 0.2  # of the value's move since the rollout
    value_coef: float = 0.1
    ptx_coef: float = 0.0  # gamma of eq. 2; 27.8 belongs to InstructGPT's scale of rewards
    sft_coef: float = 0.0  # the same for demonstrations
    temperature: float = 1.0  # must equal the sampler's

    def __post_init__(self) -> None:
        for name in ("clip_range", "value_clip_range", "temperature"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"objective.{name} is {getattr(self, name)}; it must be above 0")

    def __call__(self, model: Any, batch: PpoBatch) -> Loss:
        rollout = batch.rollout
        logits = model.policy(*rollout.inputs)
        logprobs = token_logprobs(logits, rollout.target_ids, temperature=self.temperature)
        values = model.value(*rollout.inputs)
        policy, policy_metrics = self.policy_term(logprobs, rollout)
        value, value_metrics = self.value_term(values, rollout)
        terms = {"policy": Term(policy), "value": Term(value, self.value_coef)}
        coefs = {"ptx": self.ptx_coef, "sft": self.sft_coef}
        for name, text in batch.beside.items():
            terms[name] = Term(
                model.policy.nll_sum(*text.inputs, text.target_ids, text.loss_mask), coefs[name]
            )
        entropy = (token_entropy(logits.detach(), self.temperature) * rollout.loss_mask).sum()
        return Loss(terms, {**policy_metrics, **value_metrics, "entropy": (entropy, rollout.loss_mask.sum())})

    def weights(self, batch: PpoBatch) -> Mapping[str, Tensor]:
        n_tokens = batch.rollout.loss_mask.sum()
        beside = {name: text.loss_mask.sum() for name, text in batch.beside.items()}
        return {"policy": n_tokens, "value": n_tokens, **beside}

    def policy_term(
        self, logprobs: Tensor, rollout: RolloutBatch
    ) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
        """Summed clipped surrogate and what happened to the ratio."""
        mask = rollout.loss_mask
        log_ratio = (logprobs - rollout.old_logprobs) * mask
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - self.clip_range, 1 + self.clip_range)
        loss = -torch.minimum(ratio * rollout.advantages, clipped * rollout.advantages)
        counted = mask.sum()
        with torch.no_grad():
            metrics = {
                "ratio": ((ratio * mask).sum(), counted),
                "approx_kl": ((0.5 * log_ratio.square()).sum(), counted),
                "clip_fraction": (((ratio != clipped) & mask).sum(), counted),
            }
        return (loss * mask).sum(), metrics

    def value_term(
        self, values: Tensor, rollout: RolloutBatch
    ) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
        """Summed value error; a move beyond the clip range earns nothing (Schulman's published code)."""
        mask = rollout.loss_mask
        near = rollout.old_values + (values - rollout.old_values).clamp(
            -self.value_clip_range, self.value_clip_range
        )
        error, near_error = (values - rollout.returns).square(), (near - rollout.returns).square()
        loss = 0.5 * torch.maximum(error, near_error)
        with torch.no_grad():
            clips = ((near_error > error) & mask).sum()
        return (loss * mask).sum(), {"value_clip_fraction": (clips, mask.sum())}


def token_entropy(logits: Tensor, temperature: float) -> Tensor:
    """Entropy of the next-token distribution in nats, (batch, seq)."""
    logprobs = (logits.float() / temperature).log_softmax(-1)
    return -(logprobs.exp() * logprobs).sum(-1)

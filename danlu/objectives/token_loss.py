"""Cross-entropy of every counted target: pretraining, SFT, and whatever else answers token by token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from danlu.data.records import Batch
from danlu.objectives.loss import Loss, Term


def token_logprobs(logits: Tensor, target_ids: Tensor, *, temperature: float = 1.0) -> Tensor:
    """log p(target) at each position under softmax(logits / temperature).

    Args:
        logits: unnormalised scores, (batch, seq, vocab).
        target_ids: the answers, (batch, seq).
        temperature: what the policy is sampled at; every log-probability in RL divides by it.

    Returns:
        Log-probabilities in float32, (batch, seq).
    """
    scaled = logits.float() / temperature
    chosen = scaled.gather(-1, target_ids.unsqueeze(-1)).squeeze(-1)
    return chosen - torch.logsumexp(scaled, dim=-1)


def counted_logprobs(model: Any, batch: Batch, *, temperature: float = 1.0) -> Tensor:
    """log p of the counted targets and 0 elsewhere, (batch, seq), float32; all logits are never held."""
    counted = model.target_logprobs(
        batch.tree_inputs, batch.target_ids, batch.loss_mask, temperature=temperature
    )
    return torch.zeros(batch.loss_mask.shape, device=counted.device).masked_scatter(batch.loss_mask, counted)


@dataclass(frozen=True, slots=True)
class TokenLoss:
    """Mean negative log-likelihood of the targets that count, in nats a token."""

    def __call__(self, model: Any, batch: Batch) -> Loss:
        nll = model.nll_sum(*batch.inputs, batch.target_ids, batch.loss_mask)
        return Loss({"nll": Term(nll)})

    def weights(self, batch: Batch) -> Mapping[str, Tensor]:
        return {"nll": batch.loss_mask.sum()}

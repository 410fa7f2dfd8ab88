"""Cross-entropy of every counted target: pretraining, SFT, and whatever else answers token by token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from danlu.config import ConfigError
from danlu.data.records import Batch, TranslationBatch
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
        nll = model.nll_sum(*batch.inputs, batch.target_ids, batch.loss_mask, **batch.shown)
        return Loss({"nll": Term(nll)})

    def weights(self, batch: Batch) -> Mapping[str, Tensor]:
        return {"nll": batch.loss_mask.sum()}


@dataclass(frozen=True, slots=True, kw_only=True)
class SmoothedTokenLoss:
    """Cross-entropy against targets of which a share is spread evenly over the vocabulary.

    Label smoothing (Szegedy et al. 2016, section 7; Vaswani et al. 2017, section 5.4). The target has weight
    1 - e + e / vocab, every other token e / vocab. The loss is the term `nll`, the plain negative
    log-likelihood, plus e times `excess`: by how much the target's logit exceeds the mean logit.
    """

    label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(
                f"objective.label_smoothing is {self.label_smoothing}; it must be at least 0 and below 1"
            )

    def __call__(self, model: Any, batch: TranslationBatch) -> Loss:
        nll, excess = model.nll_and_excess(*batch.inputs, batch.target_ids, batch.loss_mask)
        return Loss({"nll": Term(nll), "excess": Term(excess, self.label_smoothing)})

    def weights(self, batch: TranslationBatch) -> Mapping[str, Tensor]:
        n_targets = batch.loss_mask.sum()
        return {"nll": n_targets, "excess": n_targets}

"""An objective with one more term: that the experts of every layer get equal shares of the tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from danlu.objectives.loss import Loss, Objective, Term


class HasPadding(Protocol):
    """A batch that knows where its texts are."""

    @property
    def is_text(self) -> Tensor:
        """True where there is no padding, (batch, seq)."""
        ...


B = TypeVar("B", bound=HasPadding)


@dataclass(frozen=True, slots=True)
class Balanced(Generic[B]):
    """`objective` and the load-balancing loss, the mean over layers; it counts tokens, padding left out.

    Reported beside it are the shares of each layer's experts in the choices made: `expert.2.5` is that of
    expert 5 in layer 2, both counted from 0.
    """

    objective: Objective[B]
    watch: Callable[[], AbstractContextManager[Sequence[Tensor]]]  # notes router logits, layer after layer
    n_active: int  # experts a token takes
    coef: float

    def __call__(self, model: Any, batch: B) -> Loss:
        with self.watch() as noted:
            loss = self.objective(model, batch)
        counted = batch.is_text.flatten()
        layers = [balance(logits[counted], self.n_active) for logits in noted]
        mean = torch.stack([each for each, _ in layers]).mean()
        n_tokens = counted.sum()
        metrics = {
            f"expert.{layer}.{expert}": (n_chosen, n_tokens * self.n_active)
            for layer, (_, choices) in enumerate(layers)
            for expert, n_chosen in enumerate(choices)
        }
        terms = {**loss.terms, "balance": Term(mean * n_tokens, self.coef)}
        return Loss(terms, {**loss.metrics, **metrics})

    def weights(self, batch: B) -> Mapping[str, Tensor]:
        return {**self.objective.weights(batch), "balance": batch.is_text.sum()}


def balance(logits: Tensor, n_active: int) -> tuple[Tensor, Tensor]:
    """n · Σᵢ fᵢ Pᵢ over the n experts of a layer (Fedus et al. 2022, eq. 4 to 6), and who was chosen.

    fᵢ is the share of tokens that take expert i, Pᵢ the mean probability that the router gives it. Where a
    token takes several experts the shares add up to `n_active`, as in Qwen 3's code: perfect balance is
    `n_active`, and the worst there is is n. Only P has a gradient.

    Args:
        logits: of the router, (tokens, n_experts).
        n_active: experts a token takes.

    Returns:
        The loss, a scalar in float32, and how many tokens took each expert, (n_experts,).
    """
    probabilities = logits.float().softmax(-1)
    chosen = probabilities.topk(n_active, dim=-1).indices
    n_chosen = chosen.flatten().bincount(minlength=logits.shape[1])
    shares = n_chosen / len(logits)
    return logits.shape[1] * (shares * probabilities.mean(0)).sum(), n_chosen

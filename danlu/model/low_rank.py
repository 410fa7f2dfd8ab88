"""A linear layer with a low-rank update beside its weight: what every kernel must know of adapters.

Most of what runs a model fast reads weights past the layers' own `forward`. So the update is a part of the
model: kernels ask a layer for its `factors` or for its `dense_weight`, and refuse parts they do not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.model.layers import Linear
from danlu.model.native.products import Products

Factors = tuple[Tensor, Tensor]
"""down (rank, in) and up (out, rank), scale included: up @ down is what they add to a weight."""
FACTOR_NAMES = ("lora_a", "lora_b")


class LowRankLinear(Linear):
    """x Wᵀ + scale · (x Aᵀ) Bᵀ (Hu et al. 2021, eq. 3).

    It takes over the very weight of the layer that it replaces, so the weight keeps its name and other models
    may share it. `lora_a` is (rank, in), `lora_b` (out, rank); both begin at zero.
    """

    def __init__(
        self,
        base: nn.Linear,
        rank: int,
        scale: float,
        *,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight = base.weight
        self.register_parameter("bias", base.bias)
        self.lora_a = nn.Parameter(base.weight.new_zeros(rank, base.in_features))
        self.lora_b = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        self.scale, self.dropout, self.generator = scale, dropout, generator
        self.enabled, self.merged = True, False
        self.train(base.training)

    @property
    def rank(self) -> int:
        return len(self.lora_a)

    @property
    def drops(self) -> bool:
        """Whether the update's input is thinned out at random, which no weight can stand for."""
        return self.training and self.dropout > 0 and self.factors() is not None

    def factors(self) -> Factors | None:
        """The update as it counts by now; None where it is off, or part of the weight."""
        return (self.lora_a, self.lora_b * self.scale) if self.enabled and not self.merged else None

    def forward(self, input: Tensor) -> Tensor:
        out, factors = super().forward(input), self.factors()
        if factors is None:
            return out
        down, up = (factor.to(input.dtype) for factor in factors)
        return out + F.linear(F.linear(self._thinned(input), down), up)

    def _thinned(self, x: Tensor) -> Tensor:
        if not self.drops:
            return x
        kept = torch.rand(x.shape, generator=self.generator, device=x.device) >= self.dropout
        return x * kept / (1 - self.dropout)


def dense_weight(linear: nn.Linear) -> Tensor:
    """The weight that a layer multiplies by, its update included, (out, in)."""
    factors = linear.factors() if isinstance(linear, LowRankLinear) else None
    return linear.weight if factors is None else linear.weight + factors[1] @ factors[0]


@dataclass(frozen=True, slots=True)
class UpdatedProducts:
    """Products with weights that share an input, of which each may have an update, and their gradients."""

    plain: Products
    weights: Sequence[Tensor]  # each (out, in)
    factors: Sequence[Factors | tuple[None, None]]  # one pair for each weight

    def apply(self, x: Tensor, *, bias: Tensor | None = None, skip: Tensor | None = None) -> Tensor:
        """As `Products.apply`, x (rows, in)."""
        out = self.plain.apply(x, bias=bias, skip=skip)
        for _, part, down, up in self._updates(out):
            part += x @ down.t() @ up.t()
        return out

    def input_gradient(self, grad: Tensor) -> Tensor:
        """As `Products.input_gradient`, grad (rows, all outs)."""
        out = self.plain.input_gradient(grad)
        for _, part, down, up in self._updates(grad):
            out += part @ up @ down
        return out

    def gradients(self, grad: Tensor, x: Tensor) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """The gradient of each weight, None where all are frozen; then those of every down and up in turn."""
        learnt = any(weight.requires_grad for weight in self.weights)
        weights = self.plain.weight_gradients(grad, x) if learnt else [None] * len(self.weights)
        updates: list[Tensor | None] = [None] * (2 * len(self.weights))
        for i, part, down, up in self._updates(grad):
            updates[2 * i] = ((part @ up).t() @ x).float()
            updates[2 * i + 1] = (part.t() @ (x @ down.t())).float()
        return [*weights], updates

    def _updates(self, joined: Tensor) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
        """Of each weight with an update: its number, the columns that belong to it, its down and its up."""
        parts = joined.split([len(weight) for weight in self.weights], dim=1)
        for i, (part, (down, up)) in enumerate(zip(parts, self.factors, strict=True)):
            if down is not None and up is not None:
                yield i, part, down.to(joined.dtype), up.to(joined.dtype)

"""Products with weights to which thin updates are added, and their gradients, for kernels that fuse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from danlu.model.adapted import Factors
from danlu.model.native.products import Products


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

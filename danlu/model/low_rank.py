"""Products with weights to which thin updates are added, and their gradients, for kernels that fuse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from danlu.model.adapted import Factors
from danlu.model.native.products import Products


@dataclass(slots=True)
class UpdatedProducts:
    """Products with weights that share an input, of which each may have an update, and their gradients.

    What passes through the thin middle of the updates is kept from one call to the next: the forward pass
    makes it from the input, and the two calls of the backward pass share what they make from the gradient.
    """

    plain: Products
    weights: Sequence[Tensor]  # each (out, in)
    factors: Sequence[Factors | tuple[None, None]]  # one pair for each weight
    _thin: Tensor | None = None  # the input through every down, (rows, all ranks)
    _thin_grad: tuple[Tensor, Tensor] | None = None  # a gradient, and that gradient through every up

    def apply(self, x: Tensor, *, bias: Tensor | None = None, skip: Tensor | None = None) -> Tensor:
        """As `Products.apply`, x (rows, in)."""
        out = self.plain.apply(x, bias=bias, skip=skip)
        if self._downs:
            self._thin = x @ self._joined(x).t()
            for part, thin, up in self._updates(out, self._thin):
                part.addmm_(thin, up.t())
        return out

    def input_gradient(self, grad: Tensor) -> Tensor:
        """As `Products.input_gradient`, grad (rows, all outs)."""
        out = self.plain.input_gradient(grad)
        return out.addmm_(self._gradient_of_thin(grad), self._joined(grad)) if self._downs else out

    def gradients(self, grad: Tensor, x: Tensor) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """The gradient of each weight, None where all are frozen; then those of every down and up in turn.

        `x` is what `apply` was given.
        """
        learnt = any(weight.requires_grad for weight in self.weights)
        weights = self.plain.weight_gradients(grad, x) if learnt else [None] * len(self.weights)
        return [*weights], self._gradients_of_factors(grad, x)

    def _gradients_of_factors(self, grad: Tensor, x: Tensor) -> list[Tensor | None]:
        if not self._downs:
            return [None] * (2 * len(self.weights))
        assert self._thin is not None
        of_downs = (self._gradient_of_thin(grad).t() @ x).float().split([len(each) for each in self._downs])
        of_ups = [(part.t() @ thin).float() for part, thin, _ in self._updates(grad, self._thin)]
        pairs = iter(zip(of_downs, of_ups, strict=True))
        found = [(None, None) if down is None else next(pairs) for down, _ in self.factors]
        return [each for pair in found for each in pair]

    def _gradient_of_thin(self, grad: Tensor) -> Tensor:
        """A gradient through every up, (rows, all ranks); kept until it is asked for again, and no longer."""
        kept, self._thin_grad = self._thin_grad, None
        if kept is not None and kept[0] is grad:
            return kept[1]
        assert self._thin is not None
        found = torch.cat([part @ up for part, _, up in self._updates(grad, self._thin)], dim=1)
        self._thin_grad = grad, found
        return found

    @property
    def _downs(self) -> list[Tensor]:
        return [down for down, _ in self.factors if down is not None]

    def _joined(self, like: Tensor) -> Tensor:
        """Every down, one below the other, (all ranks, in)."""
        return torch.cat(self._downs).to(like.dtype)

    def _updates(self, joined: Tensor, thin: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Of each weight with an update: the columns that belong to it, in the wide and the thin; its up."""
        parts = joined.split([len(weight) for weight in self.weights], dim=1)
        thins = iter(thin.split([len(each) for each in self._downs], dim=1))
        for part, (_, up) in zip(parts, self.factors, strict=True):
            if up is not None:
                yield part, next(thins), up.to(joined.dtype)

"""Products with weights kept in float32: by torch after a cast, or by products.inc with packed weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from danlu.model.native.bindings import call, has_products

LANES = 16


class Products(Protocol):
    """Weights, each (out, in) and float32, that share an input, joined along their outputs."""

    def apply(self, x: Tensor, *, bias: Tensor | None = None, skip: Tensor | None = None) -> Tensor:
        """x (rows, in) through the weights, plus `bias`, plus `skip`: (rows, all outs)."""
        ...

    def input_gradient(self, grad: Tensor) -> Tensor:
        """The gradient of x, (rows, in), for `grad`, (rows, all outs)."""
        ...

    def weight_gradients(self, grad: Tensor, x: Tensor) -> list[Tensor]:
        """The gradient of each weight, float32."""
        ...

    def add_weight_gradients(self, grad: Tensor, x: Tensor, gradients: Sequence[Tensor]) -> None:
        """Add the gradient of each weight to what `gradients` hold."""
        ...


MakeProducts = Callable[[Sequence[Tensor], torch.dtype], Products]


class CastProducts:
    """Products by torch; the weights are cast to the dtype of the activations."""

    def __init__(self, weights: Sequence[Tensor], dtype: torch.dtype) -> None:
        self._sizes = [len(weight) for weight in weights]
        joined = weights[0] if len(weights) == 1 else torch.cat(list(weights))
        self._joined = joined.to(dtype)

    def apply(self, x: Tensor, *, bias: Tensor | None = None, skip: Tensor | None = None) -> Tensor:
        added = skip if bias is None else bias.to(x.dtype)
        return x @ self._joined.t() if added is None else torch.addmm(added, x, self._joined.t())

    def input_gradient(self, grad: Tensor) -> Tensor:
        return grad @ self._joined

    def weight_gradients(self, grad: Tensor, x: Tensor) -> list[Tensor]:
        return [part.float() for part in (grad.t() @ x).split(self._sizes)]

    def add_weight_gradients(self, grad: Tensor, x: Tensor, gradients: Sequence[Tensor]) -> None:
        for gradient, part in zip(gradients, (grad.t() @ x).split(self._sizes), strict=True):
            gradient.add_(part)


class PackedProducts:
    """Products in C; the weights are rounded to bfloat16 while they are packed for each direction."""

    def __init__(self, weights: Sequence[Tensor], dtype: torch.dtype) -> None:
        self._weights = weights
        self._out, self._in = sum(len(weight) for weight in weights), weights[0].shape[1]
        self._forward: Tensor | None = None
        self._backward: Tensor | None = None

    def apply(self, x: Tensor, *, bias: Tensor | None = None, skip: Tensor | None = None) -> Tensor:
        if self._forward is None:
            self._forward = packed_like(self._in, self._out)
            first = 0
            for weight in self._weights:
                call("pack_transposed", weight, self._forward, *weight.shape, first)
                first += len(weight)
        out = x.new_empty(len(x), self._out)
        call("product", x, self._forward, skip, bias, out, *out.shape, self._in // 2)
        return out

    def input_gradient(self, grad: Tensor) -> Tensor:
        steps = self._out // 2
        if self._backward is None:
            self._backward, first = packed_like(self._out, self._in), 0
            for weight in self._weights:
                call("pack_weight", weight, self._backward, *weight.shape, steps, first)
                first += len(weight)
        out = grad.new_empty(len(grad), self._in)
        call("product", grad, self._backward, None, None, out, *out.shape, steps)
        return out

    def weight_gradients(self, grad: Tensor, x: Tensor) -> list[Tensor]:
        gradients = [torch.empty_like(weight) for weight in self._weights]
        self._add_gradients(grad, x, gradients, add=False)
        return gradients

    def add_weight_gradients(self, grad: Tensor, x: Tensor, gradients: Sequence[Tensor]) -> None:
        self._add_gradients(grad, x, gradients, add=True)

    def _add_gradients(self, grad: Tensor, x: Tensor, gradients: Sequence[Tensor], *, add: bool) -> None:
        packed, first = packed_like(*x.shape), 0
        call("pack_rows", x, packed, *x.shape)
        for gradient in gradients:
            part = grad[:, first:]
            call("weight_gradient", part, grad.stride(0), packed, gradient, len(x), *gradient.shape, add)
            first += len(gradient)


def packed_like(rows: int, columns: int) -> Tensor:
    """Room for a packed matrix: pairs of rows, panels of 64 columns."""
    panels = -(-columns // 64)
    allocate = torch.zeros if columns % 64 else torch.empty  # columns that no weight fills must hold numbers
    return allocate(panels * 64 * -(-rows // 2), dtype=torch.int32)


def packed_where_it_fits(weights: Sequence[Tensor], dtype: torch.dtype) -> Products:
    """Packed products for bfloat16 and sizes that fill vectors and pairs, cast ones elsewhere."""
    even = all(weight.shape[1] % 2 == 0 for weight in weights) and len(weights[-1]) % 2 == 0
    aligned = all(len(weight) % LANES == 0 for weight in weights[:-1])
    plain = all(weight.dtype == torch.float32 and weight.is_contiguous() for weight in weights)
    if dtype == torch.bfloat16 and even and aligned and plain and has_products():
        return PackedProducts(weights, dtype)
    return CastProducts(weights, dtype)

"""A linear layer by products in C: for training blocks that no fused kernel knows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from danlu.model.layers import cast_product
from danlu.model.native.products import packed_where_it_fits


def packed_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What `cast_product` gives, faster where a gradient is wanted: a weight is packed for every call."""
    if x.requires_grad and x.dtype == torch.bfloat16:
        return _PackedLinear.apply(x, weight, bias)
    return cast_product(x, weight, bias)


class _PackedLinear(torch.autograd.Function):
    """x, (…, in), through a weight, (out, in), and a bias, (out,) or None."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).contiguous()
        ctx.products = packed_where_it_fits([weight], x.dtype)
        ctx.save_for_backward(rows)
        return ctx.products.apply(rows, bias=bias).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (rows,) = ctx.saved_tensors
        (grad,) = grad_outputs
        flat = grad.reshape(-1, grad.shape[-1]).contiguous()
        wants_weight, wants_bias = ctx.needs_input_grad[1:]
        weight_grad = ctx.products.weight_gradients(flat, rows)[0] if wants_weight else None
        bias_grad = flat.float().sum(0) if wants_bias else None
        return ctx.products.input_gradient(flat).view(*grad.shape[:-1], -1), weight_grad, bias_grad

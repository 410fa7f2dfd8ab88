"""What every part is built of: linear layers, norms, and which layers have a bias."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.model.config import ModelConfig

LinearProduct = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""x (…, in), a weight (out, in) and a bias (out,) or None to (…, out)."""


def cast_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x through a linear layer, computed by torch in the dtype of x."""
    return F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))


class Linear(nn.Linear):
    """A linear layer that computes in the dtype of its input, whatever its weights are kept in."""

    product: LinearProduct = staticmethod(cast_product)  # precision.py may put a faster one

    def forward(self, input: Tensor) -> Tensor:
        return self.product(input, self.weight, self._parameters["bias"])


class RmsNorm(nn.Module):
    """Division by the root mean square, in float32 (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (wide * self.weight).to(x.dtype)


class LayerNorm(nn.LayerNorm):
    """Mean taken away, divided by the deviation, in float32 (Ba et al. 2016)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__(width, eps)

    def forward(self, input: Tensor) -> Tensor:
        weight, bias = self.weight.float(), self.bias.float()
        if input.device.type == "cpu":  # there torch reads bfloat16 and computes in float32 by itself
            return F.layer_norm(input, self.normalized_shape, weight, bias, self.eps)
        return F.layer_norm(input.float(), self.normalized_shape, weight, bias, self.eps).to(input.dtype)


def make_norm(config: ModelConfig) -> nn.Module:
    """The norm of a whole position's vector."""
    return NORMS[config.norm](config.d_model, config.norm_eps)


NORMS = {"rmsnorm": RmsNorm, "layernorm": LayerNorm}
BIASES = {
    "none": frozenset[str](),
    "qkv": frozenset({"qkv"}),
    "all": frozenset({"qkv", "out", "mlp"}),
    "all_but_qkv": frozenset({"out", "mlp"}),
}

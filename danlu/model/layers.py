"""What every part is built of: linear layers, norms, and which layers have a bias."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.model.config import ModelConfig


class Linear(nn.Linear):
    """A linear layer that computes in the dtype of its input, whatever its weights are kept in."""

    def forward(self, input: Tensor) -> Tensor:
        bias = self._parameters["bias"]
        bias = None if bias is None else bias.to(input.dtype)
        return F.linear(input, self.weight.to(input.dtype), bias)


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

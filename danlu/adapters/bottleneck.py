"""Bottleneck adapters: a small MLP behind a sublayer, in a residual of its own.

Houlsby et al. (2019) put one behind attention and one behind the MLP of every block, Pfeiffer et al. (2021)
only the second. Both stand before the block's own residual is added.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.model.adapted import Parts, Update
from danlu.model.mlp import MixtureOfExperts

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu, "tanh": torch.tanh}


class Bottleneck(Update):
    """U σ(D y + d) + u, added to what a sublayer gives (Houlsby et al. 2019, section 2.1).

    `down` is (width, d_model), `up` (d_model, width). It begins as zero: U and both biases are.
    """

    merges = False

    def __init__(self, like: Tensor, d_model: int, width: int, activation: str, kind: str) -> None:
        super().__init__()
        self.kind, self.activation = kind, ACTIVATIONS[activation]
        self.down = nn.Parameter(like.new_zeros(width, d_model))
        self.down_bias = nn.Parameter(like.new_zeros(width))
        self.up = nn.Parameter(like.new_zeros(d_model, width))
        self.up_bias = nn.Parameter(like.new_zeros(d_model))

    def draw(self, generator: torch.Generator) -> None:
        """Give D its first values."""
        bound = self.down.shape[1] ** -0.5
        nn.init.uniform_(self.down, -bound, bound, generator=generator)

    def forward(self, x: Tensor, out: Tensor, linear: nn.Module) -> Tensor:
        down, down_bias, up, up_bias = (
            weight.to(out.dtype) for weight in (self.down, self.down_bias, self.up, self.up_bias)
        )
        return F.linear(self.activation(F.linear(out, down, down_bias)), up, up_bias)


class AdaptedMixture(MixtureOfExperts):
    """A mixture of experts behind which bottlenecks stand: it has no one layer that ends it."""

    def __init__(self, base: MixtureOfExperts) -> None:
        nn.Module.__init__(self)
        self.settings, self.router, self.experts = base.settings, base.router, base.experts
        self.adapters = Parts()
        self.train(base.training)

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        return sum((part(x, out, self) for part, _ in self.adapters.counting()), out)

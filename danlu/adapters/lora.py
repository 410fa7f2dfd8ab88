"""LoRA (Hu et al. 2021) and DoRA (Liu et al. 2024): a thin update beside the weight of a linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.model.adapted import Factors, Update, bias_of


class Lora(Update):
    """s · (x Aᵀ) Bᵀ (Hu et al. 2021, eq. 3). `lora_a` is (rank, in), `lora_b` (out, rank).

    It begins as zero: A is drawn, B is not.
    """

    kind = "lora"
    thin = True

    def __init__(self, linear: nn.Linear, rank: int, scale: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.lora_a = nn.Parameter(linear.weight.new_zeros(rank, linear.in_features))
        self.lora_b = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))
        self.scale, self.dropout = scale, dropout

    def draw(self, generator: torch.Generator) -> None:
        """Give A its first values, uniform and as wide as the usual start of a linear layer."""
        bound = self.lora_a.shape[1] ** -0.5
        nn.init.uniform_(self.lora_a, -bound, bound, generator=generator)

    @property
    def rank(self) -> int:
        return len(self.lora_a)

    @property
    def drops(self) -> bool:
        return self.training and self.dropout > 0

    def factors(self) -> Factors:
        return self.lora_a, self.lora_b * self.scale

    def forward(self, x: Tensor, out: Tensor, linear: nn.Linear) -> Tensor:
        down, up = (factor.to(x.dtype) for factor in self.factors())
        return F.linear(F.linear(self._thinned(x), down), up)

    def change(self, linear: nn.Linear) -> tuple[Tensor, Tensor | None]:
        down, up = self.factors()
        return up @ down, None

    def _thinned(self, x: Tensor) -> Tensor:
        if not self.drops:
            return x
        kept = torch.rand(x.shape, generator=self.generator, device=x.device) >= self.dropout
        return x * kept / (1 - self.dropout)


class Dora(Lora):
    """m ⊙ (W + s B A) / ‖W + s B A‖, the norm of each row (Liu et al. 2024, eq. 5).

    `magnitude`, (out,), begins as the norms of W. To the gradient the divisor is a constant, as in
    section 4.3.
    """

    kind = "dora"
    thin = False

    def __init__(self, linear: nn.Linear, rank: int, scale: float, dropout: float = 0.0) -> None:
        super().__init__(linear, rank, scale, dropout)
        self.magnitude = nn.Parameter(row_norms(linear.weight.detach()))

    def forward(self, x: Tensor, out: Tensor, linear: nn.Linear) -> Tensor:
        gain, bias = self._gain(linear), bias_of(linear)
        plain = out if bias is None else out - bias.to(x.dtype)
        beyond = (gain - 1).to(x.dtype)  # before rounding: a gain lies close to one
        return beyond * plain + gain.to(x.dtype) * super().forward(x, out, linear)

    def change(self, linear: nn.Linear) -> tuple[Tensor, Tensor | None]:
        update, _ = super().change(linear)
        return self._gain(linear)[:, None] * (linear.weight + update) - linear.weight, None

    def _gain(self, linear: nn.Linear) -> Tensor:
        """What each row of W + s B A is multiplied by, (out,)."""
        with torch.no_grad():
            down, up = self.factors()
            norms = row_norms(linear.weight + up @ down)
        return self.magnitude / norms


def row_norms(weight: Tensor) -> Tensor:
    """The length of each output's weights, (out,)."""
    return torch.linalg.vector_norm(weight, dim=1)

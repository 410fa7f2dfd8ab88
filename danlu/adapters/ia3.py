"""(IA)³: keys, values and what leaves the activation are rescaled, a number a channel (Liu et al. 2022)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from danlu.model.adapted import Update, bias_of


class Rescale(Update):
    """l ⊙ (W x + b), or W (l ⊙ x) + b where the input is rescaled (Liu et al. 2022, section 3.3).

    `gain` is l, (out,) or (in,); it begins as ones.
    """

    kind = "ia3"

    def __init__(self, linear: nn.Linear, *, on_input: bool) -> None:
        super().__init__()
        self.on_input = on_input
        width = linear.in_features if on_input else linear.out_features
        self.gain = nn.Parameter(linear.weight.new_ones(width))

    def forward(self, x: Tensor, out: Tensor, linear: nn.Linear) -> Tensor:
        beyond = (self.gain - 1).to(x.dtype)
        # A second product where the input is rescaled: so every kind adds to what the layer gives by itself,
        # and several can be added up.
        return F.linear(x * beyond, linear.weight.to(x.dtype)) if self.on_input else out * beyond

    def change(self, linear: nn.Linear) -> tuple[Tensor, Tensor | None]:
        beyond = self.gain - 1
        if self.on_input:
            return linear.weight * beyond, None
        bias = bias_of(linear)
        return linear.weight * beyond[:, None], None if bias is None else bias * beyond


def rescales_input(name: str) -> bool:
    """Whether (IA)³ rescales what enters this layer: the second of an MLP, behind the activation."""
    return ".mlp." in f".{name}" and name.rpartition(".")[2] == "out"

"""What a block does with each position by itself: one MLP, or a choice among many."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.model.config import ModelConfig
from danlu.model.layers import BIASES, Linear


class GatedMlp(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        has_bias = "mlp" in BIASES[config.bias]
        self.gate = Linear(config.d_model, config.d_ff, bias=has_bias)
        self.up = Linear(config.d_model, config.d_ff, bias=has_bias)
        self.out = Linear(config.d_ff, config.d_model, bias=has_bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.silu(self.gate(x)) * self.up(x))


class Mlp(nn.Module):
    """Two layers with an activation between them: everything before Llama."""

    def __init__(self, config: ModelConfig, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        has_bias = "mlp" in BIASES[config.bias]
        self.up = Linear(config.d_model, config.d_ff, bias=has_bias)
        self.out = Linear(config.d_ff, config.d_model, bias=has_bias)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.activation(self.up(x)))


class MixtureOfExperts(nn.Module):
    """Each token takes the few of many gated MLPs that a router gives most weight (Shazeer et al. 2017).

    Qwen 3's form: the router's softmax runs over all experts, and no token is ever dropped.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.experts is not None
        self.settings = config.experts
        self.router = Linear(config.d_model, config.experts.n_experts, bias=False)
        self.experts = nn.ModuleList(GatedMlp(config) for _ in range(config.experts.n_experts))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, -2)
        weights, chosen = self.route(tokens)
        out = torch.zeros_like(tokens)
        for number in chosen.unique().tolist():  # only experts that somebody chose
            token, rank = (chosen == number).nonzero(as_tuple=True)
            answer = self.experts[number](tokens[token])
            out.index_add_(0, token, answer * weights[token, rank, None])
        return out.view_as(x)

    def route(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Weights and numbers of the experts that each token takes, both (tokens, n_active)."""
        probabilities = self.router(tokens).float().softmax(-1)
        weights, chosen = probabilities.topk(self.settings.n_active, dim=-1)
        if self.settings.renormalise:
            weights = weights / weights.sum(-1, keepdim=True)
        return weights.to(tokens.dtype), chosen


@contextmanager
def noted_routers(model: nn.Module) -> Generator[list[Tensor]]:
    """While active, the logits of every router, (tokens, n_experts), in the order they are computed."""
    seen: list[Tensor] = []

    def note(module: nn.Module, args: Any, output: Tensor) -> None:
        seen.append(output)

    mixtures = [each for each in model.modules() if isinstance(each, MixtureOfExperts)]
    hooks = [each.router.register_forward_hook(note) for each in mixtures]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


MLPS: dict[str, Callable[[ModelConfig], nn.Module]] = {
    "swiglu": GatedMlp,
    "relu": partial(Mlp, activation=F.relu),
    "silu": partial(Mlp, activation=F.silu),
    "gelu": partial(Mlp, activation=F.gelu),
    "gelu_tanh": partial(Mlp, activation=partial(F.gelu, approximate="tanh")),
    "moe": MixtureOfExperts,
}

"""A Transformer's block: attention and an MLP, each in its residual."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

from danlu.model.attention import Attend, Attention, CrossAttention
from danlu.model.config import ModelConfig
from danlu.model.layers import make_norm
from danlu.model.mlp import MLPS
from danlu.model.positions import Angles


class PreNorm(nn.Module):
    """x + f(norm(x)): GPT-2 and everything after."""

    def __init__(self, config: ModelConfig, sublayer: nn.Module) -> None:
        super().__init__()
        self.norm, self.sublayer = make_norm(config), sublayer
        self.dropout: nn.Module = nn.Identity()  # dropout.py may put one here

    def forward(self, x: Tensor, **context: Any) -> Tensor:
        return x + self.dropout(self.sublayer(self.norm(x), **context))


class PostNorm(PreNorm):
    """norm(x + f(x)): the 2017 paper, GPT-1 and BERT."""

    def forward(self, x: Tensor, **context: Any) -> Tensor:
        return self.norm(x + self.dropout(self.sublayer(x, **context)))


class Block(nn.Module):
    """Self-attention, cross-attention where there is another text, and an MLP, each in its residual."""

    def __init__(self, config: ModelConfig, *, cross: bool = False) -> None:
        super().__init__()
        residual = partial(RESIDUALS[config.norm_position], config)
        self.self_attn = residual(Attention(config))
        self.cross_attn = residual(CrossAttention(config)) if cross else None
        self.mlp = residual(MLPS[config.mlp](config))

    def forward(self, x: Tensor, *, angles: Angles | None, attend: Attend, **across: Any) -> Tensor:
        """x, (batch, seq, d_model), through the block; `across` are the arguments of its cross-attention."""
        x = self.self_attn(x, angles=angles, attend=attend)
        if self.cross_attn is not None:
            x = self.cross_attn(x, **across)
        return self.mlp(x)


RESIDUALS = {"pre": PreNorm, "post": PostNorm}

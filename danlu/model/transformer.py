"""The Transformer: one configuration, one part per choice, one table that maps them.

No family's name stands in a forward. A family is a `ModelConfig` with its choices filled in (`presets.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.config import ConfigError
from danlu.model.attention import Attend, attend_with_cache, attend_within
from danlu.model.kv_cache import KvCache

Angles = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Sizes, then the choices in which families differ; the defaults are Llama's."""

    vocab_size: int
    d_model: int  # width of the residual stream
    n_layers: int
    n_heads: int
    n_kv_heads: int  # fewer than n_heads: grouped-query attention (Ainslie et al. 2023)
    head_dim: int
    d_ff: int  # width inside the MLP
    max_seq_len: int = 1024
    tie_embeddings: bool = True  # the output projection is the embedding
    topology: Literal["decoder"] = "decoder"
    norm: Literal["rmsnorm"] = "rmsnorm"
    norm_position: Literal["pre"] = "pre"
    norm_eps: float = 1e-6
    position: Literal["rope"] = "rope"
    rope_theta: float = 10_000.0
    mlp: Literal["swiglu"] = "swiglu"
    bias: Literal["none", "qkv"] = "none"  # which linear layers have one
    qk_norm: bool = False  # RMSNorm on every query and key (Henry et al. 2020)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type in ("int", "float") and value <= 0:
                raise ConfigError(f"model.{field.name} is {value}; it must be positive")
        if self.n_heads % self.n_kv_heads:
            raise ConfigError(
                f"model.n_heads is {self.n_heads}; "
                f"it must be a multiple of model.n_kv_heads, {self.n_kv_heads}"
            )
        if self.head_dim % 2:
            raise ConfigError(
                f"model.head_dim is {self.head_dim}; it must be even, rope turns pairs of channels"
            )
        for choice, table in PARTS.items():
            found = getattr(self, choice)
            if found not in table:
                raise ConfigError(f"model.{choice} is {found!r}; it must be one of {sorted(table)}")


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


class Rope(nn.Module):
    """Rotary positions (Su et al. 2021): nothing is added, queries and keys are turned by angles."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim, self.theta = config.head_dim, config.rope_theta

    def embed(self, x: Tensor, position_ids: Tensor) -> Tensor:
        """The embedded tokens with their positions, (batch, seq, d_model)."""
        return x

    def angles(self, position_ids: Tensor) -> Angles:
        """Cosine and sine of each pair's angle, both (batch, 1, seq, head_dim / 2), float32."""
        exponent = torch.arange(0, self.head_dim, 2, device=position_ids.device).float() / self.head_dim
        # Each position once: a batch holds many more tokens than positions.
        every = torch.arange(int(position_ids.max()) + 1, device=position_ids.device)
        angle = every[:, None].float() / self.theta**exponent
        return angle.cos()[position_ids][:, None], angle.sin()[position_ids][:, None]


def rotate(x: Tensor, angles: Angles) -> Tensor:
    """Turn channel i together with channel i + head_dim / 2; x is (batch, heads, seq, head_dim)."""
    cos, sin = angles
    left, right = x.float().chunk(2, dim=-1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1).to(x.dtype)


class Attention(nn.Module):
    """Grouped-query attention; where the keys come from and what may be seen is the caller's `attend`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        q_width, kv_width = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
        has_bias = config.bias == "qkv"
        self.q = Linear(config.d_model, q_width, bias=has_bias)
        self.k = Linear(config.d_model, kv_width, bias=has_bias)
        self.v = Linear(config.d_model, kv_width, bias=has_bias)
        self.out = Linear(q_width, config.d_model, bias=False)
        norm = (
            partial(NORMS[config.norm], config.head_dim, config.norm_eps) if config.qk_norm else nn.Identity
        )
        self.q_norm, self.k_norm = norm(), norm()

    def forward(self, x: Tensor, *, angles: Angles, attend: Attend) -> Tensor:
        q, k, v = (self._heads(linear(x)) for linear in (self.q, self.k, self.v))
        q, k = rotate(self.q_norm(q), angles), rotate(self.k_norm(k), angles)
        return self.out(attend(q, k, v).transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # (batch, heads, seq, head_dim)


class GatedMlp(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate = Linear(config.d_model, config.d_ff, bias=False)
        self.up = Linear(config.d_model, config.d_ff, bias=False)
        self.out = Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.silu(self.gate(x)) * self.up(x))


class PreNorm(nn.Module):
    """x + f(norm(x)): GPT-2 and everything after."""

    def __init__(self, config: ModelConfig, sublayer: nn.Module) -> None:
        super().__init__()
        self.norm, self.sublayer = make_norm(config), sublayer

    def forward(self, x: Tensor, **context: Any) -> Tensor:
        return x + self.sublayer(self.norm(x), **context)


class Block(nn.Module):
    """Self-attention and an MLP, each in its residual."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        residual = partial(RESIDUALS[config.norm_position], config)
        self.self_attn = residual(Attention(config))
        self.mlp = residual(MLPS[config.mlp](config))

    def forward(self, x: Tensor, *, angles: Angles, attend: Attend) -> Tensor:
        return self.mlp(self.self_attn(x, angles=angles, attend=attend))


class Decoder(nn.Module):
    """Token ids to hidden vectors; a position sees itself and what came before."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype: torch.dtype | None = None  # None: as the weights are kept
        self.run_blocks: RunBlocks = run_blocks  # fused_block.py has a faster one
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position = POSITIONS[config.position](config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = make_norm(config)

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        segment_ids: Tensor | None = None,
        branch_ids: Tensor | None = None,
        *,
        kv_cache: KvCache | None = None,
    ) -> Tensor:
        """Hidden vectors, (batch, seq, d_model), in the compute dtype.

        Args:
            input_ids: (batch, seq).
            position_ids: (batch, seq); counted from 0 if absent.
            segment_ids: (batch, seq); attention stays within equal numbers. Absent: one segment a row.
            branch_ids: (batch, seq); within a segment, 0 is a stem that every other number's branch sees.
            kv_cache: aimed by its `select` at these very positions; then the tokens before them are seen too.
        """
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        x = self.position.embed(self.embedding(input_ids), position_ids)
        x = x.to(self.compute_dtype or x.dtype)
        angles = self.position.angles(position_ids)
        if kv_cache is None:
            return self.run_blocks(self, x, angles, segment_ids, branch_ids)
        for layer, block in enumerate(self.blocks):
            x = block(x, angles=angles, attend=partial(attend_with_cache, kv_cache, layer))
        return self.norm(x)


def run_blocks(
    decoder: Decoder,
    x: Tensor,
    angles: Angles,
    segment_ids: Tensor | None,
    branch_ids: Tensor | None = None,
) -> Tensor:
    """All blocks one after the other and the last norm, without a cache; x is (batch, seq, d_model)."""
    attend = attend_within(segment_ids, branch_ids)
    for block in decoder.blocks:
        x = block(x, angles=angles, attend=attend)
    return decoder.norm(x)


RunBlocks = Callable[[Decoder, Tensor, Angles, Tensor | None, Tensor | None], Tensor]


def make_norm(config: ModelConfig) -> nn.Module:
    return NORMS[config.norm](config.d_model, config.norm_eps)


def initialise(decoder: Decoder, seed: int) -> None:
    """Draw every weight so that an untrained model knows nothing: its loss is log(vocab).

    Matrices keep the scale of what passes through; those that write into the residual stream are smaller by
    the square root of how many do (Radford et al. 2019, section 2.3).
    """
    generator = torch.Generator().manual_seed(seed)
    n_writers = 2 * decoder.config.n_layers
    # Tied, the first logits have this std times sqrt(d_model), a token's own being the largest: at the usual
    # 0.02 a wide model would begin by repeating its input.
    nn.init.normal_(decoder.embedding.weight, std=0.3 * decoder.config.d_model**-0.5, generator=generator)
    for name, parameter in decoder.blocks.named_parameters():
        if name.endswith(".bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 2:
            std = (3 * parameter.shape[1]) ** -0.5
            if name.endswith(".out.weight"):
                std *= n_writers**-0.5
            nn.init.normal_(parameter, std=std, generator=generator)


NORMS = {"rmsnorm": RmsNorm}
RESIDUALS = {"pre": PreNorm}
POSITIONS = {"rope": Rope}
MLPS = {"swiglu": GatedMlp}
TOPOLOGIES = {"decoder": Decoder}
PARTS = {
    "topology": TOPOLOGIES,
    "norm": NORMS,
    "norm_position": RESIDUALS,
    "position": POSITIONS,
    "mlp": MLPS,
    "bias": {"none", "qkv"},
}

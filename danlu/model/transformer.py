"""The Transformer: one configuration, one part per choice, one table that maps them.

No family's name stands in a forward. A family is a `ModelConfig` with its choices filled in (`presets.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.config import ConfigError
from danlu.model.attention import (
    Attend,
    attend_both_ways,
    attend_in_window,
    attend_with_cache,
    attend_within,
)
from danlu.model.kv_cache import KvCache

Angles = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeScaling:
    """Llama 3.1's frequencies: slow rotations are slowed further, so that longer contexts fit in a turn.

    A pair that turns less than `low_freq_factor` times in the original context is slowed by `factor`, one
    that turns more than `high_freq_factor` times is left alone, and those between them are in between
    (Grattafiori et al. 2024, section 3.4.2, and the code published with it).
    """

    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_seq_len: int = 8192

    def __post_init__(self) -> None:
        if not 0 < self.low_freq_factor < self.high_freq_factor or self.factor < 1:
            raise ConfigError(
                f"model.rope_scaling is {self}; factor must be at least 1, and low_freq_factor positive and "
                "below high_freq_factor"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """Several MLPs of width d_ff in place of one, of which each token takes few (mlp = "moe")."""

    n_experts: int
    n_active: int  # experts a token takes
    renormalise: bool = True  # the weights of those taken add up to 1

    def __post_init__(self) -> None:
        if not 1 <= self.n_active <= self.n_experts:
            raise ConfigError(
                f"model.experts.n_active is {self.n_active}; it must be from 1 to n_experts, {self.n_experts}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Sizes, then the choices in which families differ; the defaults are Llama's."""

    vocab_size: int
    d_model: int  # width of the residual stream
    n_layers: int
    n_heads: int
    n_kv_heads: int  # fewer than n_heads: grouped-query attention (Ainslie et al. 2023)
    head_dim: int
    d_ff: int  # width inside the MLP, or inside each expert
    max_seq_len: int = 1024
    tie_embeddings: bool = True  # the output projection is the embedding
    topology: Literal["decoder", "encoder"] = "decoder"
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    norm_position: Literal["pre", "post"] = "pre"
    norm_eps: float = 1e-6
    position: Literal["rope", "learned"] = "rope"
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    mlp: Literal["swiglu", "relu", "gelu", "gelu_tanh", "moe"] = "swiglu"
    experts: Experts | None = None
    bias: Literal["none", "qkv", "all", "all_but_qkv"] = "none"  # which linear layers have one
    qk_norm: bool = False  # RMSNorm on every query and key (Henry et al. 2020)
    scaled_scores: bool = True  # attention scores are divided by sqrt(head_dim)
    window: int | None = None  # keys that a query of a windowed layer sees, its own included
    attention_pattern: tuple[Literal["full", "window"], ...] = ("full",)  # layer after layer, over and over
    n_token_types: int = 0  # kinds of token told apart by an embedding of their own, as BERT's two sentences

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type in ("int", "float") and value <= 0 and field.name != "n_token_types":
                raise ConfigError(f"model.{field.name} is {value}; it must be positive")
        if self.n_heads % self.n_kv_heads:
            raise ConfigError(
                f"model.n_heads is {self.n_heads}; "
                f"it must be a multiple of model.n_kv_heads, {self.n_kv_heads}"
            )
        for choice, table in PARTS.items():
            found = getattr(self, choice)
            if found not in table:
                raise ConfigError(f"model.{choice} is {found!r}; it must be one of {sorted(table)}")
        self._check_relations()

    def _check_relations(self) -> None:
        """Settings that are only possible together."""
        if self.position == "rope" and self.head_dim % 2:
            raise ConfigError(
                f"model.head_dim is {self.head_dim}; it must be even, rope turns pairs of channels"
            )
        if self.mlp == "moe" and self.experts is None:
            raise ConfigError("model.experts is not set; mlp = 'moe' needs it")
        if self.mlp != "moe" and self.experts is not None:
            raise ConfigError(f"model.experts is {self.experts}; only mlp = 'moe' has them")
        windowed = "window" in self.attention_pattern
        if not self.attention_pattern or set(self.attention_pattern) - {"full", "window"}:
            raise ConfigError(
                f"model.attention_pattern is {self.attention_pattern}; it must list 'full' and 'window'"
            )
        if windowed != (self.window is not None) or (self.window or 1) < 1:
            raise ConfigError(
                f"model.window is {self.window} and model.attention_pattern {self.attention_pattern}; "
                "a window of at least 1 goes with a pattern that names 'window', and with no other"
            )

    @property
    def windows(self) -> tuple[int | None, ...]:
        """Of each layer its window, None where it sees everything before."""
        pattern = self.attention_pattern
        kinds = (pattern[layer % len(pattern)] for layer in range(self.n_layers))
        return tuple(self.window if kind == "window" else None for kind in kinds)


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


class Learned(nn.Module):
    """A vector for every position, added to the embedding: GPT-1 to GPT-3, and BERT."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(config.max_seq_len, config.d_model)

    def embed(self, x: Tensor, position_ids: Tensor) -> Tensor:
        """The embedded tokens with their positions, (batch, seq, d_model)."""
        if int(position_ids.max()) >= self.table.num_embeddings:
            raise ValueError(
                f"a token stands at position {int(position_ids.max())}; "
                f"the model has vectors for positions 0 to {self.table.num_embeddings - 1}"
            )
        return x + self.table(position_ids)

    def angles(self, position_ids: Tensor) -> None:
        """None: nothing is turned."""


class Rope(nn.Module):
    """Rotary positions (Su et al. 2021): nothing is added, queries and keys are turned by angles."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim, self.theta, self.scaling = config.head_dim, config.rope_theta, config.rope_scaling

    def embed(self, x: Tensor, position_ids: Tensor) -> Tensor:
        """The embedded tokens with their positions, (batch, seq, d_model)."""
        return x

    def angles(self, position_ids: Tensor) -> Angles:
        """Cosine and sine of each pair's angle, both (batch, 1, seq, head_dim / 2), float32."""
        exponent = torch.arange(0, self.head_dim, 2, device=position_ids.device).float() / self.head_dim
        # Radians a position, in the order of operations that open weights were trained with.
        frequency = 1.0 / self.theta**exponent
        if self.scaling is not None:
            frequency = scale_frequency(frequency, self.scaling)
        # Each position once: a batch holds many more tokens than positions.
        every = torch.arange(int(position_ids.max()) + 1, device=position_ids.device)
        angle = every[:, None].float() * frequency
        return angle.cos()[position_ids][:, None], angle.sin()[position_ids][:, None]


def scale_frequency(frequency: Tensor, scaling: RopeScaling) -> Tensor:
    """Each pair's radians a position, (head_dim / 2,), under Llama 3.1's scaling."""
    turns = scaling.original_max_seq_len / (2 * math.pi / frequency)  # in the context of pretraining
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 - kept) * frequency / scaling.factor + kept * frequency


def rotate(x: Tensor, angles: Angles | None) -> Tensor:
    """Turn channel i together with channel i + head_dim / 2; x is (batch, heads, seq, head_dim)."""
    if angles is None:
        return x
    cos, sin = angles
    left, right = x.float().chunk(2, dim=-1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1).to(x.dtype)


class Attention(nn.Module):
    """Grouped-query attention; where the keys come from and what may be seen is the caller's `attend`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        q_width, kv_width = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
        has_bias = "qkv" in BIASES[config.bias]
        self.q = Linear(config.d_model, q_width, bias=has_bias)
        self.k = Linear(config.d_model, kv_width, bias=has_bias)
        self.v = Linear(config.d_model, kv_width, bias=has_bias)
        self.out = Linear(q_width, config.d_model, bias="out" in BIASES[config.bias])
        self.scale = None if config.scaled_scores else 1.0
        norm = (
            partial(NORMS[config.norm], config.head_dim, config.norm_eps) if config.qk_norm else nn.Identity
        )
        self.q_norm, self.k_norm = norm(), norm()

    def forward(self, x: Tensor, *, angles: Angles | None, attend: Attend) -> Tensor:
        q, k, v = (self._heads(linear(x)) for linear in (self.q, self.k, self.v))
        q, k = rotate(self.q_norm(q), angles), rotate(self.k_norm(k), angles)
        return self.out(attend(q, k, v, scale=self.scale).transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # (batch, heads, seq, head_dim)


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


class PreNorm(nn.Module):
    """x + f(norm(x)): GPT-2 and everything after."""

    def __init__(self, config: ModelConfig, sublayer: nn.Module) -> None:
        super().__init__()
        self.norm, self.sublayer = make_norm(config), sublayer

    def forward(self, x: Tensor, **context: Any) -> Tensor:
        return x + self.sublayer(self.norm(x), **context)


class PostNorm(PreNorm):
    """norm(x + f(x)): the 2017 paper, GPT-1 and BERT."""

    def forward(self, x: Tensor, **context: Any) -> Tensor:
        return self.norm(x + self.sublayer(x, **context))


class Block(nn.Module):
    """Self-attention and an MLP, each in its residual."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        residual = partial(RESIDUALS[config.norm_position], config)
        self.self_attn = residual(Attention(config))
        self.mlp = residual(MLPS[config.mlp](config))

    def forward(self, x: Tensor, *, angles: Angles | None, attend: Attend) -> Tensor:
        return self.mlp(self.self_attn(x, angles=angles, attend=attend))


class Stack(nn.Module):
    """Embedding, blocks and last norm: what a decoder and an encoder have in common."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype: torch.dtype | None = None  # None: as the weights are kept
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position = POSITIONS[config.position](config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        # Behind post-norm blocks the residual stream is normed already.
        self.norm = make_norm(config) if config.norm_position == "pre" else nn.Identity()


class Decoder(Stack):
    """Token ids to hidden vectors; a position sees itself and what came before."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.run_blocks: RunBlocks = run_blocks  # fused_block.py has a faster one

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
            return self.run_blocks(self, x, angles, segment_ids, branch_ids, position_ids)
        attends = attends_of(self.config, position_ids, segment_ids, branch_ids, kv_cache)
        for block, attend in zip(self.blocks, attends, strict=True):
            x = block(x, angles=angles, attend=attend)
        return self.norm(x)


class Encoder(Stack):
    """Token ids to hidden vectors; a position sees its whole segment (Devlin et al. 2018)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.token_type = nn.Embedding(config.n_token_types or 1, config.d_model)
        self.embedding_norm = make_norm(config)

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        segment_ids: Tensor | None = None,
        type_ids: Tensor | None = None,
    ) -> Tensor:
        """Hidden vectors, (batch, seq, d_model), in the compute dtype.

        Args:
            input_ids: (batch, seq).
            position_ids: (batch, seq); counted from 0 if absent.
            segment_ids: (batch, seq); attention stays within equal numbers; padding is a segment of its own.
            type_ids: (batch, seq); which sentence a token belongs to. Absent: all to the first.
        """
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        type_ids = torch.zeros_like(input_ids) if type_ids is None else type_ids
        x = self.position.embed(self.embedding(input_ids) + self.token_type(type_ids), position_ids)
        x = self.embedding_norm(x.to(self.compute_dtype or x.dtype))
        angles, attend = self.position.angles(position_ids), attend_both_ways(segment_ids)
        for block in self.blocks:
            x = block(x, angles=angles, attend=attend)
        return self.norm(x)


def run_blocks(
    decoder: Decoder,
    x: Tensor,
    angles: Angles | None,
    segment_ids: Tensor | None,
    branch_ids: Tensor | None = None,
    position_ids: Tensor | None = None,
) -> Tensor:
    """All blocks one after the other and the last norm, without a cache; x is (batch, seq, d_model).

    `position_ids`, (batch, seq), are read by layers with a window; absent, they are counted from 0.
    """
    if position_ids is None:
        position_ids = torch.arange(x.shape[1], device=x.device)[None]
    attends = attends_of(decoder.config, position_ids, segment_ids, branch_ids)
    for block, attend in zip(decoder.blocks, attends, strict=True):
        x = block(x, angles=angles, attend=attend)
    return decoder.norm(x)


def attends_of(
    config: ModelConfig,
    position_ids: Tensor,
    segment_ids: Tensor | None,
    branch_ids: Tensor | None,
    kv_cache: KvCache | None = None,
) -> list[Attend]:
    """How each layer of a decoder attends; the arguments are those of `Decoder.forward`."""
    windows = config.windows
    if kv_cache is not None:
        return [partial(attend_with_cache, kv_cache, *each) for each in enumerate(windows)]
    attends = {
        window: attend_within(segment_ids, branch_ids)
        if window is None
        else attend_in_window(window, position_ids, segment_ids, branch_ids)
        for window in set(windows)
    }
    return [attends[window] for window in windows]


RunBlocks = Callable[
    [Decoder, Tensor, Angles | None, Tensor | None, Tensor | None, Tensor | None],
    Tensor,
]


def make_norm(config: ModelConfig) -> nn.Module:
    return NORMS[config.norm](config.d_model, config.norm_eps)


def initialise(stack: Stack, seed: int) -> None:
    """Draw every weight so that an untrained model knows nothing: its loss is log(vocab).

    Matrices keep the scale of what passes through; those that write into the residual stream are smaller by
    the square root of how many do (Radford et al. 2019, section 2.3).
    """
    generator = torch.Generator().manual_seed(seed)
    n_writers = 2 * stack.config.n_layers
    # Tied, the first logits have this std times sqrt(d_model), a token's own being the largest: at the usual
    # 0.02 a wide model would begin by repeating its input.
    embedding_std = 0.3 * stack.config.d_model**-0.5
    nn.init.normal_(stack.embedding.weight, std=embedding_std, generator=generator)
    for name, parameter in stack.blocks.named_parameters():
        if name.endswith(".bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 2:
            std = (3 * parameter.shape[1]) ** -0.5
            if name.endswith(".out.weight"):
                std *= n_writers**-0.5
            nn.init.normal_(parameter, std=std, generator=generator)
    for module in stack.children():  # what is added to the tokens: half their size (Radford et al. 2018)
        for table in module.modules():
            if isinstance(table, nn.Embedding) and table is not stack.embedding:
                nn.init.normal_(table.weight, std=embedding_std / 2, generator=generator)


NORMS = {"rmsnorm": RmsNorm, "layernorm": LayerNorm}
RESIDUALS = {"pre": PreNorm, "post": PostNorm}
POSITIONS = {"rope": Rope, "learned": Learned}
MLPS: dict[str, Callable[[ModelConfig], nn.Module]] = {
    "swiglu": GatedMlp,
    "relu": partial(Mlp, activation=F.relu),
    "gelu": partial(Mlp, activation=F.gelu),
    "gelu_tanh": partial(Mlp, activation=partial(F.gelu, approximate="tanh")),
    "moe": MixtureOfExperts,
}
BIASES = {
    "none": frozenset[str](),
    "qkv": frozenset({"qkv"}),
    "all": frozenset({"qkv", "out", "mlp"}),
    "all_but_qkv": frozenset({"out", "mlp"}),
}
TOPOLOGIES = {"decoder": Decoder}  # under the heads of heads.py; encoder_heads.py stands on Encoder
PARTS = {
    "topology": {"decoder", "encoder"},
    "norm": NORMS,
    "norm_position": RESIDUALS,
    "position": POSITIONS,
    "mlp": MLPS,
    "bias": BIASES,
}

"""What a model is made of: its sizes, and the choices in which families differ."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args, get_origin, get_type_hints

from danlu.config import ConfigError


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
class PatchConfig:
    """Sizes of the encoder of pictures."""

    side: int = 48  # pixels along each side of a picture; others are scaled to fit
    patch: int = 16  # pixels along each side of a patch, which becomes a token
    d_model: int = 128
    n_layers: int = 2
    n_heads: int = 4
    d_ff: int = 384

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise ConfigError(
                    f"pictures.{field.name} is {getattr(self, field.name)}; it must be positive"
                )
        if self.side % self.patch:
            raise ConfigError(
                f"pictures.side is {self.side}; it must be a multiple of pictures.patch, {self.patch}"
            )
        if self.d_model % self.n_heads:
            raise ConfigError(
                f"pictures.d_model is {self.d_model}; "
                f"it must be a multiple of pictures.n_heads, {self.n_heads}"
            )

    @property
    def n_patches(self) -> int:
        """Tokens that a picture becomes."""
        return (self.side // self.patch) ** 2


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
    topology: Literal["decoder", "encoder", "encoder-decoder"] = "decoder"
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    norm_position: Literal["pre", "post"] = "pre"
    norm_eps: float = 1e-6
    position: Literal["rope", "learned", "sinusoidal"] = "rope"
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    mlp: Literal["swiglu", "relu", "silu", "gelu", "gelu_tanh", "moe"] = "swiglu"
    experts: Experts | None = None
    bias: Literal["none", "qkv", "all", "all_but_qkv"] = "none"  # which linear layers have one
    qk_norm: bool = False  # RMSNorm on every query and key (Henry et al. 2020)
    scaled_embedding: bool = False  # embeddings are multiplied by sqrt(d_model) (Vaswani et al. 2017)
    scaled_scores: bool = True  # attention scores are divided by sqrt(head_dim)
    window: int | None = None  # keys that a query of a windowed layer sees, its own included
    attention_pattern: tuple[Literal["full", "window"], ...] = ("full",)  # layer after layer, over and over
    n_token_types: int = 0  # kinds of token told apart by an embedding of their own, as BERT's two sentences
    pictures: PatchConfig | None = None  # an encoder of pictures, whose patches stand among the tokens
    marker_id: int | None = None  # the token in whose places they stand

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
        for name, hint in get_type_hints(ModelConfig).items():
            found = getattr(self, name)
            if get_origin(hint) is Literal and found not in get_args(hint):
                raise ConfigError(f"model.{name} is {found!r}; it must be one of {sorted(get_args(hint))}")
        self._check_relations()

    def _check_relations(self) -> None:
        """Settings that are only possible together."""
        if self.position == "rope" and self.head_dim % 2:
            raise ConfigError(
                f"model.head_dim is {self.head_dim}; it must be even, rope turns pairs of channels"
            )
        if self.position == "sinusoidal" and self.d_model % 2:
            raise ConfigError(f"model.d_model is {self.d_model}; it must be even, sines come with cosines")
        if self.mlp == "moe" and self.experts is None:
            raise ConfigError("model.experts is not set; mlp = 'moe' needs it")
        if self.mlp != "moe" and self.experts is not None:
            raise ConfigError(f"model.experts is {self.experts}; only mlp = 'moe' has them")
        windowed = "window" in self.attention_pattern
        if windowed and self.topology != "decoder":
            raise ConfigError(f"model.topology is {self.topology!r}; only a decoder has layers with a window")
        if not self.attention_pattern or set(self.attention_pattern) - {"full", "window"}:
            raise ConfigError(
                f"model.attention_pattern is {self.attention_pattern}; it must list 'full' and 'window'"
            )
        if windowed != (self.window is not None) or (self.window or 1) < 1:
            raise ConfigError(
                f"model.window is {self.window} and model.attention_pattern {self.attention_pattern}; "
                "a window of at least 1 goes with a pattern that names 'window', and with no other"
            )
        self._check_pictures()

    def _check_pictures(self) -> None:
        if (self.pictures is None) != (self.marker_id is None):
            raise ConfigError(
                f"model.marker_id is {self.marker_id} and model.pictures {self.pictures}; "
                "an encoder of pictures goes with a token that marks their places"
            )
        if self.pictures is not None and self.topology != "decoder":
            raise ConfigError(
                f"model.topology is {self.topology!r}; only a decoder has pictures among its tokens"
            )
        if self.marker_id is not None and not 0 <= self.marker_id < self.vocab_size:
            raise ConfigError(
                f"model.marker_id is {self.marker_id}; it must be a token, from 0 to {self.vocab_size - 1}"
            )

    @property
    def windows(self) -> tuple[int | None, ...]:
        """Of each layer its window, None where it sees everything before."""
        pattern = self.attention_pattern
        kinds = (pattern[layer % len(pattern)] for layer in range(self.n_layers))
        return tuple(self.window if kind == "window" else None for kind in kinds)

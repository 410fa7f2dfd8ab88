"""What a model consists of, and the memory that it takes to serve and to train; no weight is read for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from torch import nn

from danlu.model.config import ModelConfig
from danlu.model.mlp import MixtureOfExperts

N_TRAINED_BYTES = 16  # float32: the weight, its gradient, and Adam's two moments
N_MOMENT_BYTES = 4  # Muon keeps one moment of a matrix where Adam keeps two
WIDTHS = {"float32": 4, "bfloat16": 2}  # formats that models compute in, bytes a number


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """Parameters of a model by part, each counted once."""

    parts: dict[str, int]
    n_active: int  # that one token passes through: all but the experts it does not take
    n_matrix: int  # in the blocks' matrices, which Muon trains

    @property
    def n_parameters(self) -> int:
        return sum(self.parts.values())


def dissect(model: nn.Module) -> Anatomy:
    """Count the parameters of a model; one on torch's meta device will do."""
    parts: Counter[str] = Counter()
    n_matrix = 0
    for name, parameter in model.named_parameters():
        parts[part_of(name)] += parameter.numel()
        n_matrix += parameter.numel() if "blocks." in name and parameter.ndim == 2 else 0
    idle = 0
    for module in model.modules():
        if isinstance(module, MixtureOfExperts):
            n_experts, n_taken = module.settings.n_experts, module.settings.n_active
            per_expert = sum(p.numel() for p in module.experts.parameters()) // n_experts
            idle += per_expert * (n_experts - n_taken)
    return Anatomy(parts=dict(parts), n_active=sum(parts.values()) - idle, n_matrix=n_matrix)


def part_of(name: str) -> str:
    """The part that a parameter of this name belongs to."""
    return next((part for mark, part in PARTS.items() if mark in name), "head")


def cache_bytes(config: ModelConfig, n_tokens: int, width: int) -> int:
    """Keys and values of so many tokens; `width` is in bytes a number. An encoder keeps none.

    Of an encoder-decoder, those of so many tokens of the source too.
    """
    if config.topology == "encoder":
        return 0
    sides = 2 if config.topology == "encoder-decoder" else 1
    return sides * 2 * config.n_layers * config.n_kv_heads * config.head_dim * width * n_tokens


def activation_bytes(config: ModelConfig, n_tokens: int, width: int) -> int:
    """What the blocks' forward pass keeps of so many tokens for the backward pass: an estimate.

    Of every block: the stream before each half, its norm, queries and keys before and after turning, values,
    what attention gathered, and the MLP's inside.
    """
    q, kv = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    n_taken = config.experts.n_active if config.experts else 1
    inside = config.d_ff * n_taken * (2 if config.mlp in ("swiglu", "moe") else 1)
    block = 4 * config.d_model + 3 * q + 3 * kv + inside
    if config.topology == "encoder-decoder":  # both texts are so long; the decoder reads the source besides
        block += block + 2 * config.d_model + 3 * q + 2 * kv
    return config.n_layers * block * width * n_tokens


def training_bytes(anatomy: Anatomy, *, muon: bool) -> int:
    """Weights, gradients and the optimizer's state, which are float32 whatever is computed in."""
    return N_TRAINED_BYTES * anatomy.n_parameters - (N_MOMENT_BYTES * anatomy.n_matrix if muon else 0)


PARTS = {  # a mark in a parameter's name, and the part that it tells
    ".eye.": "picture encoder",
    ".embedding.": "embedding",
    ".embedding_norm.": "norms",
    ".position.": "positions",
    ".token_type.": "token types",
    ".norm.": "norms",
    "_norm.": "norms",
    ".self_attn.": "attention",
    ".cross_attn.": "cross-attention",
    ".router.": "router",
    ".experts.": "experts",
    ".mlp.": "MLP",
}

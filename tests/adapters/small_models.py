"""Tiny models of every decoder family with weights that have something to say, and adapters that do too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from danlu.adapters.attach import DEFAULT, attach
from danlu.adapters.settings import AdapterConfig, Bottleneck, Budget, VirtualTokens
from danlu.model.adapted import places
from danlu.model.config import Experts
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.presets import GPT1, GPT2, GPT3, LLAMA, MISTRAL, QWEN2, QWEN3, QWEN3_MOE

SIZES = {
    "vocab_size": 48,
    "d_model": 32,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 2,
    "head_dim": 16,
    "d_ff": 48,
    "max_seq_len": 64,
}
SQUARE = {"n_kv_heads": 4, "head_dim": 8, "d_ff": 128}  # what the layouts of GPT-1 to GPT-3 can say
LORA = AdapterConfig(kind="lora", rank=3, alpha=6.0)
CONFIGS = {
    "lora": LORA,
    "dora": AdapterConfig(kind="dora", rank=3, alpha=6.0),
    "adalora": AdapterConfig(kind="adalora", rank=3, alpha=6.0, budget=Budget(final_rank=2)),
    "ia3": AdapterConfig(kind="ia3"),
    "houlsby": AdapterConfig(kind="houlsby", bottleneck=Bottleneck(width=5, activation="gelu")),
    "pfeiffer": AdapterConfig(kind="pfeiffer", bottleneck=Bottleneck(width=5)),
    "prefix": AdapterConfig(kind="prefix", virtual=VirtualTokens(n=5, width=7)),
    "p_tuning_v2": AdapterConfig(kind="p_tuning_v2", virtual=VirtualTokens(n=5)),
    "prompt": AdapterConfig(kind="prompt", virtual=VirtualTokens(n=5)),
}
MERGEABLE = ("lora", "dora", "adalora", "ia3")
VIRTUAL = ("prefix", "p_tuning_v2", "prompt")


def config_of(family: Callable[..., Any], **choices: object) -> Any:
    """The configuration of a tiny model of a family."""
    extra = SQUARE if family in (GPT1, GPT2, GPT3) else {}
    extra = extra | ({"window": 6} if family in (GPT3, MISTRAL) else {})
    extra = extra | ({"experts": Experts(n_experts=3, n_active=2)} if family is QWEN3_MOE else {})
    return family(**SIZES | extra | choices)


FAMILIES = {
    "gpt1": GPT1,
    "gpt2": GPT2,
    "gpt3": GPT3,
    "llama": LLAMA,
    "mistral": MISTRAL,
    "qwen2": QWEN2,
    "qwen3": QWEN3,
    "qwen3_moe": QWEN3_MOE,
}


def base_model(family: Callable[..., Any] = QWEN3, **choices: object) -> LanguageModel:
    """An unadapted language model whose norms and biases are not at their trivial first values."""
    model = LanguageModel(config_of(family, **choices), seed=1)
    stir(model.parameters(), 2)
    return model


def stir(weights: Any, seed: int, size: float = 0.1) -> None:
    """Move weights a little."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in weights:
            weight.add_(torch.randn(weight.shape, generator=generator) * size)


def taught(
    model: LanguageModel | ScoreModel, config: AdapterConfig = LORA, *, name: str = DEFAULT, seed: int = 3
) -> LanguageModel | ScoreModel:
    """`model` with an adapter that is far from its first values."""
    attach(model, config, seed=seed, name=name)
    parts = [parts[name] for parts in places(model).values() if name in parts]
    weights = [p for part in parts for p in part.parameters()]
    zero = [p for p in weights if not p.any()]
    drawn = [p for p in weights if p.any()]
    stir(zero, seed + 1, 0.3)
    stir(drawn, seed + 2, 0.03)
    return model


def some_ids(batch: int = 3, seq: int = 17) -> torch.Tensor:
    return torch.randint(1, 48, (batch, seq), generator=torch.Generator().manual_seed(5))

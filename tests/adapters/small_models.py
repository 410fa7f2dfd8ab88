"""A tiny model with weights that have something to say, and an adapter that does too."""

from __future__ import annotations

import torch

from danlu.adapters.lora import LoraConfig, adapted_layers, attach_lora
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.presets import QWEN3

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
LORA = LoraConfig(kind="lora", rank=3, alpha=6.0)


def base_model(**choices: object) -> LanguageModel:
    """An unadapted language model whose norms and biases are not at their trivial first values."""
    model = LanguageModel(QWEN3(**SIZES | choices), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def taught(model: LanguageModel | ScoreModel, config: LoraConfig = LORA) -> LanguageModel | ScoreModel:
    """`model` with an adapter whose update is far from zero."""
    attach_lora(model, config, seed=3)
    generator = torch.Generator().manual_seed(4)
    for layer in adapted_layers(model).values():
        torch.nn.init.normal_(layer.lora_b, std=0.3, generator=generator)
    return model


def some_ids(batch: int = 3, seq: int = 17) -> torch.Tensor:
    return torch.randint(1, 48, (batch, seq), generator=torch.Generator().manual_seed(5))
